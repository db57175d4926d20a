"""Import the project's code from another checkout, also from one in which all modules lay flat in two folders."""

import importlib
import sys
from pathlib import Path

# The modules that the benchmarks import, with their names before the packages.
FLAT = {
    "data_gen.solver.problem.acquisition": "data_gen.acquisition",
    "data_gen.solver.problem.grid": "data_gen.grid",
    "data_gen.solver.problem.simulation": "data_gen.simulation",
    "data_gen.solver.simulator": "data_gen.solver",
    "surrogate.operators.fno": "surrogate.fno",
    "surrogate.operators.layers.recompute": "surrogate.execution",
    "surrogate.training.config": "surrogate.training_config",
    "surrogate.training.host_memory": "surrogate.host_memory",
    "surrogate.training.optimizer": "surrogate.optimiser",
    "surrogate.training.step": "surrogate.train_step",
}


def use_checkout(folder: Path) -> None:
    """Let this process import `data_gen` and `surrogate` from a checkout, by the names of today's modules."""
    # No other checkout may stay on the path: its `surrogate` would win over one without an __init__.py.
    others = [path for path in sys.path if not Path(path, "data_gen").is_dir()]
    sys.path[:] = [str(folder), *others]
    for package in ("data_gen", "surrogate"):
        module = importlib.import_module(package)
        module.__path__ = list(module.__path__)[:1]  # a folder without __init__.py has parts in every checkout
        if module.__path__ != [str(folder / package)]:
            raise SystemExit(f"{folder} is no checkout of this project: {package} is in {module.__path__} instead.")
    if (folder / "data_gen" / "solver.py").exists():
        sys.modules |= {name: importlib.import_module(flat) for name, flat in FLAT.items()}
