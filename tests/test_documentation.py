"""What people read is true: code runs, commands parse, links lead somewhere, examples work."""

import contextlib
import doctest
import importlib
import io
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn.activations import ALIASES, FORMULAS, SOFTMAX
from fastnn.backends import threads
from fastnn.cli import COMMANDS
from fastnn.cli.parser import build_parser
from fastnn.initializers import INITIALIZERS
from fastnn.layers import GATES
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(path):
    return path.name


def blocks(page):
    """Return the fenced blocks of a page: language and content."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def modules():
    """Return the names of all modules of the package that are Python."""
    found = pkgutil.walk_packages(fastnn.__path__, "fastnn.")
    names = [module.name for module in found if not module.name.endswith("__main__")]
    specs = [(name, importlib.util.find_spec(name)) for name in names]
    return ["fastnn", *(name for name, spec in specs if spec.origin.endswith(".py"))]


def test_there_is_something_to_read():
    assert {page.name for page in PAGES} == {
        *("README.md", "architecture.md", "benchmarks.md", "cuda.md", "data.md", "decisions.md"),
        *("model-files.md", "reference.md", "sklearn.md", "tabular.md", "vecmath.md"),
    }
    assert {example.stem for example in EXAMPLES} == {
        *("backward_by_hand", "custom_activation", "digits", "sine", "table"),
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    printed = None
    for language, text in blocks(page):
        if language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(text, str(page.name), "exec"), names)
            printed = output.getvalue()
        elif language == "text" and printed is not None:
            assert printed == text
            printed = None


def public_methods(kind):
    return {name for name in vars(kind) if not name.startswith("_")}


# The section of the reference, and the names that it must have. Where all its names in code must be
# of these, the second entry is True.
REFERENCE = {
    "Layers": (set(fastnn.layers.__all__) - {"GATES", "Layer", "check_layers"}, False),
    "Activations": ({*FORMULAS, *ALIASES, SOFTMAX}, True),
    "Losses": ({*LOSSES, *(kind.__name__ for kind in LOSSES.values())}, False),
    "Optimizers": ({*OPTIMIZERS, *(kind.__name__ for kind in OPTIMIZERS.values())}, False),
    "Schedules": (set(fastnn.schedules.__all__) - {"Schedule", "get"}, False),
    "Initializers": (set(INITIALIZERS), True),
    "Callbacks": (public_methods(fastnn.Callback) | public_methods(fastnn.Run), False),
    "Data": (set(fastnn.data.__all__), False),
    "Threads, backends and environment": (
        {*threads.VARIABLES, "FASTNN_ISA", "FASTNN_NO_NATIVE"},
        False,
    ),
    "Errors": (set(fastnn.errors.__all__) - {"unknown_name"}, False),
}


def sections():
    """Return the sections of the reference without their code blocks, by title."""
    page = FENCE.sub("", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"))
    parts = page.split("\n## ")[1:]
    return {title: text for title, _, text in (part.partition("\n") for part in parts)}


def words_in_code(text):
    """Return the names that begin the pieces of code in a text, less calls and modules."""
    pieces = re.findall(r"`(?:fn\.|fastnn\.|net\.)?([^`]+)`", text)
    return {re.match(r"[\w.]*", piece)[0] for piece in pieces}


@pytest.mark.parametrize("title", REFERENCE)
def test_the_reference_has_the_names_that_there_are(title):
    names, whole = REFERENCE[title]
    found = words_in_code(sections()[title])
    assert names - found == set()
    if whole:
        assert {name for name in found if name.split(".")[0] not in fastnn.__all__} <= names


def test_the_reference_names_everything_that_the_package_offers():
    assert set(fastnn.__all__) - words_in_code("\n".join(sections().values())) == set()
    assert re.findall(r'`"(\w*glu)"`', sections()["Layers"]) == list(GATES)


def test_the_reference_says_the_heads_of_each_loss_and_the_constant_of_each_activation():
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \| (.*?) \|", sections()["Losses"], re.MULTILINE)
    heads = {name: ", ".join(kind().heads) or "any" for name, kind in LOSSES.items()}
    assert {name: said for name, _, said in rows} == heads
    for name, call, _ in rows:
        assert eval(call, vars(fastnn)) == LOSSES[name]()
    table = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\d.]+) \|", sections()["Activations"], re.M)
    constants = {n: (f.constant, f.default) for n, f in FORMULAS.items() if f.constant}
    assert {name: (constant, float(default)) for name, constant, default in table} == constants


def test_the_reference_names_the_fields_of_a_run_and_no_method_that_is_gone():
    text = sections()["Callbacks"]
    for name in (name for name in vars(fastnn.Run(None)) if not name.startswith("_")):
        assert f"`{name}`" in text
    assert set(re.findall(r"`(on_\w+)`", text)) <= public_methods(fastnn.Callback)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_a_page_is_one_that_the_program_knows(page):
    parser = build_parser(tuple(COMMANDS))
    for language, text in blocks(page):
        if language not in ("sh", "console"):
            continue
        for line in text.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["fastnn"]:
                assert parser.parse_args(words[1:]).command == words[1]
            elif words[:1] == ["make"]:
                assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_names_is_there(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target
    for folder in ("fastnn", "src_c", "tests", "examples", "docs"):
        for target in re.findall(rf"`({folder}/[\w./-]+)`", text):
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_lines_of_a_page_have_at_most_a_hundred_columns(page):
    text = re.sub(r"^```text\n.*?^```$", "", page.read_text(encoding="utf-8"), flags=FENCE.flags)
    tables_aside = [line for line in text.splitlines() if not line.startswith("|")]
    assert [line for line in tables_aside if len(line) > 100] == []


@pytest.mark.parametrize("name", modules())
def test_the_examples_in_the_docstrings_of_a_module_are_true(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_an_example_runs_without_a_warning(example, tmp_path):
    result = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.count("\n") > 5
