"""Claims about `fastnn train`: what it learns, says and saves, and what it does not overwrite."""

import fcntl
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import termios

import pytest
from command_line import FLATS, QUICK, start

import fastnn as fn
from fastnn.data import TableEncoder


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_digits_are_learned_to_97_percent_whatever_the_seed(run, seed):
    status, out, err = run("train", "digits", "--seed", seed)
    assert (status, err) == (0, "")
    last = out.splitlines()[-1]
    assert re.fullmatch(r"test accuracy 0\.\d{4}", last)
    assert float(last.split()[-1]) >= 0.97


def test_the_report_says_what_was_trained_how_long_it_took_and_how_to_go_on(run, tmp_path):
    status, out, _ = run("train", "digits", *QUICK)
    lines = out.splitlines()
    assert lines[0] == "digits: training on 1437 rows; 360 to test on"
    assert "64 - 8 - 10 classes" in lines[1]
    assert re.fullmatch(r"trained 3 epochs in \d+\.\d\d s", lines[2])
    assert lines[3] == "saved to digits.fnn; predict with:"
    assert (tmp_path / "digits.fnn").is_file()


@pytest.mark.parametrize("name", ["flats.csv", "my flats (new).csv"])
def test_the_line_that_the_report_gives_can_be_pasted_into_a_shell(run, tmp_path, name):
    (tmp_path / name).write_text(FLATS)
    _, out, _ = run("train", name, "--target", "price", *QUICK)
    line = out.splitlines()[-2]
    program, *words = shlex.split(line)
    assert program == "fastnn"
    status, predictions, _ = run(*words)
    assert status == 0
    assert len(predictions.splitlines()) == 301


def test_quiet_prints_the_result_alone(run):
    _, out, err = run("train", "digits", "-q", *QUICK)
    assert out.count("\n") == 1
    assert out.startswith("test accuracy 0.")
    assert err == ""


def test_the_same_command_saves_the_same_bytes(run, tmp_path):
    for name in ("one.fnn", "two.fnn"):
        assert run("train", "digits", "-q", *QUICK, "--output", name)[0] == 0
    assert (tmp_path / "one.fnn").read_bytes() == (tmp_path / "two.fnn").read_bytes()
    run("train", "digits", "-q", *QUICK, "--output", "two.fnn", "--seed", 1)
    assert (tmp_path / "one.fnn").read_bytes() != (tmp_path / "two.fnn").read_bytes()


def test_every_option_of_the_network_reaches_it(run):
    options = "--hidden 7,5 --activation tanh --dropout 0.1 --dtype float64 --seed 3 --epochs 2"
    status, *_ = run(
        *("train", "digits", *options.split(), "--optimizer", "sgd", "--learning-rate", "0.5"),
        *("--batch-size", "100", "--backend", "reference", "--threads", "1", "--output", "a.fnn"),
    )
    assert status == 0
    net = fn.Network.load("a.fnn", backend="reference")
    assert [type(layer).__name__ for layer in net.layers] == ["Dense", "Dropout"] * 2 + ["Dense"]
    assert [layer.units for layer in net.layers[::2]] == [7, 5, 10]
    assert net.layers[0].activation.name == "tanh"
    assert net.layers[1].rate == 0.1
    assert (str(net.dtype), net.seed, net.epochs, net.steps) == ("float64", 3, 2, 30)
    assert net.optimizer == fn.SGD(fn.schedules.Cosine(0.5, length=2))


def test_no_hidden_layers_and_no_dropout_make_a_linear_network(run):
    assert run("train", "digits", "--hidden", "none", "--epochs", 1, "--dropout", 0)[0] == 0
    assert len(fn.Network.load("digits.fnn").layers) == 1


def test_the_model_file_holds_all_that_predicting_needs(models):
    digits = fn.Network.load(models / "digits.fnn").metadata
    assert digits == {"data": "digits", "class_names": list("0123456789")}
    price = fn.Network.load(models / "price.fnn").metadata
    assert (price["data"], price["target"]) == ("table", "price")
    assert TableEncoder.from_json(price["encoder"]).task == "regression"
    assert fn.Network.load(models / "kind.fnn").metadata["class_names"] == ["new", "old"]


@pytest.mark.parametrize(
    ("target", "words", "last"),
    [
        ("price", (), r"test r2 0\.9\d{3}"),
        ("kind", (), r"test accuracy [01]\.\d{4}"),
        ("area", ("--task", "regression"), r"test r2 -?\d\.\d{4}"),
    ],
)
def test_a_table_is_learned_by_its_target(run, tmp_path, target, words, last):
    (tmp_path / "flats.csv").write_text(FLATS)
    status, out, err = run("train", "flats.csv", "--target", target, *words)
    assert (status, err) == (0, "")
    assert re.fullmatch(last, out.splitlines()[-1])


def test_rows_without_a_target_are_left_out_and_counted(run, tmp_path):
    (tmp_path / "flats.csv").write_text(FLATS + "40,Lyon,,old\n50,Metz,,new\n")
    _, out, _ = run("train", "flats.csv", "--target", "price", *QUICK)
    assert "240 rows, 2 left out without a target" in out.splitlines()[0]
    _, out, _ = run("evaluate", "flats.fnn", "flats.csv")
    assert out.startswith("flats.csv: all 300 rows of the table; those it was trained on too")
    assert out.splitlines()[0].endswith("; 2 left out without a target")


def test_mnist_is_trained_from_its_four_files(run, mnist):
    status, out, err = run("train", "mnist", "--data", mnist, "--hidden", 8)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "test accuracy 1.0000"
    words = shlex.split(out.splitlines()[-2])[1:]
    assert words == ["predict", "mnist.fnn", "mnist", "--data", str(mnist)]
    status, out, _ = run(*words)
    assert status == 0
    assert out.splitlines()[1].startswith("row 1: 1 (0.")
    assert out.splitlines()[1].endswith(", true label 1")


@pytest.mark.parametrize("words", [("digits",), ("flats.csv", "--target", "price")])
def test_a_model_may_be_trained_over_the_last_one_of_the_same_data(run, tmp_path, words):
    (tmp_path / "flats.csv").write_text(FLATS)
    for seed in (0, 1):
        assert run("train", *words, "-q", *QUICK, "--seed", seed)[0] == 0
    assert fn.Network.load(words[0].split(".")[0] + ".fnn").seed == 1


@pytest.mark.parametrize(
    ("before", "now", "whose"),
    [
        ("digits", ("flats.csv", "--target", "price"), "holds a model of digits"),
        ("kind", ("flats.csv", "--target", "price"), "of a table with the target 'kind'"),
        ("price", ("digits",), "of a table with the target 'price'"),
        ("price", ("other/flats.csv", "--target", "price"), "'price' and other columns"),
        ("python", ("digits",), "that `fastnn train` did not make"),
        ("broken", ("digits",), "of an unknown table"),
    ],
)
def test_a_model_of_other_data_is_replaced_only_by_a_file_that_was_named(
    run, models, tmp_path, before, now, whose
):
    (tmp_path / "flats.csv").write_text(FLATS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "flats.csv").write_text(FLATS.replace("area", "size", 1))
    output = tmp_path / ("digits.fnn" if now[0] == "digits" else "flats.fnn")
    if before in ("python", "broken"):
        net = fn.Network([fn.Dense(1)], input_size=64)
        net.metadata |= {"data": "table"} if before == "broken" else {}
        net.save(output)
    else:
        output.write_bytes((models / f"{before}.fnn").read_bytes())
    held = output.read_bytes()
    status, out, err = run("train", *now, *QUICK)
    assert (status, out) == (2, "")
    assert whose in err
    assert "--output" in err
    assert err.count("\n") == 1
    assert output.read_bytes() == held
    assert run("train", *now, *QUICK, "--output", output)[0] == 0
    assert output.read_bytes() != held


def test_the_loss_can_be_chosen(run, tmp_path):
    (tmp_path / "flats.csv").write_text(FLATS)
    for name in ("mse", "mae", "huber"):
        words = ("train", "flats.csv", "--target", "price", *QUICK, "--loss", name)
        assert run(*words)[0] == 0
        assert fn.Network.load("flats.fnn").loss.name == name
    assert run("train", "digits", *QUICK, "--loss", "cross_entropy")[0] == 0


def test_the_bar_is_drawn_on_a_terminal(tmp_path):
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    try:
        process = start(
            *("train", "digits", *QUICK), cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs
        )
        out = process.communicate(timeout=60)[0]
        os.close(theirs)
        drawn = b""
        while select.select([mine], [], [], 0)[0]:
            try:
                drawn += os.read(mine, 4096)
            except OSError:  # the other end is closed
                break
    finally:
        os.close(mine)
    assert process.returncode == 0
    assert b"epoch 3/3: 100%" in drawn
    assert out.splitlines()[-1].startswith(b"test accuracy ")
