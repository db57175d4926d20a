"""Imports go one way: the map of the code, as a list of packages from low to high, and no import against it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers import ROOT

# A package stands before its own modules when it is imported by them, behind them when it exports theirs.
RANKS = (
    "data_gen.common",
    "data_gen.solver.numerics",
    "data_gen.solver.problem",
    "data_gen.solver.engines",
    "data_gen.solver.simulator",
    "data_gen.solver",
    "data_gen.solver.experimental",
    "data_gen.velocity.base",
    "data_gen.velocity.families",
    "data_gen.velocity",
    "data_gen.dataset",
    "data_gen.commands",
    "data_gen",
    "surrogate.figures",
    "surrogate.protocols",
    "surrogate.schemas",
    "surrogate.devices",
    "surrogate.metrics",
    "surrogate.operators.layers",
    "surrogate.operators",
    "surrogate.encodings",
    "surrogate.models",
    "surrogate.tasks",
    "surrogate.losses",
    "surrogate.training",
    "surrogate.inversion",
    "surrogate.config",
    "surrogate.report",
    "surrogate.runs",
    "surrogate.play",
    "surrogate.commands",
    "surrogate",
)
# A `__main__` only starts a command.
MODULES = sorted(
    file for package in ("data_gen", "surrogate") for file in (ROOT / package).rglob("*.py") if file.stem != "__main__"
)


def dotted(file: Path) -> str:
    """The module of a file."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(file: Path) -> set[str]:
    """Every module of ours that a file imports when it is imported itself."""
    names = {dotted(module) for module in MODULES}
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # A name is a module of the package, or something that the package defines.
            members = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {member if member in names else node.module for member in members}
    return found & names


def rank(module: str) -> int:
    """The place of the longest package in `RANKS` that holds a module."""
    return max((len(package), place) for place, package in enumerate(RANKS) if f"{module}.".startswith(f"{package}."))[
        1
    ]


@pytest.mark.parametrize("file", MODULES, ids=dotted)
def test_no_import_goes_up(file):
    upward = [other for other in imported(file) if rank(other) > rank(dotted(file))]
    assert not upward, f"{dotted(file)} imports {', '.join(upward)}, which stand above it in the map of the code."


def test_no_import_goes_in_a_circle():
    """`TopologicalSorter` raises an error that names the modules of a circle."""
    TopologicalSorter({dotted(file): imported(file) - {dotted(file)} for file in MODULES}).prepare()
