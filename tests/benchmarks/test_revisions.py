"""The comparison of two revisions: the table of module names covers what its workers import."""

import ast

import pytest

from benchmarks.checkouts import FLAT
from benchmarks.revisions import QUESTIONS
from benchmarks.worker import ROOT


@pytest.mark.parametrize("module", QUESTIONS)
def test_every_imported_module_has_its_name_before_the_packages(module):
    tree = ast.parse((ROOT / "benchmarks" / "peers" / f"{module}.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert {name for name in imported if name.startswith(("data_gen", "surrogate"))} <= FLAT.keys()
