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
from fastnn.cli import COMMANDS
from fastnn.cli.parser import build_parser

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
        *("README.md", "architecture.md", "data.md", "decisions.md", "model-files.md"),
    }
    assert {example.stem for example in EXAMPLES} == {
        *("backward_by_hand", "digits", "sine", "table"),
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
