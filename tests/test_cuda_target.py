"""Which CUDA target is found, and the sentence that says why none can be used."""

import os
import subprocess
import sys

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
