"""Claims about what is installed, and about how it is built."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import fastnn

ROOT = Path(__file__).resolve().parents[1]
LITTER = shutil.ignore_patterns("*.so", "__pycache__")


def run(*command, **environment):
    """Run a command as a user without our variables would; return its status and all it said."""
    env = {name: value for name, value in os.environ.items() if name != "FASTNN_NO_NATIVE"}
    result = subprocess.run(
        [str(part) for part in command],
        env=env | {name: str(value) for name, value in environment.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return result.returncode, result.stdout


def run_python(code, **environment):
    """Run code in a fresh interpreter; return what it printed."""
    status, output = run(sys.executable, "-c", code, **environment)
    assert status == 0, output
    return output


def files_below(folder, *patterns):
    """Return the paths, from the root of the project, of the files that match a pattern."""
    return {
        path.relative_to(ROOT).as_posix()
        for pattern in patterns
        for path in (ROOT / folder).rglob(pattern)
    }


@pytest.fixture
def wheel():
    """Return the wheel under test."""
    if "FASTNN_WHEEL" not in os.environ:
        pytest.skip("FASTNN_WHEEL does not name the wheel (make test does it)")
    return Path(os.environ["FASTNN_WHEEL"])


@pytest.fixture
def source_tree(tmp_path):
    """Return a copy of what a build needs, so that nothing is left in the original."""
    tree = tmp_path / "source"
    for folder in ("fastnn", "src_c"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=LITTER)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    return tree


# What is installed.


def test_the_tests_run_against_the_installed_wheel(wheel):
    package = Path(fastnn.__file__).resolve().parent
    assert package != ROOT / "fastnn"
    assert package.parent.name == "site-packages"
    assert wheel.name.split("-")[1] == importlib.metadata.version("fastnn-core")


def test_the_version_is_that_of_the_distribution():
    assert fastnn.__version__ == importlib.metadata.version("fastnn-core")


def test_the_base_dependencies_are_numpy_and_tqdm():
    requirements = importlib.metadata.requires("fastnn-core")
    base = {line.split(">")[0].strip() for line in requirements if "extra ==" not in line}
    assert base == {"numpy", "tqdm"}


def test_the_command_is_installed():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="fastnn")
    assert callable(script.load())


def test_import_loads_nothing_heavy_that_numpy_does_not():
    loaded = json.loads(
        run_python(
            "import json, sys, numpy\n"
            "before = set(sys.modules)\n"
            "import fastnn\n"
            "print(json.dumps(sorted(set(sys.modules) - before)))"
        )
    )
    heavy = {"matplotlib", "mpi4py", "numba", "onnx", "pandas", "polars", "scipy", "sklearn"}
    heavy |= {"safetensors", "torch", "tqdm", "importlib.metadata"}
    assert heavy & {*loaded, *(name.partition(".")[0] for name in loaded)} == set()


def test_import_leaves_denormals_on():
    # A library linked with -ffast-math sets flush-to-zero and denormals-are-zero for its process.
    run_python(
        "import importlib.util, sys\n"
        "import fastnn, numpy\n"
        "if importlib.util.find_spec('fastnn.backends.native._core'):\n"
        "    import fastnn.backends.native._core\n"
        "assert sys.float_info.min / 2 > 0, 'results are flushed'\n"
        "assert numpy.nextafter(0.0, 1.0) * 1.0 > 0, 'arguments are flushed'\n"
        "smallest = numpy.nextafter(numpy.float32(0), numpy.float32(1))\n"
        "assert smallest * numpy.float32(1) > 0, 'single precision is flushed'\n"
    )


# What is distributed.


def test_the_wheel_holds_the_modules_the_data_and_the_compiled_core_and_nothing_else(wheel):
    expected = files_below("fastnn", "*.py", "*.pyi", "py.typed")
    expected |= files_below("fastnn/data", "*.npz", "*.md")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    compiled = {name for name in names if name.endswith(".so")}
    assert names - compiled == expected
    assert [name.split(".")[0] for name in compiled] == ["fastnn/backends/native/_core"]


def test_the_wheel_is_smaller_than_2_megabytes(wheel):
    assert wheel.stat().st_size < 2_000_000


def test_the_sdist_holds_all_sources_and_the_tests(wheel):
    (sdist,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = files_below("src_c", "*.c", "*.h", "*.inc")
    sources |= files_below("fastnn", "*.py", "*.pyx", "*.pxd", "*.pxi")
    sources |= files_below("tests", "*.py")
    assert sources <= names


# How it is built.


def test_without_a_compiler_the_install_stops_with_one_sentence(source_tree, tmp_path):
    pip = (sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps")
    status, output = run(*pip, "--target", tmp_path / "out", source_tree, CC="/nonexistent")
    assert status != 0
    assert "Traceback" not in output
    (sentence,) = (line.strip() for line in output.splitlines() if "fastnn:" in line)
    assert sentence.endswith("set FASTNN_NO_NATIVE=1 to install without the native backend.")
    assert "/nonexistent" in sentence
    said = [line.strip() for line in output.splitlines()]
    assert said[said.index(sentence) + 1] == "[end of output]"


def test_without_the_headers_of_python_the_build_stops_with_one_sentence(source_tree, tmp_path):
    code = (
        "import os, runpy, sys, sysconfig\n"
        "real = sysconfig.get_path\n"
        "sysconfig.get_path = lambda name: '/nowhere' if 'inc' in name else real(name)\n"
        f"os.chdir({str(source_tree)!r})\n"
        "sys.argv = ['setup.py', '--quiet', 'build_ext']\n"
        "runpy.run_path('setup.py', run_name='__main__')"
    )
    status, output = run(sys.executable, "-c", code)
    assert status != 0
    (sentence,) = output.strip().splitlines()
    assert "Python.h in /nowhere" in sentence
    assert "FASTNN_NO_NATIVE=1" in sentence


def test_without_the_native_backend_the_wheel_is_pure_and_works(source_tree, tmp_path):
    pip = (sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps")
    settings = {"CC": "/nonexistent", "FASTNN_NO_NATIVE": "1"}
    status, output = run(*pip, "--wheel-dir", tmp_path, source_tree, **settings)
    assert status == 0, output
    (pure,) = tmp_path.glob("*.whl")
    assert pure.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(pure) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
        archive.extractall(tmp_path / "site")
    answer = run_python(
        "import json, fastnn\n"
        "from fastnn import backends\n"
        "answer = [fastnn.__file__, backends.available(), backends.why_unavailable('native')]\n"
        "print(json.dumps(answer))",
        PYTHONPATH=tmp_path / "site",
    )
    file, available, reason = json.loads(answer)
    assert file.startswith(str(tmp_path))
    assert "reference" in available
    assert "native" not in available
    assert "FASTNN_NO_NATIVE unset" in reason
