"""Claims about `fastnn evaluate` and `fastnn predict`: what they give is what the network gives."""

import re

import numpy as np
import pytest
from command_line import FLATS, QUICK

import fastnn as fn
from fastnn.data import TableEncoder, load_digits, read_table


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
