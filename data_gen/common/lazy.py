"""Export names of submodules from a package without importing the submodules (PEP 562).

A package lists the home of every public name. The first use of a name imports that one module, so that a person who
needs the solver alone does not wait for the libraries of data sets and of training.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(
    package: str, homes: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package's `__all__`, `__getattr__` and `__dir__` of the homes of its public names.

    Args:
        package: Name of the package, its `__name__`.
        homes: Module that defines each public name.

    Returns:
        The three objects, in that order.
    """
    module = sys.modules[package]

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(module, name, value)  # the next use finds the name without this function
        return value

    return ["__version__", *homes], load, lambda: sorted({*vars(module), *homes})
