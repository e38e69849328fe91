"""The native half of the build; everything else stands in pyproject.toml."""

import glob
import importlib.util
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext

# One thin file for each instruction set: all include the same kernels, each has its own flags.
ISA_FLAGS: dict[str, list[str]] = {
    "src_c/isa_base.c": [],
    # Moved up to hide their latency, the loads of a tile take registers that its sums need.
    "src_c/isa_neon.c": ["-fno-schedule-insns"],
    "src_c/isa_avx2.c": ["-mavx2", "-mfma"],
    "src_c/isa_avx512.c": [
        *("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"),
        "-mprefer-vector-width=512",
    ],
}
ISA_FLAGS["src_c/isa_avx512_bf16.c"] = [*ISA_FLAGS["src_c/isa_avx512.c"], "-mavx512bf16"]

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


PROBE = """
#include <math.h>
#include <pthread.h>
typedef float float4 __attribute__((vector_size(16)));
int fastnn_probe(void) { return 0; }
"""


def require_toolchain(compiler):
    """Stop with one sentence unless the compiler builds what the core and the extension need."""
    if importlib.util.find_spec("Cython") is None:
        raise SystemExit(
            f"fastnn: building the native backend needs Cython: run `pip install cython`, {WAY_OUT}"
        )
    if not compiles(compiler, PROBE):
        raise SystemExit(
            f"fastnn: building the native backend needs a working C compiler, gcc or clang, and "
            f"{os.environ.get('CC') or ' '.join(compiler[:1]) or 'the one configured'} is none: "
            f"install one (on Debian: apt install build-essential) or name one in CC, {WAY_OUT}"
        )
    folders = list(dict.fromkeys(sysconfig.get_path(name) for name in ("include", "platinclude")))
    if not compiles(compiler, "#include <Python.h>" + PROBE, folders):
        raise SystemExit(
            f"fastnn: building the native backend needs the C headers of Python, and there is no "
            f"Python.h in {' or '.join(folders)}: install them (on Debian: apt install "
            f"python3-dev), {WAY_OUT}"
        )


def compiles(compiler, source, include_dirs=(), flags=()):
    """Whether the compiler turns the source into a shared library."""
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text(source)
        command = [*compiler, *COMPILE_FLAGS, *flags, *(f"-I{path}" for path in include_dirs)]
        command += [str(probe), "-shared", "-o", str(Path(folder, "probe.so"))]
        try:
            result = subprocess.run(command, capture_output=True)
        except OSError:
            return False
    # Of flags that only GCC has, Clang warns.
    return result.returncode == 0 and not any(flag.encode() in result.stderr for flag in flags)


class Build(build):
    # The core first: where there is no compiler, the sentence about it is then the first and the
    # last thing that the build says.
    sub_commands = sorted(build.sub_commands, key=lambda command: command[0] != "build_clib")


class BuildClib(build_clib):
    def build_libraries(self, libraries):
        # Only compilers with the command line of gcc, the kind that is wanted, have this attribute.
        compiler = getattr(self.compiler, "compiler_so", [])
        require_toolchain(compiler)
        # Old compilers do not know the last flag, and those of other processors know none: there
        # the files that they are for have nothing in them.
        flags = {flag for flags in ISA_FLAGS.values() for flag in flags}
        unknown = {flag for flag in flags if not compiles(compiler, PROBE, flags=[flag])}
        for name, library in libraries:
            library["cflags"] = [flag for flag in library["cflags"] if flag not in unknown]
            # `ar` adds to an archive that is there, and would keep the objects of deleted sources.
            Path(self.build_clib, f"lib{name}.a").unlink(missing_ok=True)
        super().build_libraries(libraries)


class BuildExt(build_ext):
    def run(self):
        self.run_command("build_clib")  # `build_ext --inplace` alone would not
        super().run()


def native():
    """Return the keywords of setup() for the static libraries and the extension that links them."""
    sources = set(glob.glob("src_c/*.c"))
    included = sorted(glob.glob("src_c/**/*.h", recursive=True))
    included += sorted(glob.glob("src_c/**/*.inc", recursive=True))
    isa_sources = {path for path in sources if path.startswith("src_c/isa_")}
    if isa_sources != set(ISA_FLAGS):
        raise SystemExit(f"setup.py: ISA_FLAGS and src_c differ: {isa_sources ^ set(ISA_FLAGS)}")

    # No source stands in two libraries: with two sets of flags, one object would silently be linked
    # in place of both. A change of any header or .inc file compiles all of it again.
    flags = COMPILE_FLAGS + WARNING_FLAGS
    shared = {"include_dirs": ["src_c"], "obj_deps": {"": [*included, "setup.py"]}}
    common = {"sources": sorted(sources - isa_sources), "cflags": flags, **shared}
    libraries = [("fastnn_common", common)]
    for path, isa_flags in ISA_FLAGS.items():
        isa = {"sources": [path], "cflags": flags + isa_flags, **shared}
        libraries.append((f"fastnn_{Path(path).stem}", isa))

    core = Extension(
        "fastnn.backends.native._core",
        ["fastnn/backends/native/_core.pyx"],
        include_dirs=["src_c"],
        # setuptools names the libraries once more after these. Both are needed: the linker reads
        # archives in order, and those of the instruction sets call the common one back.
        libraries=[name for name, _ in libraries],
        depends=[*sorted(sources), *included, "setup.py"],
        extra_compile_args=COMPILE_FLAGS,
        extra_link_args=["-pthread", "-lm"],
    )
    core.cython_directives = CYTHON_DIRECTIVES
    core.cython_c_in_temp = True
    commands = {"build": Build, "build_clib": BuildClib, "build_ext": BuildExt}
    return {"libraries": libraries, "ext_modules": [core], "cmdclass": commands}


setup(**({} if os.environ.get("FASTNN_NO_NATIVE", "0") not in ("", "0") else native()))
