"""Claims about what the command line says of models, of itself and of its use."""

import re
import sys

import numpy as np
import pytest

import fastnn as fn
from fastnn.cli import COMMANDS, terminal


def test_show_prints_the_layers_where_training_stands_and_the_data(run, models):
    status, out, _ = run("show", models / "kind.fnn")
    assert status == 0
    assert fn.Network.load(models / "kind.fnn").summary() in out
    assert "trained: 60 epochs, 480 steps, seed 0" in out
    assert "target: kind (classification)" in out
    assert "columns: area, city, price" in out
    assert "classes: new, old" in out


def test_one_epoch_and_one_step_are_said_as_one(run):
    run("train", "digits", "-q", "--hidden", 4, "--epochs", 1, "--batch-size", 1437)
    assert "trained: 1 epoch, 1 step, seed 0" in run("show", "digits.fnn")[1]
    assert "after 1 step (loss" in str(fn.errors.DivergenceError(1, 1, np.inf))
    assert "after 2 steps (loss" in str(fn.errors.DivergenceError(2, 1, np.inf))


def test_the_help_of_evaluate_says_that_rows_of_the_training_count(run):
    text = " ".join(run("evaluate", "--help")[1].split())
    assert "all rows count, also those that the network was trained on" in text


def test_info_prints_a_line_for_every_fact(run):
    status, out, _ = run("info")
    assert status == 0
    assert out.splitlines() == [f"{name}: {value}" for name, value in fn.info().items()]


def test_the_version_is_printed(run):
    assert run("--version") == (0, f"fastnn {fn.__version__}\n", "")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_ends_with_an_example(run, command):
    status, out, err = run(*command.split(), "--help")
    assert (status, err) == (0, "")
    assert re.search(rf"example:\n  fastnn {command or 'train'} ?.*\n", out)


def test_the_line_to_paste_names_the_program_as_it_was_started(monkeypatch, tmp_path):
    script = tmp_path / "fastnn"
    script.write_text("")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", "/nonexistent")
    for started, expected in (
        (str(script), str(script)),
        ("/usr/lib/fastnn/__main__.py", f"{sys.executable} -m fastnn"),
        ("pytest", "fastnn"),
    ):
        monkeypatch.setattr(sys, "argv", [started])
        assert terminal.command_line(["show", "a b"]) == f"{expected} show 'a b'"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert terminal.command_line(["info"]) == "fastnn info"
