"""How far from the truth the functions of the core may be, and the driver that measures it.

Run as a script, this goes over all float32 numbers; it needs a C compiler, and nothing installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import compiled

SOURCES = compiled.ROOT / "tests/native"
ALL_OF_FLOAT32 = 2**32


class Bound(NamedTuple):
    """The most that a function may be off, in units in the last place, and why it is not 2.5."""

    float32: float
    float64: float
    why: str = ""


NOTHING_ROUNDED = "nothing is rounded"
LESS = "few roundings"
BY_THE_SCORE = "the rounded argument of the sigmoid, up to 104 (745), moves it by half as many ULP"
# Where a result is below 2**-119 (2**-1012), these are bounds in the ULP of that number: there
# they multiply a score with a sigmoid that has lost digits to underflow.
DENORMAL = "; denormal sigmoids are multiplied by the score"

BOUNDS = {
    "identity": Bound(0, 0, NOTHING_ROUNDED),
    "heaviside": Bound(0, 0, NOTHING_ROUNDED),
    "relu": Bound(0, 0, NOTHING_ROUNDED),
    "leaky_relu": Bound(0.5, 0.5, "one product"),
    "softsign": Bound(1.5, 1.5, LESS),
    "exp": Bound(1.25, 1.25, LESS),
    "expm1": Bound(1.25, 1.25, LESS),
    "log1p": Bound(1.25, 1.25, LESS),
    "sigmoid": Bound(2.5, 2.5),
    "tanh": Bound(2.5, 2.5),
    "gelu": Bound(2.5, 2.5),
    "softplus": Bound(2, 2, LESS),
    "elu": Bound(1.25, 1.25, LESS),
    "elu_0.7": Bound(2.5, 2.5),
    "selu": Bound(2.5, 2.5),
    "sine": Bound(2.5, 2.5),
    "silu": Bound(3.5, 3.5, "a product behind the sigmoid" + DENORMAL),
    "mish": Bound(5, 5, "three products and a quotient" + DENORMAL),
    "silu_1.7": Bound(96, 768, BY_THE_SCORE + DENORMAL),
    "gelu_tanh": Bound(256, 2500, BY_THE_SCORE + DENORMAL),
    "softmax": Bound(2.5, 2.5),
    "binary_cross_entropy_of_0": Bound(2, 2, LESS),
    "binary_cross_entropy_of_1": Bound(2, 2, LESS),
    # Below 2**-24 (1), in the ULP of that number.
    "cross_entropy": Bound(2, 2, "log(1 + e) in double is as far off as a double near 1"),
}


class Worst(NamedTuple):
    """The argument at which a function of a path is farthest from the truth."""

    function: str
    path: str
    ulp: float
    where: str


def build(folder, paths=tuple(compiled.PATHS), core=compiled.ROOT / "src_c"):
    """Compile the driver with the functions of some paths; return the program."""
    objects = []
    for path in paths:
        told = [f"-I{core}", f"-DISA={path}", f"-DVECTOR_BYTES={compiled.PATHS[path]}"]
        source = SOURCES / "ulp_kernels.c"
        objects.append(compiled.compile_source(source, path, folder / f"{path}.o", *told))
    program = folder / "ulp_driver"
    strict = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{compiled.ROOT / 'src_c'}"]
    strict += [f"-DWITH_{path}" for path in paths]
    driver = SOURCES / "ulp_driver.c"
    compiled.run(*strict, driver, *objects, "-o", program, "-pthread", "-lm")
    return program


def measure(program, dtype, samples, functions=(), threads=1):
    """Yield the worst of every function on every path that runs here."""
    command = [*compiled.program(program), dtype, str(samples), str(threads), *functions]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            function, path, ulp, where = line.rstrip("\n").split(" ", 3)
            yield Worst(function, path, float(ulp), where)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def main(functions):
    """Measure float32 on all its numbers; return 1 where a bound does not hold."""
    unknown = [name for name in functions if name not in BOUNDS]
    if unknown:
        raise SystemExit(f"there is no function {unknown[0]}; there are {', '.join(BOUNDS)}")
    if compiled.compiler() is None:
        raise SystemExit("a C compiler is needed: install gcc or clang, or name one in CC")
    folder = Path(tempfile.mkdtemp())
    over = 0
    try:
        program, threads = build(folder), len(os.sched_getaffinity(0))
        for worst in measure(program, "float32", ALL_OF_FLOAT32, functions, threads):
            bound = BOUNDS[worst.function].float32
            over += not worst.ulp <= bound
            verdict = "within" if worst.ulp <= bound else "BEYOND"
            print(
                f"{worst.function:26}{worst.path:7}{worst.ulp:9.4f} ULP, {verdict} {bound:g}:",
                worst.where,
                flush=True,
            )
    finally:
        shutil.rmtree(folder)
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
