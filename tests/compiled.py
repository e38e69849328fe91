"""Compiles C as setup.py does: the same compiler, the same flags, one path of the core or another.

Only the standard library and the checkout are needed, so that make can run what imports this.
"""

import ast
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Bytes of the vector of each path, the best first.
PATHS = {
    "x86_64": {"avx512": 64, "avx2": 32, "base": 16},
    "aarch64": {"neon": 16},
    "arm64": {"neon": 16},
}.get(platform.machine(), {"base": 16})


def _from_setup(name):
    """Return a constant of setup.py, which cannot be imported without building something."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return eval(compile(ast.Expression(node.value), "setup.py", "eval"))
    raise LookupError(f"setup.py has no {name}")


def flags(path):
    """Return the flags with which setup.py compiles a path."""
    return [*_from_setup("COMPILE_FLAGS"), *_from_setup("ISA_FLAGS")[f"src_c/isa_{path}.c"]]


def cross(path):
    """Return what the names of the tools for a path begin with; ARM has some on other machines."""
    return "aarch64-linux-gnu-" if path == "neon" and path not in PATHS else ""


def compiler(path=None):
    """Return the command of the C compiler, for a path if named, or None where there is none."""
    command = shlex.split(cross(path) and cross(path) + "gcc" or os.environ.get("CC") or "cc")
    return command if shutil.which(command[0]) else None


def run(*arguments, path=None):
    """Run the compiler."""
    command = [*compiler(path), *(str(argument) for argument in arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{shlex.join(command)}\n{result.stderr[-3000:]}")


def compile_source(source, path, target, *more):
    """Compile one file into an object, as setup.py compiles the path."""
    run(*flags(path), *more, f"-I{ROOT / 'src_c'}", "-c", source, "-o", target, path=path)
    return target


def program(path):
    """Return the command that runs a program; EMULATOR runs those of another processor."""
    return [*shlex.split(os.environ.get("EMULATOR", "")), str(path)]
