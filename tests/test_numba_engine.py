"""Promises of the engine of Numba beyond its numbers: interrupts, threads, forks, and its cache."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import processes
import pytest

import fastnn as fn

numba_cpu = pytest.importorskip("fastnn.backends.numba_cpu", exc_type=ImportError)
numba = pytest.importorskip("numba")
from fastnn.backends.numba_cpu import ahead, table
from fastnn.backends.numba_cpu.engine import compiling, entry
from fastnn.backends.numba_cpu.memory import OPTIONS
from fastnn.backends.numba_cpu.threads import Pool
from fastnn.backends.numba_cpu.workspace import Kind

I, O = 60, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, I)).astype(np.float32)
Y = RNG.integers(0, O, 200)

# A layer of every kind.
LAYERS = [
    fn.Dense(20, "relu"),
    fn.Dropout(0.2),
    fn.Dense(20, "tanh", l2=1e-3, max_norm=2.0, penalty_per_row=True),
    fn.LayerNorm(),
    fn.BatchNorm(),
    fn.Residual([fn.Gated(20, "swiglu")]),
    fn.Concat([fn.Activation("softmax")]),
    fn.Dense(O, "softmax"),
]


def network(layers=LAYERS, **told):
    return fn.Network(layers, **{"input_size": I, "backend": "numba", "seed": 3, **told})


# -- compiled code --------------------------------------------------------------------------------


def test_the_engine_neither_allocates_nor_counts_references():
    for function in (entry.do_job, entry.do_block):
        word = numba.int64
        code = numba.cfunc(word(word, word, word, word), **OPTIONS)(function).inspect_llvm()
        assert "cmpxchg" in code or function is not entry.do_job
        assert not re.search(r"call .*@(NRT_|malloc|free)", code)


def counts():
    """Return how many parts this process has compiled or loaded so far, of each sort."""
    return len(table._compiled), len(compiling._made)


@pytest.mark.timeout(600)  # where the cache is empty, some hundred kernels are compiled
def test_what_is_compiled_ahead_is_all_that_networks_need():
    fn.warmup("numba", "float32")
    known = counts()
    for optimizer in (fn.Adam(clip_norm=1.0), fn.SGD(clip_value=1.0), fn.NAdam()):
        net = network(optimizer=optimizer, threads=2)
        net.fit(X, Y, batch_size=64, progress=False)
        net.train_batch(X, Y)
        net.evaluate(X, Y)
        net.predict_dtype = "bfloat16"
        net.predict(X)
    one = network([fn.Dense(1)])
    one.train_batch(X, X[:, 0])
    assert counts() == known


def test_every_choice_of_a_kernel_is_compiled_ahead():
    names = set(ahead.everything(np.dtype("float32")))
    assert {f"activation_forward {name}" for name in fn.activations.FORMULAS} <= names
    assert {"update adam", "update lion", "loss hinge", "gate_backward silu"} <= names


def test_warmup_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="unknown backend 'nunba'.*numba"):
        fn.warmup("nunba")
    with pytest.raises(ValueError, match="dtype"):
        fn.warmup("numba", "float16")
    with pytest.raises(TypeError, match="progress"):
        fn.warmup("reference", progress=2)


def test_warmup_of_the_others_is_done_at_once():
    names = [name for name in fn.backends.available() if name not in ("numba", "cuda")]
    for name in ("auto", *names):
        fn.warmup(name)


def test_info_tells_the_compiler_and_the_cache():
    told = numba_cpu.BACKEND.details()
    assert told["compiler"].startswith("Numba ")
    assert "llvmlite" in told["compiler"]
    assert int(told["vectors"]) in (16, 32, 64)
    assert told["cache"]


# -- signals --------------------------------------------------------------------------------------

INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np, fastnn as fn

class Odd(Exception):
    pass

def handler(*_):
    raise Odd("as it was")

signal.signal(signal.SIGUSR1, handler)
rng = np.random.default_rng(0)
X, y = rng.normal(size=(3000, 500)).astype("f4"), rng.integers(0, 3, 3000)
layers = [fn.Dense(1000, "relu"), fn.Dense(1000, "tanh"), fn.Dense(3, "softmax")]
for threads in (1, 2):
    net = fn.Network(layers, input_size=500, backend="numba", threads=threads)
    net.train_batch(X[:8], y[:8])
    calls = {
        "fit": lambda: net.fit(X, y, epochs=1000, batch_size=1500, progress=False),
        "train_batch": lambda: net.train_batch(X, y),
        "predict": lambda: net.predict(X),
        "evaluate": lambda: net.evaluate(X, y),
    }
    for name, call in calls.items():
        sent = []

        def send():
            time.sleep(0.2)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGUSR1)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            while True:
                call()
        except Odd as error:
            took = time.perf_counter() - sent[0]
            assert error.args == ("as it was",)
            assert error.__traceback__.tb_next is not None
            assert sys.getrefcount(error) <= 4, "an error that nobody would ever free"
        sender.join()
        print(name, threads, round(1000 * took), "ms", file=sys.stderr)
        assert took < 2, (name, took)  # 0.1 s, but for what else the machine does
        steps = net.steps
        assert np.isfinite(net.parameters_vector).all()
        net.train_batch(X[:8], y[:8])
        assert net.steps == steps + 1
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_what_a_handler_raises_comes_out_of_every_call_as_it_was(tmp_path):
    processes.hold(INTERRUPTED, tmp_path)


def test_an_interrupted_fit_stands_at_a_whole_step(tmp_path):
    text = """
    import os, signal, threading, time
    import numpy as np, fastnn as fn

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, 300)), rng.integers(0, 3, 4000)
    layers = [fn.Dense(400, "relu"), fn.Dropout(0.3), fn.Dense(3, "softmax")]
    make = lambda: fn.Network(layers, input_size=300, backend="numba", threads=2)
    net, twin = make(), make()
    net.predict(X[:2]); twin.evaluate(X, y)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        net.fit(X, y, epochs=10**6, batch_size=1000, shuffle=False, progress=False)
    except KeyboardInterrupt:
        pass
    assert net.steps > 0
    for step in range(net.steps):
        at = step % 4 * 1000
        twin.train_batch(X[at : at + 1000], y[at : at + 1000])
    assert (net.parameters_vector == twin.parameters_vector).all()
    """
    processes.hold(
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        + textwrap.dedent(text),
        tmp_path,
    )


# -- threads and processes ------------------------------------------------------------------------


def test_eight_threads_predict_by_one_network_while_others_train():
    """Networks that train have the pool by turns; nobody's bits depend on it."""
    layers = [fn.Dense(200, "relu"), fn.Dropout(0.2), fn.Dense(O, "softmax")]

    def trained(_=None):
        net = network(layers, threads=3)
        net.fit(X, Y, epochs=4, batch_size=100, progress=False)
        return net.parameters_vector.tobytes()

    shared = network(layers, threads=2)
    wide = np.tile(X, (4, 1))
    alone, wanted = trained(), (shared.predict(X[:1]).tobytes(), shared.predict(wide).tobytes())
    with ThreadPoolExecutor(11) as threads:
        training = [threads.submit(trained) for _ in range(3)]
        predicting = [
            threads.submit(
                lambda: {
                    (shared.predict(X[:1]).tobytes(), shared.predict(wide).tobytes())
                    for _ in range(60)
                }
            )
            for _ in range(8)
        ]
        assert {task.result() for task in training} == {alone}
        for task in predicting:
            assert task.result() == {wanted}


def test_a_hundred_forked_children_finish(tmp_path):
    text = """
    import os, threading
    import numpy as np, fastnn as fn

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 60)), rng.integers(0, 3, 200)
    layers = [fn.Dense(100, "relu"), fn.Dense(3, "softmax")]

    def trained():
        net = fn.Network(layers, input_size=60, backend="numba", threads=2)
        net.fit(X, y, epochs=2, batch_size=100, progress=False)
        return net.parameters_vector.tobytes()

    wanted, over, others = trained(), threading.Event(), set()

    def train_on():
        while not over.is_set():
            others.add(trained())

    other = threading.Thread(target=train_on)
    other.start()
    children = []
    for _ in range(100):
        child = os.fork()
        if child == 0:
            os._exit(0 if trained() == wanted and trained() == wanted else 1)
        children.append(child)
        if len(children) % 4 == 0:
            assert all(os.waitpid(c, 0)[1] == 0 for c in children[-4:])
    over.set()
    other.join()
    assert others == {wanted}
    """
    options = ["-W", "ignore::DeprecationWarning"]  # of forking beside threads
    processes.hold(textwrap.dedent(text), tmp_path, options)


def test_threads_end_with_the_process_and_leave_nothing_to_say(tmp_path):
    text = """
    import threading
    import numpy as np, fastnn as fn

    net = fn.Network([fn.Dense(400), fn.Dense(1)], input_size=400, backend="numba", threads=3)
    X = np.ones((300, 400), "f4")
    net.train_batch(X, X[:, 0])
    workers = [t for t in threading.enumerate() if t.name.startswith("fastnn-")]
    assert len(workers) == 2 and not any(t.daemon for t in workers)
    """
    processes.hold(textwrap.dedent(text), tmp_path, ["-X", "dev", "-W", "error"])


def test_a_pool_that_is_taken_is_not_waited_for():
    pool = Pool()
    first, second = (network([fn.Dense(4)])._executable._runner.take(Kind(), 1) for _ in range(2))
    assert pool.begin(first, 2, 1) == 2  # the run is at generation 0: it is over for the worker
    assert pool.begin(second, 2, 1) == 1
    pool.end(second)  # which has not got it
    assert pool.begin(second, 2, 1) == 1
    pool.end(first)
    assert pool.begin(second, 2, 1) == 2
    pool.end(second)
    pool.stop()
    assert pool.begin(first, 2, 1) == 1
    for worker in pool._workers:
        worker.join(20)
        assert not worker.is_alive()


def test_small_works_start_no_thread():
    before = threading.active_count()
    net = network([fn.Dense(5), fn.Dense(O, "softmax")], threads=7)
    net.fit(X, Y, batch_size=32, progress=False)
    net.predict(X)
    assert threading.active_count() == before


# -- the cache ------------------------------------------------------------------------------------

# Compiles or loads two functions of the engine, and tells whether one was kept, and where they are.
PROGRAM = """
import warnings
warnings.simplefilter("error")
from fastnn import backends
from fastnn.backends.numba_cpu.engine import compiling
compiling.door("enter")
compiling.engine_address("do_job")
print(compiling._made["do_job",].cache_hits)
print(backends.get("numba").details()["cache"])
"""


def kept(folder, **environment):
    """Return what a new process tells that imports the package from a folder."""
    told = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "XDG_"))}
    told |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(command, env=told, cwd="/", capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    hits, cache = run.stdout.splitlines()
    return int(hits), cache


@pytest.fixture
def locked(tmp_path):
    """Return a folder with the package, beside which nothing can be written, even by root."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.npz")
    shutil.copytree(Path(fn.__file__).parent, tmp_path / "site" / "fastnn", ignore=ignored)
    for part in ("numba_cpu", "numba_cpu/engine", "jit"):
        place = tmp_path / "site" / "fastnn" / "backends" / part / "__pycache__"
        place.write_text("a file where the folder would be")
    return tmp_path / "site"


def test_a_read_only_install_keeps_the_engine_where_it_is_told(locked, tmp_path):
    cache = str(tmp_path / "cache")
    assert kept(locked, NUMBA_CACHE_DIR=cache)[0] == 0
    hits, where = kept(locked, NUMBA_CACHE_DIR=cache)
    assert hits == 1
    assert where.startswith(cache)


def test_an_engine_that_can_be_kept_nowhere_is_compiled_every_time(locked):
    nowhere = str(locked / "fastnn" / "__init__.py" / "folder")
    for _ in range(2):
        hits, where = kept(locked, HOME=nowhere, NUMBA_CACHE_DIR=nowhere)
        assert hits == 0
        assert where.startswith("none")


def test_without_numba_the_backend_says_what_is_missing(tmp_path):
    text = """
    import sys
    sys.modules["numba"] = None
    from fastnn import backends
    told = backends.why_unavailable("numba")
    assert "Numba is not installed" in told and "pip install" in told, told
    assert "numba" not in backends.available()
    """
    processes.hold(textwrap.dedent(text), tmp_path)


def test_where_numba_compiles_nothing_the_backend_says_so(tmp_path):
    text = """
    import os
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    from fastnn import backends
    assert "NUMBA_DISABLE_JIT is set" in backends.why_unavailable("numba")
    """
    processes.hold(textwrap.dedent(text), tmp_path)


def test_neither_import_nor_the_other_backends_load_numba(tmp_path):
    text = """
    import sys
    import numpy as np, fastnn as fn
    for backend in ("reference", "auto"):
        net = fn.Network([fn.Dense(2, "relu"), fn.Dense(1)], input_size=3, backend=backend)
        net.fit(np.ones((4, 3)), np.ones(4), progress=False)
    assert "numba" not in sys.modules or net.backend == "numba"
    """
    processes.hold(textwrap.dedent(text), tmp_path, ["-W", "ignore"])
