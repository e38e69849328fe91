"""Claims about commands that go wrong while they run: one line, a status, and nothing half done."""

import os
import signal
import subprocess
import sys
import time

import pytest
from command_line import QUICK, start

from fastnn.cli import COMMANDS


def test_divergence_gives_one_line_and_the_status_1_and_saves_nothing(run, tmp_path):
    status, out, err = run("train", "digits", "-q", "--optimizer", "sgd", "--learning-rate", 1e30)
    assert (status, out) == (1, "")
    assert err.startswith("fastnn: training diverged in epoch 1")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_unforeseen_error_gives_one_line_that_says_how_to_see_more(run, monkeypatch):
    def fails(arguments):
        raise KeyError("weight\nbias")

    monkeypatch.setitem(COMMANDS, "info", fails)
    status, _, err = run("info")
    assert status == 1
    assert err == ("fastnn: KeyError: 'weight\\nbias' (python -X dev -m fastnn shows where)\n")


def test_memory_that_is_not_there_gives_one_line(run, monkeypatch):
    def fails(arguments):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setitem(COMMANDS, "info", fails)
    assert run("info") == (1, "", "fastnn: not enough memory: Unable to allocate 9 TiB\n")


def test_a_warning_is_one_line(run, monkeypatch):
    import warnings

    def warns(arguments):
        warnings.simplefilter("always")
        warnings.warn("slow", RuntimeWarning, stacklevel=1)

    monkeypatch.setitem(COMMANDS, "info", warns)
    assert run("info") == (0, "", "fastnn: slow\n")


def test_ctrl_c_ends_training_with_one_line_and_the_status_130(tmp_path):
    process = start(
        *("train", "digits", "--epochs", "1000000"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout.readline().startswith(b"digits")
    assert process.stdout.readline().startswith(b"network")
    time.sleep(0.3)  # into the training
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b"fastnn: interrupted; nothing was saved\n"
    assert not list(tmp_path.iterdir())


def test_a_reader_that_goes_away_is_no_error(models):
    process = start(
        *("predict", models / "digits.fnn", "digits", "--rows", "360"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 141
    assert err == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_gives_one_line_and_the_status_1():
    with open("/dev/full", "w") as full:
        process = start("info", stdout=full, stderr=subprocess.PIPE)
        err = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert err == b"fastnn: No space left on device\n"


def test_complaints_that_nobody_hears_do_not_end_among_the_results(run, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert run("info", "digits")[:2] == (2, "")


def test_a_file_name_that_is_no_text_is_no_obstacle(run, tmp_path):
    name = os.fsdecode(b"caf\xe9.fnn")
    assert run("train", "digits", *QUICK, "--output", name)[0] == 0
    assert os.path.exists(name)
    assert run("show", name)[0] == 0
