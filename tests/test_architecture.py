"""The house has five floors: who may import whom, and what nobody does.

The syntax trees of the installed package are walked. Every rule is a function from modules to
sentences, and is tried on a little package that breaks it.
"""

import ast
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

# From the ground up: a floor, and the modules and packages (beside `fastnn.`) that live on it.
FLOORS = {
    "describe": (
        "activations checks configuration custom errors initializers layers losses metrics "
        "optimizers schedules"
    ),
    "lay out": "program",
    "run": "backends",
    "train": "callbacks progress training",
    "face": (
        "__init__ __main__ bench cli data distributed draw formats information inputs model "
        "network network_file sklearn summary warming"
    ),
}
LEVEL = {name: n for n, names in enumerate(FLOORS.values()) for name in names.split()}

# What all backends may share. Everything else in `backends` is a backend.
SHARED_BY_BACKENDS = {
    "__init__",
    "aligned",
    "base",
    "checked",
    "customs",
    "jit",
    "precision",
    "threads",
}

# Imported with the package. Any other package waits until somebody asks for it, in a function; only
# the file that exists for a package may have it at its head.
BASE_DEPENDENCIES = {"numpy", "tqdm"}
COMPILING = ("backends.jit", "backends.numba_cpu", "backends.cuda")
OWNERS = {"sklearn": ("sklearn",), "scipy": ("sklearn",), "numba": COMPILING, "llvmlite": COMPILING}

RUNS_CODE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}

LONGEST = 400


@dataclass(frozen=True)
class Import:
    """One import: what it names, where, and whether it happens when the file is imported."""

    target: str
    line: int
    at_once: bool
    for_types: bool


class Module:
    """A file of the package, by its dotted name without `fastnn.`; a package ends in `__init__`."""

    def __init__(self, name, text):
        self.name, self.lines, self.tree = name, len(text.splitlines()), ast.parse(text)
        self.first = name.split(".")[0]

    @property
    def level(self):
        return LEVEL.get(self.first)

    def imports(self, names):
        """Return the imports of modules of the package, resolved, then those of others."""
        own, others = [], []
        for node, at_once, for_types in _walk(self.tree):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                targets = [f"{base}.{alias.name}" for alias in node.names]
            else:
                continue
            for target in targets:
                there = Import(target, node.lineno, at_once, for_types)
                if target.split(".")[0] == "fastnn":
                    own.append(Import(_module(target, names), node.lineno, at_once, for_types))
                else:
                    others.append(there)
        return own, others

    def _base(self, node):
        if not node.level:
            return node.module
        parents = ["fastnn", *self.name.split(".")][: -node.level]
        return ".".join([*parents, node.module] if node.module else parents)


def _walk(tree, at_once=True, for_types=False):
    """Yield every node, whether it runs on import, and whether only a type checker sees it."""
    for node in ast.iter_child_nodes(tree):
        lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        yield node, at_once, for_types
        yield from _walk(node, at_once and not lazy, for_types or types)


def _module(target, names):
    """Return the module that an import reaches: the longest with which its name begins."""
    parts = target.split(".")[1:]
    for n in range(len(parts), 0, -1):
        for name in (".".join(parts[:n]), ".".join([*parts[:n], "__init__"])):
            if name in names:
                return name
    return "__init__"


# -- the rules -----------------------------------------------------------------------------------


def every_module_has_a_floor(modules, names):
    for module in modules:
        if module.level is None:
            yield f"{module.name} is on no floor: enter {module.first!r} into FLOORS of this test"


def imports_go_down(modules, names):
    for module in modules:
        for there in module.imports(names)[0]:
            level = LEVEL.get(there.target.split(".")[0])
            if level is not None and module.level is not None and level > module.level:
                yield f"{module.name}:{there.line} imports {there.target} from a floor above"


def imports_of_a_floor_have_no_circles(modules, names):
    graph = {
        m.name: [there.target for there in m.imports(names)[0] if not there.for_types]
        for m in modules
    }
    for name in graph:
        seen, waiting = set(), list(graph[name])
        while waiting:
            there = waiting.pop()
            if there == name:
                yield f"{name} imports itself, by way of {', '.join(sorted(seen)) or 'itself'}"
                break
            if there not in seen:
                seen.add(there)
                waiting += graph.get(there, [])


def no_backend_imports_another(modules, names):
    for module in modules:
        mine = _backend(module.name)
        for there in module.imports(names)[0] if module.first == "backends" else ():
            other = _backend(there.target)
            if other and other != mine:
                yield f"{module.name}:{there.line} imports the backend {other}"


def _backend(name):
    parts = name.split(".")
    inside = parts[0] == "backends" and parts[1] not in SHARED_BY_BACKENDS
    return parts[1] if inside else None


def face_and_train_do_not_ask_for_the_backend(modules, names):
    for module in modules:
        if module.level is not None and module.level > LEVEL["backends"]:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Compare) and _asks_for_a_backend(node):
                    yield f"{module.name}:{node.lineno} asks {ast.unparse(node)}"


def _asks_for_a_backend(node):
    sides = [node.left, *node.comparators]
    named = any("backend" in ast.unparse(side).lower() for side in sides if not _is_text(side))
    return named and any(_is_text(side) for side in sides)


def _is_text(node):
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return any(_is_text(element) for element in node.elts)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def nothing_runs_code_from_data(modules, names):
    for module in modules:
        for there in module.imports(names)[1]:
            if there.target.split(".")[0] in RUNS_CODE:
                yield f"{module.name}:{there.line} imports {there.target}"
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id in RUNS_TEXT:
                yield f"{module.name}:{node.lineno} calls {node.func.id}"
            if any(k.arg == "allow_pickle" and _true(k.value) for k in node.keywords):
                yield f"{module.name}:{node.lineno} allows pickles"


def _true(node):
    return not (isinstance(node, ast.Constant) and node.value is False)


def optional_packages_wait(modules, names):
    for module in modules:
        for there in module.imports(names)[1]:
            package = there.target.split(".")[0]
            ours = package in BASE_DEPENDENCIES or package in sys.stdlib_module_names
            owns = any(f"{module.name}.".startswith(f"{o}.") for o in OWNERS.get(package, ()))
            if there.at_once and not (there.for_types or ours or owns):
                yield f"{module.name}:{there.line} imports {package} before anybody asks for it"


def files_stay_short(modules, names):
    for module in modules:
        if module.lines > LONGEST:
            yield f"{module.name} has {module.lines} lines, more than {LONGEST}: make it two"


RULES = (
    every_module_has_a_floor,
    imports_go_down,
    imports_of_a_floor_have_no_circles,
    no_backend_imports_another,
    face_and_train_do_not_ask_for_the_backend,
    nothing_runs_code_from_data,
    optional_packages_wait,
    files_stay_short,
)


# -- the package ---------------------------------------------------------------------------------


def dotted(path):
    return ".".join(path.with_suffix("").parts)


@pytest.fixture(scope="module")
def package():
    folder = Path(importlib.util.find_spec("fastnn").submodule_search_locations[0])
    modules = [
        Module(dotted(path.relative_to(folder)), path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.py"))
    ]
    compiled = {
        dotted(path.relative_to(folder).with_name(path.name.split(".")[0]))
        for pattern in ("*.pyi", "*.so", "*.pyd")  # the first is there without a compiler too
        for path in folder.rglob(pattern)
    }
    return modules, {m.name for m in modules} | compiled


def test_the_package_is_there(package):
    assert {"network", "program.kernels", "backends.reference.__init__"} <= package[1]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_every_rule(package, rule):
    assert list(rule(*package)) == []


# -- the rules themselves ------------------------------------------------------------------------

# A little package that keeps all rules.
SOUND = {
    "__init__": "from fastnn.network import Network",
    "network": "from fastnn import training\nfrom fastnn.backends import get",
    "training": "import numpy as np\nfrom .layers import Dense",
    "backends.__init__": "from fastnn.backends.base import Backend\n'native' == name",
    "backends.base": "from fastnn.program import Program",
    "backends.native.__init__": "from ..base import Backend\nfrom fastnn.backends.native import k",
    "backends.native.k": "import re\nre.compile('x')",
    "backends.cuda.__init__": "import numba",
    "program.__init__": "from fastnn.layers import Dense",
    "layers": "if TYPE_CHECKING:\n    from fastnn.losses import Loss",
    "losses": "from fastnn.layers import Dense\ndef f():\n    import polars",
    "sklearn": "from sklearn.base import BaseEstimator",
}

BROKEN = [
    (every_module_has_a_floor, "cellar", ""),
    (every_module_has_a_floor, "cellar.__init__", ""),
    (imports_go_down, "layers", "from fastnn.program import Program"),
    (imports_go_down, "layers", "from fastnn import backends"),
    (imports_go_down, "layers", "from . import Network"),
    (imports_go_down, "program.__init__", "from ..training import fit"),
    (imports_go_down, "backends.base", "def f():\n    import fastnn.network"),
    (imports_go_down, "training", "if TYPE_CHECKING:\n    from fastnn.network import Network"),
    (imports_go_down, "losses", "from fastnn import Network"),
    (imports_of_a_floor_have_no_circles, "layers", "from fastnn.losses import Loss"),
    (imports_of_a_floor_have_no_circles, "layers", "def f():\n    from fastnn import losses"),
    (imports_of_a_floor_have_no_circles, "network", "import fastnn"),
    (no_backend_imports_another, "backends.cuda.__init__", "from fastnn.backends import native"),
    (no_backend_imports_another, "backends.base", "from fastnn.backends.native.k import dot"),
    (no_backend_imports_another, "backends.native.k", "def f():\n    from ..cuda import g"),
    (face_and_train_do_not_ask_for_the_backend, "network", "if backend == 'cuda': pass"),
    (face_and_train_do_not_ask_for_the_backend, "training", "a = run.backend.name in ('x', 'y')"),
    (face_and_train_do_not_ask_for_the_backend, "network", "'native' != self._backend"),
    (nothing_runs_code_from_data, "network", "def f():\n    import pickle"),
    (nothing_runs_code_from_data, "layers", "from marshal import loads"),
    (nothing_runs_code_from_data, "layers", "eval('1')"),
    (nothing_runs_code_from_data, "training", "def f():\n    exec(text)"),
    (nothing_runs_code_from_data, "network", "np.load(path, allow_pickle=told)"),
    (optional_packages_wait, "network", "import sklearn"),
    (optional_packages_wait, "training", "try:\n    import numba\nexcept ImportError: pass"),
    (optional_packages_wait, "backends.native.k", "from numba import njit"),
    (optional_packages_wait, "losses", "class A:\n    import polars"),
    (files_stay_short, "layers", "\n" * 451),
]


def sources(changed):
    told = {**SOUND, **changed}
    return [Module(name, text) for name, text in told.items()], set(told)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_sound_package_keeps_every_rule(rule):
    assert list(rule(*sources({}))) == []


@pytest.mark.parametrize(("rule", "name", "text"), BROKEN)
def test_a_package_that_breaks_a_rule_is_found(rule, name, text):
    assert list(rule(*sources({name: text})))


def test_every_rule_is_tried():
    assert {rule for rule, _, _ in BROKEN} == set(RULES)
