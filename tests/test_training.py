"""Training: what History tells, what callbacks may do, how it ends, on every backend."""

import csv
import fcntl
import os
import struct
import subprocess
import sys
import termios
import textwrap

import numpy as np
import pytest

import fastnn as fn
from fastnn import backends
from fastnn.errors import DivergenceError

pytestmark = pytest.mark.parametrize("backend", backends.available())

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
LABELS = (X[:, 0] > 0).astype(int)


def network(backend, **options):
    layers = [fn.Dense(8, "relu"), fn.Dense(2, "softmax")]
    return fn.Network(layers, dtype="float64", backend=backend, **options)


def fit(net, **options):
    options = {"epochs": 3, "batch_size": 16, "progress": False, **options}
    return net.fit(X, LABELS, **options)


class Recorder(fn.Callback):
    def __init__(self):
        self.calls = []

    def on_fit_begin(self, run):
        self.calls.append("fit begin")

    def on_epoch_begin(self, run):
        self.calls.append(f"epoch {run.epoch} begin")

    def on_steps_end(self, run):
        self.calls.append("steps")

    def on_epoch_end(self, run):
        self.calls.append(f"epoch {run.epoch} end at step {run.step}")

    def on_fit_end(self, run):
        self.calls.append("fit end")


def test_history_holds_a_value_an_epoch_for_every_metric(backend):
    history = fit(network(backend), validation_data=(X, LABELS))
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert [len(values) for values in history.values()] == [3] * 4
    assert history.stop_reason == "all 3 epochs done"
    assert history.seconds > 0
    assert history.best_epoch == 1 + int(np.argmin(history["val_loss"]))
    regression = fn.Network([fn.Dense(1)], backend=backend)
    assert list(regression.fit(X, X[:, 0], progress=False)) == ["loss"]


def test_validation_metrics_are_those_of_evaluate(backend):
    net = network(backend)
    history = fit(net, validation_data=(X[:20], LABELS[:20], np.arange(20)))
    measured = net.evaluate(X[:20], LABELS[:20], np.arange(20))
    assert history["val_loss"][-1] == measured["loss"]
    assert history["val_accuracy"][-1] == measured["accuracy"]


def test_a_fraction_sets_the_same_rows_aside_in_every_fit(backend):
    parts, whole = network(backend), network(backend)
    first, second = (fit(parts, validation_data=0.25, epochs=2) for _ in range(2))
    history = fit(whole, validation_data=0.25, epochs=4)
    assert first["val_loss"] + second["val_loss"] == history["val_loss"]
    assert whole.steps == 4 * 3  # 45 of 60 rows


def test_callbacks_are_told_in_order(backend):
    recorder = Recorder()
    fit(network(backend), epochs=2, callbacks=[recorder])
    told = [call for call in recorder.calls if call != "steps"]
    assert told == [
        "fit begin",
        "epoch 1 begin",
        "epoch 1 end at step 4",
        "epoch 2 begin",
        "epoch 2 end at step 8",
        "fit end",
    ]
    assert recorder.calls.count("steps") >= 2


def test_many_short_calls_give_the_bits_of_one_long_call(backend):
    class EveryStep(Recorder):
        every_steps = 1

    watched, alone, recorder = network(backend), network(backend), EveryStep()
    fit(watched, callbacks=[recorder])
    fit(alone)
    assert recorder.calls.count("steps") == 12
    assert (watched.parameters_vector == alone.parameters_vector).all()


def test_a_callback_may_end_training(backend):
    class Stop(fn.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 2:
                run.stop("enough")

    net = network(backend)
    history = fit(net, epochs=9, callbacks=[Stop()])
    assert (len(history["loss"]), history.stop_reason, net.epochs) == (2, "enough", 2)


def test_a_callback_that_ends_training_inside_an_epoch_leaves_it_to_be_finished(backend):
    class Stop(fn.Callback):
        every_steps = 2

        def on_steps_end(self, run):
            run.stop("enough")

    parts, whole = network(backend), network(backend)
    assert fit(parts, callbacks=[Stop()])["loss"] == []
    assert (parts.steps, parts.epochs) == (2, 0)
    fit(parts, epochs=3)
    fit(whole, epochs=3)
    assert (parts.parameters_vector == whole.parameters_vector).all()


@pytest.mark.parametrize("hook", [name for name in dir(fn.Callback) if name.startswith("on_")])
def test_what_a_callback_raises_comes_out_and_the_network_works(backend, hook):
    failure = RuntimeError("mine")

    class Failing(fn.Callback):
        pass

    def fail(self, run):
        raise failure

    setattr(Failing, hook, fail)
    net = network(backend)
    with pytest.raises(RuntimeError) as caught:
        fit(net, callbacks=[Failing()])
    assert caught.value is failure
    fit(net)
    assert np.isfinite(net.predict(X)).all()


def test_early_stopping_puts_the_best_weights_back(backend):
    class Spoil(fn.Callback):
        """Make every epoch after the second worse."""

        def on_epoch_end(self, run):
            self.kept = self.kept if run.epoch > 2 else run.network.parameters_vector
            if run.epoch >= 2:
                run.network.parameters["1.bias"][...] = [100 * run.epoch, 0]

    spoil, stop = Spoil(), fn.EarlyStopping(patience=3)
    net = network(backend)
    history = fit(net, epochs=50, validation_data=(X, LABELS), callbacks=[spoil, stop])
    assert stop.best_epoch == 2
    assert len(history["loss"]) == 5
    assert "val_loss has not improved for 3 epochs" in history.stop_reason
    best = network(backend)
    fit(best, epochs=2)
    spoil.kept = None
    # The second epoch's weights, as the callback before the stopper left them.
    best.parameters["1.bias"][...] = [200, 0]
    assert (net.parameters_vector == best.parameters_vector).all()


def test_early_stopping_on_a_metric_that_is_not_measured_is_refused_before_training(backend):
    net = network(backend, input_size=4)
    before = net.parameters_vector
    with pytest.raises(ValueError, match="validation_data"):
        fit(net, callbacks=[fn.EarlyStopping()])
    assert (net.parameters_vector == before).all()


def test_checkpoints_are_kept_as_told(backend, tmp_path):
    every = fn.ModelCheckpoint(tmp_path / "epoch-{epoch}.fnn", keep=2)
    best = fn.ModelCheckpoint(tmp_path / "best.fnn", best=True)
    net = network(backend)
    fit(net, epochs=5, callbacks=[every, best])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best.fnn", "epoch-4.fnn", "epoch-5.fnn"]
    last = fn.Network.load(tmp_path / "epoch-5.fnn", backend=backend)
    assert (last.predict(X) == net.predict(X)).all()


def test_the_csv_log_has_a_line_an_epoch(backend, tmp_path):
    history = fit(network(backend), callbacks=[fn.CSVLogger(tmp_path / "log.csv")])
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in rows] == history["loss"]


def test_a_row_of_weight_0_is_as_good_as_absent(backend):
    weight = np.ones(60)
    weight[40:] = 0
    weighted, fewer = network(backend), network(backend)
    weighted.fit(X, LABELS, sample_weight=weight, shuffle=False, epochs=2, progress=False)
    fewer.fit(X[:40], LABELS[:40], shuffle=False, epochs=2, progress=False)
    np.testing.assert_allclose(weighted.parameters_vector, fewer.parameters_vector, rtol=1e-12)


@pytest.mark.parametrize("rows", [*range(1, 70), 1023, 1024, 1025, 1600, 65537])
def test_the_order_of_an_epoch_is_numpys_permutation_of_its_seed_and_number(backend, rows):
    executable = network(backend, input_size=4)._executable
    order = np.empty(rows, np.int64)
    for seed, epoch in [(0, 0), (3, 7), (2**63 + 1, 2**33)]:
        executable.draw_order(order, seed, epoch)
        expected = np.random.default_rng([seed, epoch]).permutation(rows)
        np.testing.assert_array_equal(order, expected)


def test_fitting_without_a_bar_loads_no_tqdm(backend):
    script = f"""
        import sys
        import numpy as np, fastnn as fn
        net = fn.Network([fn.Dense(1)], backend={backend!r})
        net.fit(np.ones((40, 2)), np.ones(40), progress=False)
        assert "tqdm" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=60)


def test_class_weights_are_weights_of_the_rows(backend):
    by_class, by_row, balanced, by_hand = (network(backend) for _ in range(4))
    fit(by_class, class_weight={1: 3.0})
    fit(by_row, sample_weight=np.where(LABELS == 1, 3.0, 1.0))
    assert (by_class.parameters_vector == by_row.parameters_vector).all()
    counts = np.bincount(LABELS)
    fit(balanced, class_weight="balanced")
    fit(by_hand, sample_weight=60 / (2 * counts[LABELS]))
    np.testing.assert_allclose(balanced.parameters_vector, by_hand.parameters_vector, rtol=1e-12)


def test_a_schedule_sets_the_rate_of_every_step(backend):
    rate = fn.schedules.Step(0.1, every=1, gamma=0.5)
    scheduled = network(backend, optimizer=fn.SGD(rate))
    by_hand = network(backend, optimizer=fn.SGD(0.1))
    fit(scheduled, epochs=2)
    fit(by_hand, epochs=1)
    # Plain SGD has no moments: a fresh one with half the rate goes on in the second epoch.
    by_hand.optimizer = fn.SGD(0.05)
    fit(by_hand, epochs=1)
    assert (scheduled.parameters_vector == by_hand.parameters_vector).all()


@pytest.mark.parametrize("optimizer", [fn.SGD(1e200), fn.Adam(1e308), fn.SGD(1e30, momentum=0.9)])
def test_divergence_keeps_the_last_finite_weights(backend, optimizer):
    net = fn.Network(
        [fn.Dense(8), fn.Dense(1)], optimizer=optimizer, dtype="float64", backend=backend
    )
    with pytest.raises(DivergenceError, match="smaller learning rate") as caught:
        net.fit(X, X[:, 0], epochs=50, batch_size=16, progress=False)
    assert caught.value.epoch >= 1
    assert caught.value.step == net.steps
    assert np.isfinite(net.parameters_vector).all()
    net.optimizer = fn.SGD(1e-3)
    net.predict(X)


def test_a_batch_that_diverges_takes_no_step(backend):
    net = fn.Network([fn.Dense(1)], dtype="float32", backend=backend, optimizer="sgd")
    huge = np.full((3, 2), 3e38, np.float32)
    with pytest.raises(DivergenceError):
        net.train_batch(huge, [0, 0, 0])
    assert net.steps == 0
    assert np.isfinite(net.parameters_vector).all()


def test_ctrl_c_leaves_the_network_at_a_whole_step(backend):
    script = f"""
        import os, signal, threading, time
        import numpy as np
        import fastnn as fn

        X = np.random.default_rng(0).normal(size=(4096, 64))
        make = lambda: fn.Network(
            [fn.Dense(64, "tanh"), fn.Dense(1)], backend={backend!r}, dtype="float64"
        )
        net, sent = make(), []
        make().train_batch(X[:32], X[:32, 0])  # so that nothing is left to be compiled

        def interrupt():
            time.sleep(0.5)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        try:
            net.fit(X, X[:, 0], epochs=10**6, progress=False)
        except KeyboardInterrupt:
            print(time.perf_counter() - sent[0])
        steps = net.steps
        assert 0 < steps
        twin = make()

        class Stop(fn.Callback):
            every_steps = steps

            def on_steps_end(self, run):
                if run.step == steps:
                    run.stop("same step")

        twin.fit(X, X[:, 0], epochs=10**6, progress=False, callbacks=[Stop()])
        assert twin.steps == steps
        assert (twin.parameters_vector == net.parameters_vector).all()
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip(), "the interrupt did not come out"


def test_progress_is_shown_on_a_terminal_only(backend, capfd):
    fit(network(backend), progress=True)
    assert capfd.readouterr() == ("", "")
    script = f"""
        import numpy as np, fastnn as fn
        net = fn.Network([fn.Dense(1)], backend={backend!r})
        net.fit(np.ones((40, 2)), np.ones(40), epochs=2)
    """
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], stderr=follower, check=True, timeout=60
    )
    os.close(follower)
    shown = os.read(leader, 65536).decode()
    os.close(leader)
    assert "epoch 2/2" in shown
    assert "loss" in shown
