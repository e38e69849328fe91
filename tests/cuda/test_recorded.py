"""Steps that are recorded and replayed, and products by cuBLAS: stand-ins take the calls."""

import networks
import numpy as np
import pytest
import tolerance
from cuda_fakes import FakeCublas, FakeDriver
from cuda_walks import EVERYTHING, REFERENCE, SMALL, Walk, close

import fastnn as fn
from fastnn.backends.cuda import cublas, products, target
from fastnn.optimizers import SGD, Adam, NAdam

pytestmark = pytest.mark.skipif(
    not target.SIMULATED, reason="the stand-ins compute on memory of the processor"
)

ORDER = np.array([4, 0, 2, 1, 3, 0, 1, 2])


@pytest.fixture
def driver(cuda, monkeypatch):
    """Return a stand-in for the driver, by which every launch goes."""
    fake, launch = FakeDriver(stream=None), target.Kernel.launch
    fake.launches = []

    def launched(self, *arguments):
        fake.launches.append(self)
        fake.launch(lambda: launch(self, *arguments))

    monkeypatch.setattr(target.Kernel, "launch", launched)
    return fake


def test_a_replayed_step_is_the_step_that_was_recorded(cuda, driver):
    optimizer = NAdam(0.01, clip_norm=0.1)
    replayed, plain = (Walk(EVERYTHING, cuda, optimizer, "float32") for _ in range(2))
    replayed.executable._driver = driver
    launches = []
    for walk in (plain, replayed):
        assert walk.steps(4, ORDER) == 4
        assert walk.steps(2, ORDER[:4]) == 2
        launches.append(len(driver.launches))
        driver.launches.clear()
    for got, want in zip(replayed.all(), plain.all(), strict=True):
        assert np.asarray(got).tobytes() == np.asarray(want).tobytes()
    assert driver.calls.count("cuStreamBeginCapture_v2") == 1
    assert driver.calls.count("cuGraphLaunch") == 5
    assert launches[1] < launches[0] / 2


def test_the_last_batch_of_an_epoch_has_a_graph_of_its_own(cuda, driver):
    walk = Walk(SMALL, cuda, SGD(0.1), "float32")
    walk.executable._driver = driver
    for _ in range(3):
        walk.steps(3, ORDER[:5])
    assert driver.calls.count("cuStreamBeginCapture_v2") == 2
    assert driver.calls.count("cuGraphLaunch") == 5 + 2


def test_a_replayed_step_stops_where_the_loss_is_not_finite(cuda, driver):
    walk = Walk(SMALL, cuda, SGD(0.1), "float32", weighted=False)
    walk.executable._driver = driver
    walk.batch.Y[ORDER[6]] = 3e38
    assert walk.steps(4, ORDER) < 4
    assert np.isfinite(walk.executable.parameters).all()


def test_graphs_go_with_the_rows_that_they_were_made_for(cuda, driver):
    walk = Walk(SMALL, cuda, SGD(0.1), "float32")
    walk.executable._driver = driver
    walk.steps(4, ORDER)
    assert driver.graphs
    walk.batch = None
    assert not driver.graphs


def test_a_driver_that_refuses_to_record_is_asked_once(cuda, driver):
    walk, plain = (Walk(SMALL, cuda, SGD(0.1), "float32") for _ in range(2))
    driver.failing = "cuStreamEndCapture"
    walk.executable._driver = driver
    for trained in (walk, plain):
        assert trained.steps(4, ORDER) == 4
    assert driver.calls.count("cuStreamBeginCapture_v2") == 1
    assert walk.executable.parameters.tobytes() == plain.executable.parameters.tobytes()


# -- cuBLAS --------------------------------------------------------------------------------------


def by_cublas(executable, least=0, **told):
    """Let an executable multiply by a stand-in for cuBLAS, and return that."""
    fake = FakeCublas(**told)
    executable._chain = None  # which multiplies by itself
    executable._products = products.Products(executable._device, executable.dtype, fake, least)
    return fake


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_by_cublas_train_as_ours_do(cuda, dtype):
    optimizer = Adam(0.01)
    ours, theirs = (Walk(EVERYTHING, b, optimizer, dtype) for b in (cuda, REFERENCE))
    fake = by_cublas(ours.executable)
    for walk in (ours, theirs):
        assert walk.steps(2, ORDER[:4]) == 2
    for got, want in zip(ours.all(), theirs.all(), strict=True):
        close(got, want, tolerance.TRAJECTORY[dtype])
    name = "cublasSgemm_v2" if dtype == "float32" else "cublasDgemm_v2"
    dense = sum(op.kind == "dense" for op in ours.executable.program.ops)
    assert fake.calls.count(name) == 2 * (3 * dense - 1)  # nobody asks for the slope of the inputs
    assert fake.math == cublas.DEFAULT_MATH


def test_bias_and_activation_follow_a_product_by_cublas(cuda):
    layers = [fn.Dense(3, "relu", use_bias=False), fn.Dense(3, "tanh"), fn.Dense(2)]
    described = networks.Described(layers, 2, fn.losses.MeanSquaredError())
    ours, theirs = (networks.compile_network(described, b) for b in (cuda, REFERENCE))
    by_cublas(ours)
    batch = networks.random_batch(ours.program, 3)
    close(networks.predict(ours, batch.X), networks.predict(theirs, batch.X), 1e-12)
    for got, want in zip(
        networks.gradient_of(ours, batch), networks.gradient_of(theirs, batch), strict=True
    ):
        close(got, want, 1e-12)


def test_small_products_are_ours(cuda):
    walk = Walk(SMALL, cuda, SGD(0.1))
    fake = by_cublas(walk.executable, least=5 * 2 * 2 + 1)
    networks.predict(walk.executable, walk.batch.X)
    assert fake.calls == []


def test_tf32_is_used_from_the_next_product_on(cuda):
    walk = Walk(SMALL, cuda, SGD(0.1), "float32")
    fake = by_cublas(walk.executable)
    modes = []
    try:
        for precision in ("highest", "high", "highest"):
            fn.set_float32_matmul_precision(precision)
            walk.steps(1, ORDER[:2])
            modes.append(fake.math)
    finally:
        fn.set_float32_matmul_precision("highest")
    assert modes == [cublas.DEFAULT_MATH, cublas.TF32_MATH, cublas.DEFAULT_MATH]


def test_a_cublas_that_does_not_start_is_left_out_with_a_warning(cuda):
    walk = Walk(SMALL, cuda, SGD(0.1))
    by_cublas(walk.executable, failing="cublasCreate_v2", status=1)
    with pytest.warns(RuntimeWarning, match="cuBLAS cannot be used.*NOT_INITIALIZED"):
        networks.predict(walk.executable, walk.batch.X)
    assert walk.steps(1, ORDER[:2]) == 1
