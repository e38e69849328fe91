"""All launches of whole networks are compiled as for a GPU, with the types that they come with."""

import cuda_offline as offline
import networks
import numpy as np
import pytest
from cuda_walks import EVERYTHING, SMALL, Walk
from networks import Described, fn, losses

from fastnn import custom
from fastnn.activations import CUSTOM
from fastnn.backends.cuda import graphs, target
from fastnn.backends.cuda.backend import CudaBackend
from fastnn.optimizers import Adam, NAdam

WHY_NOT = offline.why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


class Memory(np.ndarray):
    """Memory of a device that is none."""

    def copy_to_device(self, source, stream=0):
        self[...] = np.asarray(source).reshape(self.shape)

    def copy_to_host(self, here, stream=0):
        here[...] = self


class Quiet:
    """A stream, a mark and a context of a device that is none."""

    def __int__(self):
        return 5

    def __getattr__(self, name):
        return lambda *arguments: None

    def get_memory_info(self):
        return 1 << 33, 1 << 34


@pytest.fixture
def compiled(monkeypatch):
    """Return what is compiled, by kernel and types, while networks run on no device."""
    found = {}

    def launch(kernel, arguments):
        types = tuple(str(offline._type(argument)) for argument in arguments)
        if (kernel.function, types) not in found:
            found[kernel.function, types] = offline.compile_ptx(kernel.function, arguments)

    offline.patch(monkeypatch, launch)
    monkeypatch.setattr(target, "why_not", lambda: None)
    monkeypatch.setattr(graphs, "driver", lambda: None)
    monkeypatch.setattr(
        target.cuda,
        "device_array",
        lambda length, dtype, stream: np.zeros(length, dtype).view(Memory),
    )
    monkeypatch.setattr(target.cuda, "pinned_array", lambda length, dtype: np.zeros(length, dtype))
    for name in ("stream", "event", "current_context"):
        monkeypatch.setattr(target.cuda, name, lambda **told: Quiet())
    return found


def test_everything_that_a_network_launches_compiles(compiled):
    walk = Walk(EVERYTHING, CudaBackend(), Adam(0.01, clip_norm=0.1, clip_value=0.1), "float32")
    executable = walk.executable
    walk.steps(2, np.array([4, 0, 2]))
    walk.steps(1, None)
    executable.is_finite(walk.state)
    executable.evaluate(walk.batch)
    networks.gradient_of(executable, walk.batch, training=True, seed=1, step=2)
    out = np.empty((5, executable.program.outputs), np.float32)
    executable.predict(walk.batch.X, out, bfloat16=True)
    assert len(compiled) > 30


def test_functions_of_users_compile(compiled):
    @custom.activation(derivative=lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0))))
    def elu_of_mine(z):
        return z if z > 0 else np.expm1(z)

    @custom.loss(derivative=lambda z, t: np.tanh(z - t))
    def log_cosh_of_mine(z, t):
        return np.logaddexp(z - t, t - z) - np.log(2.0)

    try:
        described = Described([fn.Dense(3, elu_of_mine), fn.Dense(2)], 2, log_cosh_of_mine)
        walk = Walk(described, CudaBackend(), NAdam(0.01), "float32")
        walk.steps(1, None, 5)
    finally:
        CUSTOM.pop("elu_of_mine")
        losses.CUSTOM.pop("log_cosh_of_mine")
    narrow = [
        ptx
        for (function, types), ptx in compiled.items()
        if "unary" in function.__name__ and "float64" not in " ".join(types)
    ]
    assert narrow
    assert not [ptx for ptx in narrow if any("f64" in n for n in offline.instructions(ptx))]


def test_a_chain_of_layers_compiles(compiled):
    walk = Walk(SMALL, CudaBackend(), Adam(0.01), "float32", weighted=False)
    walk.steps(1, None, 5)
    assert compiled
