"""What the tests of the command line share: a table, trained models, and ways to run a command.

`conftest` loads this file as a plugin, so that its fixtures are there by name.
"""

import gzip
import subprocess
import sys

import numpy as np
import pytest

from fastnn.cli import main

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


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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
