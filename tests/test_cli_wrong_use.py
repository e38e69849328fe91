"""Claims about wrong use of the command line: one line says what is wrong, and nothing changes."""

import sys

import numpy as np
import pytest
from command_line import write_idx

import fastnn as fn

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
