"""What the CUDA backend calls in C, held against stand-ins that record and compute: no GPU here.

The stand-in of cuBLAS computes on the memory that it is given addresses of, columns first, as the
manual of cuBLAS says; that of the driver counts what is recorded and replayed.
"""

import gc
import weakref

import numpy as np
import pytest
from cuda_fakes import FakeCublas, FakeDriver

from fastnn.backends.cuda import cublas, graphs

B, I, O = 5, 3, 4


def matrix(rows, columns, ld, dtype, seed=0):
    """Return a matrix in wider rows of canaries, and its pair of address and leading dimension."""
    wide = np.full((rows, ld), 99, dtype)
    wide[:, :columns] = np.random.default_rng(seed).normal(size=(rows, columns))
    return wide, (wide.ctypes.data, ld)


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


@pytest.fixture
def handle():
    return cublas.Cublas(FakeCublas(), 12, 4096)


def test_a_handle_is_set_up_for_its_stream(handle):
    fake = handle._library
    assert fake.stream == 12
    assert fake.workspace == (4096, cublas.WORKSPACE_BYTES)
    assert fake.math == cublas.DEFAULT_MATH
    assert handle.version == "12.8.4"
    handle.close()
    handle.close()
    assert fake.calls.count("cublasDestroy_v2") == 1


def test_the_forward_product_of_rows(handle, dtype):
    X, x = matrix(B, I, 6, dtype)
    W, w = matrix(I, O, 7, dtype, 1)
    Y, y = matrix(B, O, 9, dtype, 2)
    handle.forward(dtype, y, x, w, B, I, O)
    np.testing.assert_allclose(Y[:, :O], X[:, :I] @ W[:, :O], rtol=1e-5)
    assert (Y[:, O:] == 99).all()


@pytest.mark.parametrize("accumulate", [False, True])
def test_the_backward_products_of_rows(handle, dtype, accumulate):
    X, x = matrix(B, I, 6, dtype)
    W, w = matrix(I, O, 7, dtype, 1)
    dY, dy = matrix(B, O, 9, dtype, 2)
    dX, dx = matrix(B, I, 5, dtype, 3)
    dW, dw = matrix(I, O, 8, dtype, 4)
    before = (dX[:, :I].copy(), dW[:, :O].copy()) if accumulate else (0, 0)
    handle.backward_data(dtype, dx, dy, w, accumulate, B, I, O)
    handle.backward_weights(dtype, dw, x, dy, accumulate, B, I, O)
    np.testing.assert_allclose(dX[:, :I], dY[:, :O] @ W[:, :O].T + before[0], rtol=1e-4)
    np.testing.assert_allclose(dW[:, :O], X[:, :I].T @ dY[:, :O] + before[1], rtol=1e-4)
    assert (dX[:, I:] == 99).all()
    assert (dW[:, O:] == 99).all()


def test_tf32_is_used_only_where_it_is_asked_for(handle):
    fake = handle._library
    handle.use_tf32(False)
    assert fake.calls.count("cublasSetMathMode") == 1
    handle.use_tf32(True)
    assert fake.math == cublas.TF32_MATH
    handle.use_tf32(False)
    assert fake.math == cublas.DEFAULT_MATH


@pytest.mark.parametrize("call", ["cublasCreate_v2", "cublasSetWorkspace_v2", "cublasSgemm_v2"])
@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (1, cublas.CublasError, "NOT_INITIALIZED"),
        (13, cublas.CublasError, "EXECUTION_FAILED: the product failed"),
        (99, cublas.CublasError, "CUBLAS_STATUS_99"),
        (3, MemoryError, "no memory"),
    ],
)
def test_a_call_that_fails_is_named(call, status, error, words):
    Y, y = matrix(B, O, O, np.float32)
    with pytest.raises(error, match=f"{call}.*{words}"):
        cublas.Cublas(FakeCublas(call, status), 0, 64).forward(np.float32, y, y, y, B, O, O)


def test_a_product_beyond_the_sizes_of_the_call_is_refused(handle):
    with pytest.raises(cublas.CublasError, match="2\\*\\*31 - 1 rows"):
        handle.forward(np.float32, (0, 4), (0, 4), (0, 4), 2**31, 4, 4)
    assert "cublasSgemm_v2" not in handle._library.calls


def test_a_machine_without_cublas_has_none(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(cublas.ctypes, "CDLL", missing)
    assert cublas.find_library() is None


def test_the_first_library_that_loads_is_taken(monkeypatch):
    asked = []

    def load(name):
        asked.append(name)
        if not name.endswith(".12"):
            raise OSError(name)
        return name

    monkeypatch.setattr(cublas.ctypes, "CDLL", load)
    assert cublas.find_library() == "libcublas.so.12"
    assert asked[-2:] == ["libcublas.so.13", "libcublas.so.12"]


# -- graphs --------------------------------------------------------------------------------------


def test_what_is_recorded_runs_when_it_is_replayed():
    driver, told = FakeDriver(), []

    def launches():
        driver.launch(lambda: told.append("first"))
        driver.launch(lambda: told.append("second"))

    graph = graphs.record(driver, 5, launches)
    assert told == []
    graph.replay()
    graph.replay()
    assert told == ["first", "second"] * 2
    assert len(driver.graphs) == 1  # what it was made from is freed


def test_a_graph_keeps_what_its_launches_refer_to_and_is_freed_with_it():
    class Memory:
        pass

    driver, memory = FakeDriver(), Memory()
    alive = weakref.ref(memory)
    graph = graphs.record(driver, 5, lambda: None, memory)
    del memory
    gc.collect()
    assert alive() is not None
    del graph
    gc.collect()
    assert alive() is None
    assert driver.graphs == {}


@pytest.mark.parametrize(
    "call",
    [
        "cuStreamBeginCapture_v2",
        "cuStreamEndCapture",
        "cuGraphInstantiateWithFlags",
    ],
)
def test_a_step_that_cannot_be_recorded_says_so(call):
    driver = FakeDriver(call)
    with pytest.raises(graphs.GraphError, match=f"{call} failed with CUresult 900"):
        graphs.record(driver, 5, lambda: None)
    if call == "cuGraphInstantiateWithFlags":
        assert "cuGraphDestroy" in driver.calls


def test_an_error_while_recording_ends_the_recording():
    driver = FakeDriver()

    def breaks():
        raise KeyError("out of order")

    with pytest.raises(KeyError):
        graphs.record(driver, 5, breaks)
    assert driver.recording is None
    assert driver.graphs == {}


def test_a_graph_that_does_not_start_says_so():
    graph = graphs.record(FakeDriver("cuGraphLaunch", 700), 5, lambda: None)
    with pytest.raises(graphs.GraphError, match="cuGraphLaunch failed with CUresult 700"):
        graph.replay()


def test_a_driver_that_is_too_old_says_so():
    class Old:
        cuStreamBeginCapture_v2 = cuStreamEndCapture = cuGraphDestroy = staticmethod(lambda *a: 0)

    with pytest.raises(graphs.GraphError, match="no cuGraphInstantiateWithFlags"):
        graphs.record(Old(), 5, lambda: None)
