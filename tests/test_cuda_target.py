"""Which CUDA target is found, and the sentence that says why none can be used."""

import os
import subprocess
import sys
import warnings

import pytest

from fastnn import backends
from fastnn.backends.cuda import target

WITHOUT_SIMULATOR = pytest.mark.skipif(target.SIMULATED, reason="a simulated GPU is always there")


class Device:
    """Stands in for the interface of a target: what its driver would answer."""

    class CudaSupportError(ImportError):
        pass

    def __init__(self, devices=0, error="", compiler=True):
        self.devices, self.error, self.compiler = devices, error, compiler

    @property
    def gpus(self):
        if self.error:
            raise self.CudaSupportError(self.error)
        return [None] * self.devices

    def is_available(self):
        return self.compiler


@pytest.fixture
def device(monkeypatch):
    """Return a function that puts a driver with such answers in place of the real one."""

    def put(**answers):
        monkeypatch.setattr(target, "cuda", Device(**answers))
        monkeypatch.setattr(target, "SIMULATED", False)
        monkeypatch.setattr(target, "_asked_in", None)

    return put


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"devices": 0}, target.NO_DEVICE),
        ({"error": "Error at driver init: CUDA_ERROR_NO_DEVICE (100)"}, target.NO_DEVICE),
        ({"devices": 1, "compiler": False}, target.NO_COMPILER),
        ({"devices": 1}, None),
    ],
)
def test_every_reason_has_its_sentence(device, answers, reason):
    device(**answers)
    assert target.why_not() == reason


def test_a_missing_driver_is_named_with_what_the_target_says(device):
    device(error="Error at driver init: \n\nCUDA driver library cannot be found.\nTry this.\n:")
    assert target.why_not() == f"{target.NO_DRIVER} (CUDA driver library cannot be found.)"
    device(error="Error at driver init: \n\nlibcuda.so is too old")
    assert "libcuda.so is too old" in target.why_not()


def test_a_forked_child_of_a_process_that_used_cuda_is_told(device, monkeypatch):
    device(devices=1)
    assert target.why_not() is None
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert target.why_not() == target.FORKED


def test_a_missing_package_is_the_reason(monkeypatch):
    monkeypatch.setattr(target, "cuda", None)
    monkeypatch.setattr(target, "NAME", target.NO_PACKAGE)
    assert target.why_not() == target.NO_PACKAGE


@WITHOUT_SIMULATOR
def test_the_reason_reaches_the_user():
    assert target.why_not() is None or target.why_not() in backends.why_unavailable("cuda")


def run(code, **environment):
    told = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "FASTNN_CUDA"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**told, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


NAMES = "from fastnn.backends.cuda import target; print(target.NAME)"


def test_a_target_can_be_named():
    told = run(NAMES, FASTNN_CUDA_TARGET="none such")
    assert "none such" in told
    assert "numba_cuda_mlir" in told
    assert run(NAMES, FASTNN_CUDA_TARGET=target.NAME if target.cuda else "numba")


def test_the_simulator_is_a_target_that_can_be_used():
    pytest.importorskip("numba")
    code = (
        "from fastnn.backends.cuda import target\n"
        "print(target.SIMULATED, target.NAME, target.why_not())"
    )
    simulated, name, reason = run(code, NUMBA_ENABLE_CUDASIM="1").split()
    assert simulated == "True"
    assert name in ("numba", "numba-cuda")
    assert reason == "None"


def test_fastnn_imports_no_target_before_somebody_asks():
    code = "import sys, fastnn; print({'numba', 'numba_cuda_mlir'} & set(sys.modules))"
    assert run(code) == "set()"


class Dispatcher:
    """Stands in for a compiled kernel: notes how it is configured and launched."""

    def __init__(self):
        self.configured, self.launched = [], []

    def __getitem__(self, told):
        warnings.warn("this grid is small", RuntimeWarning, stacklevel=2)
        self.configured.append(told)
        return lambda *arguments: self.launched.append((told, arguments))


@pytest.fixture
def kernel(monkeypatch, device):
    """Return a kernel on such a dispatcher."""
    device()
    monkeypatch.setattr(target.cuda, "jit", lambda function, **_: Dispatcher(), raising=False)
    return target.Kernel(print)


def test_a_launch_is_configured_once_for_a_grid_and_a_stream(kernel):
    streams = [object(), object()]
    for n in range(3):
        for stream in streams:
            kernel.launch(stream, (2,), (8,), n)
    dispatcher = kernel._dispatcher
    assert dispatcher.configured == [((2,), (8,), stream) for stream in streams]
    assert [told[2] for told, _ in dispatcher.launched] == 3 * streams
    assert [n for _, (n,) in dispatcher.launched] == [0, 0, 1, 1, 2, 2]


def test_what_is_kept_of_launches_is_bounded_and_holds_its_stream(kernel):
    for n in range(2 * target.KEPT):
        kernel.launch(object(), (n + 1,), (8,))
    assert len(kernel._configured) <= target.KEPT
    # An object that is gone may leave its id to another one, which is another stream.
    assert all(id(stream) == key[2] for key, (_, stream) in kernel._configured.items())
    assert len(kernel._dispatcher.launched) == 2 * target.KEPT


def test_a_grid_of_no_blocks_launches_nothing(kernel):
    kernel.launch(0, (3, 0), (8, 1))
    assert kernel._dispatcher.launched == []
