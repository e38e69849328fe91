"""Claims about the command line."""

import fcntl
import gzip
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

import fastnn as fn
from fastnn.cli import COMMANDS, main, terminal
from fastnn.data import TableEncoder, load_digits, read_table

FLATS = "area,city,price,kind\n" + "".join(
    f"{30 + i % 50},{('Lyon', 'Metz', 'Nice')[i % 3]},{100 + 4 * (i % 50) + 30 * (i % 3)},"
    f"{'old' if i % 50 < 25 else 'new'}\n"
    for i in range(300)
)
QUICK = ("--hidden", "8", "--epochs", "3")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command in a folder of its own: status, output, complaints."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return command


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a folder with a model of the digits, two of a table, and the table."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "flats.csv").write_text(FLATS)
    table = str(folder / "flats.csv")
    trainings = {
        "digits": ("digits", "--epochs", "5"),
        "price": (table, "--target", "price", "--dropout", "0"),
        "kind": (table, "--target", "kind", "--hidden", "16"),
    }
    for name, words in trainings.items():
        assert main(["train", *words, "-q", "--output", str(folder / f"{name}.fnn")]) == 0
    return folder


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """Return a folder of files as those of MNIST: bright left or bright right halves."""
    folder = tmp_path_factory.mktemp("mnist")
    generator = np.random.default_rng(0)
    for part, count in (("train", 120), ("t10k", 30)):
        labels = (np.arange(count) % 2).astype(np.uint8)
        images = generator.integers(0, 60, (count, 4, 6), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 3 * label : 3 * label + 3] += 190
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


def start(*words, **options):
    """Start the program as a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "fastnn", *map(str, words)], **options)


# -- train ---------------------------------------------------------------------------------------


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


def test_a_model_may_be_trained_over_the_last_one(run):
    for _ in range(2):
        assert run("train", "digits", "-q", *QUICK)[0] == 0


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


def test_a_table_may_be_learned_again_in_place_of_its_last_model(run, tmp_path):
    (tmp_path / "flats.csv").write_text(FLATS)
    for seed in (0, 1):
        status, *_ = run("train", "flats.csv", "--target", "price", *QUICK, "--seed", seed)
        assert status == 0
    assert fn.Network.load("flats.fnn").seed == 1


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


# -- evaluate, predict, show, info ---------------------------------------------------------------


def test_evaluate_gives_what_the_network_gives(run, models):
    digits, net = load_digits(), fn.Network.load(models / "digits.fnn")
    expected = net.evaluate(digits.X_test, digits.y_test)
    _, out, _ = run("evaluate", models / "digits.fnn", "digits")
    assert out.splitlines() == [
        "digits: 360 test rows",
        f"loss {expected['loss']:.4f}",
        f"accuracy {expected['accuracy']:.4f}",
    ]


def test_evaluate_measures_every_row_of_a_table(run, models):
    _, out, _ = run("evaluate", models / "price.fnn", models / "flats.csv")
    assert out.splitlines()[0].endswith(
        "flats.csv: all 300 rows of the table; those it was trained on too, if they are in it"
    )
    assert float(out.splitlines()[-1].removeprefix("r2 ")) > 0.9


@pytest.mark.parametrize(("words", "count"), [((), 10), (("--rows", 3), 3), (("--rows", 999), 360)])
def test_predicting_digits_says_class_probability_and_true_label(run, models, words, count):
    status, out, err = run("predict", models / "digits.fnn", "digits", *words)
    assert (status, err) == (0, "")
    digits, net = load_digits(), fn.Network.load(models / "digits.fnn")
    outputs = net.predict(digits.X_test[:count])
    assert out.splitlines() == [
        f"row {i}: {row.argmax()} ({row.max():.4f}), true label {digits.y_test[i]}"
        for i, row in enumerate(outputs)
    ]


def test_predicting_a_table_gives_csv_a_line_a_row(run, models):
    frame = read_table(models / "flats.csv")
    probabilities = "prediction,probability of new,probability of old"
    for name, columns in (("price", "prediction"), ("kind", probabilities)):
        status, out, err = run("predict", models / f"{name}.fnn", models / "flats.csv")
        assert (status, err) == (0, "")
        header, *rows = out.splitlines()
        assert header == columns
        net = fn.Network.load(models / f"{name}.fnn")
        encoder = TableEncoder.from_json(net.metadata["encoder"])
        outputs = net.predict(encoder.encode(frame))
        for row, answer, output in zip(rows, encoder.decode(outputs), outputs, strict=True):
            value, *probability = row.split(",")
            if name == "price":
                assert float(value) == float(f"{answer:.9g}")
                assert len(value.replace(".", "")) <= 9
            else:
                assert value == answer
                assert np.array(probability, np.float32).tolist() == output.tolist()


def test_predictions_can_be_written_to_a_file(run, models, tmp_path):
    words = ("predict", models / "kind.fnn", models / "flats.csv", "--rows", 20)
    _, printed, _ = run(*words)
    status, out, _ = run(*words, "--output", "answers.csv")
    assert status == 0
    assert out == "wrote 20 predictions to answers.csv\n"
    assert (tmp_path / "answers.csv").read_text() == printed


@pytest.mark.parametrize("name", ["answers.csv", "price.csv"])
def test_predictions_replace_no_file_and_that_is_said_before_predicting(
    run, models, tmp_path, monkeypatch, name
):
    (tmp_path / name).write_text("mine")
    monkeypatch.setattr(fn.Network, "load", None)
    status, out, err = run(
        *("predict", models / "price.fnn", models / "flats.csv", "--output", name)
    )
    assert (status, out) == (2, "")
    assert err == f"fastnn: '{name}' exists; name another file to write to, or delete it\n"
    assert (tmp_path / name).read_text() == "mine"


def test_one_row_is_one_prediction(run, models):
    words = ("predict", models / "price.fnn", models / "flats.csv", "--rows", 1)
    assert run(*words, "--output", "one.csv")[1] == "wrote 1 prediction to one.csv\n"


def test_values_have_the_digits_of_the_networks_dtype(run, tmp_path):
    (tmp_path / "flats.csv").write_text(FLATS)
    words = ("train", "flats.csv", "--target", "price", "-q", *QUICK, "--dtype", "float64")
    run(*words)
    net = fn.Network.load("flats.fnn")
    encoder = TableEncoder.from_json(net.metadata["encoder"])
    answers = encoder.decode(net.predict(encoder.encode(read_table("flats.csv"))))
    _, out, _ = run("predict", "flats.fnn", "flats.csv")
    assert [float(line) for line in out.splitlines()[1:]] == answers.tolist()
    net = fn.Network([fn.Dense(1)], input_size=64)
    net.save("value.fnn")
    _, out, _ = run("predict", "value.fnn", "digits", "--rows", 1)
    value = net.predict(load_digits().X_test[:1])[0, 0]
    assert out == f"row 0: {value!s}, true label {load_digits().y_test[0]}\n"


def test_a_table_without_the_target_and_with_its_columns_elsewhere_is_predicted_alike(
    run, models, tmp_path
):
    first = "area,city,price,kind\n40,Lyon,1,old\n"
    (tmp_path / "a.csv").write_text(first)
    (tmp_path / "b.csv").write_text("kind,colour,city,area\nold,red,Lyon,40\n")
    answers = [run("predict", models / "price.fnn", name)[1] for name in ("a.csv", "b.csv")]
    assert answers[0] == answers[1]


def test_predicting_an_idx_file_reads_bytes_as_training_did(run, mnist, tmp_path):
    run("train", "mnist", "--data", mnist, "--hidden", 8, "-q")
    _, shown, _ = run("predict", "mnist.fnn", "mnist", "--data", mnist, "--rows", 30)
    status, out, _ = run("predict", "mnist.fnn", mnist / "t10k-images-idx3-ubyte.gz")
    assert status == 0
    assert out == re.sub(", true label .", "", shown)


def test_a_network_that_the_command_line_did_not_train_predicts_too(run):
    net = fn.Network([fn.Dense(10, "softmax")], input_size=64)
    net.save("mine.fnn")
    status, out, _ = run("predict", "mine.fnn", "digits", "--rows", 1)
    assert status == 0
    assert re.fullmatch(r"row 0: \d \(0\.\d{4}\), true label 2\n", out)
    fn.Network([fn.Dense(2)], input_size=64).save("values.fnn")
    assert re.fullmatch(
        r"row 0: \S+ \S+, true.*\n", run("predict", "values.fnn", "digits", "--rows", 1)[1]
    )


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


# -- wrong use -----------------------------------------------------------------------------------

WRONG = {
    "": "COMMAND",
    "trian digits": "unknown command 'trian' (did you mean 'train'?)",
    "--frob": "see: fastnn --help",
    "train": "DATA",
    "train digts": "did you mean 'digits'",
    "train digits extra": "extra",
    "train digits --epoch 3": "--epoch 3; see: fastnn train --help",
    "predict digits.fnn digits -x": "see: fastnn predict --help",
    "train digits --loss cross_entrpy": "did you mean 'cross_entropy'",
    "train digits --loss binary_cross_entropy": "goes with the output activations sigmoid",
    "train digits --loss mse": "give another --loss, or none for cross_entropy",
    "train flats.csv --target price --loss cross_entropy": "the target here is values",
    "train digits --epochs 0": "'0' is no whole number above 0",
    "train digits --epochs 1.5": "whole number",
    "train digits --batch-size x": "whole number",
    "train digits --hidden 12,": "128,64",
    "train digits --hidden 0": "got '0'; give the units of each layer, whole numbers above 0",
    "train digits --activation rleu": "did you mean 'relu'",
    "train digits --optimizer adma": "adma",
    "train digits --dropout 1": "below 1",
    "train digits --learning-rate nan": "learning_rate",
    "train digits --learning-rate -1": "at least 0",
    "train digits --seed -1": "seed",
    "train digits --seed x": "'x' is no whole number",
    "train digits --threads 0": "above 0",
    "train digits --backend gpu": "gpu",
    "train digits --dtype float16": "float16",
    "train digits --target price": "--target goes with tables",
    "train digits --task regression": "--task goes with tables",
    "train digits --data .": "mnist only",
    "train digits --output no/such/digits.fnn": "no folder 'no/such'",
    "train digits --output .": "no plain file",
    "train digits --output /dev/null": "no plain file",
    "train digits --output flats.csv": "no model file",
    "train mnist": "--data FOLDER",
    "train mnist --data nowhere": "no folder 'nowhere'",
    "train mnist --data .": "train-images",
    "train flats.csv": "--target COLUMN",
    "train flats.csv --target pric": "did you mean 'price'",
    "train flats.csv --target city --task regression": "'Lyon'",
    "train flats.csv --target price --output flats.csv": "read by this command",
    "train missing.csv --target a": "no file 'missing.csv'",
    "train notes.txt --target a": "'notes.txt' is no data set",
    "train folder.csv --target a": "is a folder",
    "train empty.csv --target a": "empty",
    "train torn.csv --target a": "line 3",
    "train tiny.csv --target b": "too few",
    "evaluate digits": "DATA",
    "evaluate missing.fnn digits": "there is no file 'missing.fnn'",
    "predict price.fnn missing.csv": "there is no file 'missing.csv'",
    "predict small.fnn rows.csv": 'net.metadata["encoder"] = encoder.to_json()',
    "evaluate flats.csv digits": "cannot be read",
    "evaluate . digits": "folder",
    "evaluate digits.fnn flats.csv": "trained on digits",
    "evaluate price.fnn digits": "trained on a table with the target 'price'",
    "evaluate price.fnn rows.csv": "no target 'price'",
    "evaluate digits.fnn mnist": "--data FOLDER",
    "evaluate digits.fnn mnist --data .": "trained on digits, not on mnist",
    "evaluate untrained.fnn digits": "never been trained",
    "predict digits.fnn": "DATA",
    "predict digits.fnn digit": "did you mean 'digits'",
    "predict digits.fnn digits --rows 0": "above 0",
    "predict digits.fnn digits --output a.csv": "tables only",
    "predict digits.fnn rows.csv": "trained on digits",
    "predict digits.fnn notes.txt": "IDX",
    "predict digits.fnn no/images": "no file 'no/images'",
    "predict digits.fnn labels.gz": "labels",
    "predict digits.fnn nothing.gz": "holds no pixels",
    "predict digits.fnn images.gz": "takes rows of 64 numbers, those of the data have 24",
    "predict price.fnn images.gz": "trained on a table",
    "predict price.fnn other.csv": "no column 'area'",
    "predict price.fnn words.csv": "'large'",
    "predict price.fnn header.csv": "no rows",
    "predict price.fnn flats.csv --output flats.csv": "read by this command",
    "predict price.fnn flats.csv --output price.fnn": "read by this command",
    "predict price.fnn flats.csv --output no/a.csv": "no folder",
    "predict small.fnn digits": "takes rows of 3 numbers, those of the data have 64",
    "show": "MODEL",
    "show notes.txt": "cannot be read",
    "info digits": "digits",
}


def test_an_empty_name_is_no_default(run):
    status, _, err = run("train", "digits", "--output", "")
    assert status == 2
    assert "no plain file" in err


@pytest.fixture
def wrong_files(models, mnist, tmp_path):
    """Put into the current folder all that the wrong commands name."""
    for name in ("digits.fnn", "price.fnn", "flats.csv"):
        (tmp_path / name).write_bytes((models / name).read_bytes())
    texts = {
        "notes.txt": "hello",
        "empty.csv": "",
        "torn.csv": "a,b\n1,2\n3\n",
        "tiny.csv": "a,b\n1,x\n2,y\n",
        "rows.csv": "area,city,kind\n40,Lyon,old\n",
        "other.csv": "x,y\n1,2\n",
        "words.csv": "area,city,kind\nlarge,Lyon,old\n",
        "header.csv": "area,city,kind\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.csv").mkdir()
    for name in ("images", "labels"):
        source = next(mnist.glob(f"t10k-{name}*"))
        (tmp_path / f"{name}.gz").write_bytes(source.read_bytes())
    write_idx(tmp_path / "nothing.gz", np.empty((0, 8, 8), np.uint8))
    fn.Network([fn.Dense(1)]).save(tmp_path / "untrained.fnn")
    fn.Network([fn.Dense(1)], input_size=3).save(tmp_path / "small.fnn")


@pytest.mark.parametrize("line", WRONG)
def test_wrong_use_gives_one_line_and_the_status_2_and_changes_nothing(
    run, wrong_files, tmp_path, line
):
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    status, out, err = run(*line.split())
    assert (status, out) == (2, "")
    assert err.startswith("fastnn: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert WRONG[line] in err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_without_polars_a_table_is_answered_with_the_command_that_installs_it(
    run, models, monkeypatch
):
    monkeypatch.setitem(sys.modules, "polars", None)
    for words in (("train", models / "flats.csv", "--target", "price"),) + tuple(
        (command, models / "price.fnn", models / "flats.csv") for command in ("evaluate", "predict")
    ):
        status, out, err = run(*words)
        assert (status, out) == (2, "")
        assert 'pip install "fastnn-core[table]"' in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "change", "answer"),
    [
        ("digits", {"class_names": ["a"]}, "1 class_names for 10 outputs"),
        ("digits", {"class_names": "abcdefghij"}, "must be a list of text"),
        ("digits", {"class_names": list(range(10))}, "must be a list of text"),
        ("digits", {"data": "letters"}, "data is 'letters'"),
        ("digits", {"data": ["digits"]}, "data is ['digits']"),
        ("price", {"encoder": None}, "encoder must be an object"),
        ("digits", {"data": "table"}, 'set net.metadata["encoder"] = encoder.to_json() (docs'),
        ("price", {"encoder": "kind"}, "the encoder is for a classification"),
        ("price", {"encoder": "fewer"}, "the encoder makes 4 inputs, the network takes 6"),
    ],
)
def test_metadata_that_make_no_sense_are_a_broken_model_file(run, models, name, change, answer):
    net = fn.Network.load(models / f"{name}.fnn")
    if change.get("encoder") == "kind":
        change = {"encoder": fn.Network.load(models / "kind.fnn").metadata["encoder"]}
    if change.get("encoder") == "fewer":
        encoder = net.metadata["encoder"]
        change = {"encoder": {**encoder, "columns": encoder["columns"][:2]}}
    net.metadata |= change
    net.save("odd.fnn")
    for command in (("show", "odd.fnn"), ("predict", "odd.fnn", "digits")):
        status, out, err = run(*command)
        assert (status, out) == (2, "")
        assert answer in err
        assert err.count("\n") == 1


def test_names_from_a_file_cannot_steer_the_terminal(run, models):
    net = fn.Network.load(models / "digits.fnn")
    net.metadata["class_names"] = ["\x1b[2J\r\nred\u202e"] * 10
    net.metadata["note"] = "\x1b]0;title\x07"
    net.save("odd.fnn")
    for command in (("show", "odd.fnn"), ("predict", "odd.fnn", "digits")):
        status, out, _ = run(*command)
        assert status == 0
        assert all(c.isprintable() or c == "\n" for c in out)


def test_a_table_and_a_model_of_python_are_answered_with_the_metadata_that_are_missing(run, models):
    net, table = fn.Network.load(models / "price.fnn"), models / "flats.csv"
    whole = {key: net.metadata[key] for key in ("data", "encoder")}
    needed = {"data": 'net.metadata["data"] = "table"', "encoder": 'net.metadata["encoder"] = enc'}
    for kept in ((), ("encoder",), ("data",), ("data", "encoder")):
        net.metadata = {key: whole[key] for key in kept}
        net.save("mine.fnn")
        status, _, err = run("predict", "mine.fnn", table)
        assert status == (0 if len(kept) == 2 else 2)
        assert err.count("\n") == (status > 0)
        for key, line in needed.items():
            assert (line in err) == (key not in kept)
        assert ("docs/data.md" in err) == (status > 0)


def test_metadata_too_large_for_a_file_are_refused_before_the_training(run, tmp_path):
    names = [f"{'x' * 3000}{i}" for i in range(200)]
    rows = (",".join(str(i * j % 7) for j in range(200)) for i in range(40))
    (tmp_path / "wide.csv").write_text("\n".join([",".join(names), *rows]) + "\n")
    status, out, err = run("train", "wide.csv", "--target", names[3])
    assert (status, out) == (2, "")
    assert "does not fit into a model file" in err
    assert not (tmp_path / "wide.fnn").exists()


# -- failures while running ----------------------------------------------------------------------


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


# -- the shell -----------------------------------------------------------------------------------


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


def test_a_file_name_that_is_no_text_is_no_obstacle(run, tmp_path):
    name = os.fsdecode(b"caf\xe9.fnn")
    assert run("train", "digits", *QUICK, "--output", name)[0] == 0
    assert os.path.exists(name)
    assert run("show", name)[0] == 0
