"""The native half of the build; everything else stands in pyproject.toml."""

import glob
import os
import subprocess
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext

# One thin file per instruction set: each includes the same kernels and is compiled with its own flags.
ISA_FLAGS: dict[str, list[str]] = {
    "src_c/isa_base.c": [],
}

# No -ffast-math: it switches denormals off for the whole process that loads the library.
# No contraction: which products it fuses depends on the tile, and so would the bits.
# No -march: the wheel runs on any machine, faster code is chosen at run time.
COMPILE_FLAGS = [
    "-O3",
    "-std=c11",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-fPIC",
]
WARNING_FLAGS = ["-Wall", "-Wextra"]
if "-g" not in os.environ.get("CFLAGS", ""):
    COMPILE_FLAGS.append("-g0")  # CPython's own flags ask for debug symbols: most of the wheel

CYTHON_DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
}

WAY_OUT = "or set FASTNN_NO_NATIVE=1 to install without the native backend."


def require_toolchain(compiler_command):
    """Stop with one sentence unless the compiler builds what the core and the extension need."""
    try:
        import Cython  # noqa: F401
    except ImportError:
        raise SystemExit(
            f"fastnn: building the native backend needs Cython: run `pip install cython`, {WAY_OUT}"
        ) from None
    core = "#include <math.h>\n#include <pthread.h>\ntypedef float v4 __attribute__((vector_size(16)));"
    if not compiles(compiler_command, core):
        name = compiler_command[0] if compiler_command else "the configured compiler"
        raise SystemExit(
            f"fastnn: building the native backend needs a working C compiler, gcc or clang, and "
            f"{name} is not one here: install one (on Debian: apt install build-essential) or name "
            f"it in CC, {WAY_OUT}"
        )
    if not compiles(compiler_command, "#include <Python.h>", include_dirs()):
        raise SystemExit(
            f"fastnn: building the native backend needs the C headers of Python, and Python.h is "
            f"not in {' or '.join(include_dirs())}: install them (on Debian: apt install "
            f"python3-dev), {WAY_OUT}"
        )


def compiles(compiler_command, source, include_dirs=()):
    """Whether the command turns the source into a shared library."""
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text(source + "\nint fastnn_probe(void) { return 0; }\n")
        command = [*compiler_command, *COMPILE_FLAGS, *(f"-I{path}" for path in include_dirs)]
        command += [str(probe), "-shared", "-o", str(Path(folder, "probe.so"))]
        try:
            return subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            return False


def include_dirs():
    import sysconfig

    return list(dict.fromkeys(sysconfig.get_path(name) for name in ("include", "platinclude")))


class Build(build):
    # The core first: where there is no compiler, the sentence about it is then the first and the
    # last thing that the build says.
    sub_commands = sorted(build.sub_commands, key=lambda command: command[0] != "build_clib")


class BuildClib(build_clib):
    def build_libraries(self, libraries):
        # setuptools names the command only for compilers of the Unix kind, which are those we want.
        require_toolchain(getattr(self.compiler, "compiler_so", [])[:1])
        for name, _ in libraries:
            # `ar` adds to an archive that is there, and would keep the objects of deleted sources.
            Path(self.build_clib, f"lib{name}.a").unlink(missing_ok=True)
        super().build_libraries(libraries)


class BuildExt(build_ext):
    def run(self):
        self.run_command("build_clib")  # `build_ext --inplace` alone would not
        super().run()


def native():
    """Return the keywords of setup() for the static libraries and the extension that links them."""
    everything = sorted(glob.glob("src_c/**/*.*", recursive=True))
    isa_files = {path for path in everything if path.startswith("src_c/isa_")}
    common = [path for path in everything if path.endswith(".c") and path not in isa_files]
    if isa_files != set(ISA_FLAGS):
        raise SystemExit(f"setup.py: ISA_FLAGS and src_c differ: {isa_files ^ set(ISA_FLAGS)}")

    # Every library has other sources: the same file twice, with other flags, silently links one of
    # the two objects. A change of any header or .inc file rebuilds all.
    obj_deps = {"": [path for path in everything if not path.endswith(".c")] + ["setup.py"]}
    flags = COMPILE_FLAGS + WARNING_FLAGS
    libraries = [("fastnn_common", dict(sources=common, cflags=flags, obj_deps=obj_deps))]
    for path, isa_flags in ISA_FLAGS.items():
        name = f"fastnn_{Path(path).stem}"
        libraries.append((name, dict(sources=[path], cflags=flags + isa_flags, obj_deps=obj_deps)))

    core = Extension(
        "fastnn.backends.native._core",
        ["fastnn/backends/native/_core.pyx"],
        include_dirs=["src_c"],
        depends=[*everything, "setup.py"],
        extra_compile_args=COMPILE_FLAGS,
        extra_link_args=["-pthread", "-lm"],
    )
    core.cython_directives = CYTHON_DIRECTIVES
    core.cython_c_in_temp = True
    commands = {"build": Build, "build_clib": BuildClib, "build_ext": BuildExt}
    return {"libraries": libraries, "ext_modules": [core], "cmdclass": commands}


setup(**({} if os.environ.get("FASTNN_NO_NATIVE", "0") not in ("", "0") else native()))
