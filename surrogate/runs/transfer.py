"""Use the surrogate of a run on another grid of the same domain (resolution transfer).

An operator knows its domain by cycles and fractions of it. The sides of the domain are n h, for n cells of h meters,
which is the period of the Fourier basis. Positions count from the first cell center on every grid. Cell i of one grid
and cell 2 i of a grid twice as fine over the same sides are thus at the same place, and have the same Fourier phases.

The operator's input must mean the same on both grids. The source map keeps the run's radius in meters, and the coarse
solver its cells, so that it has the errors that the operator was trained for. The background's velocity is in m/s,
sources are normalized by the area of a cell (simulator.py), and statistics are per channel, so these need no change.

The remaining difference is of first order in the cells, and vanishes on a periodic box. Positions and padding jump at
the edge of the domain, and a sum over cells integrates such a jump to half a cell. Positions run from -1 to 1 between
the first and the last center, and the last center is half a cell further out on a grid twice as fine. Padding is
rounded to cells. Filters of 3x3 cells do not mean the same at all, nor do the coarser levels of a U-NO, which have half
the cells of either grid; these are reported with a `GridWarning`.
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from flax import nnx

from data_gen.common.errors import InputError
from data_gen.common.files import differences
from data_gen.dataset.config import SOLVER, DataConfig
from surrogate.config import TrainConfig
from surrogate.operators.base import GridOperator
from surrogate.operators.u_shape import FourierResampling

# Settings that decide how the waves are computed and where errors are taken, but not which waves they are.
NUMERICS = {"nz", "nx", "spacing", "nt", "dt", "receiver_every", "frequencies", *SOLVER}


class GridWarning(UserWarning):
    """Warn that a surrogate is used on a grid on which its operator does not mean quite the same."""


def waves_of(config: DataConfig) -> dict[str, Any]:
    """Select the settings that decide which waves a given model and source have, whatever they are computed with.

    Args:
        config: Config of a data set.

    Returns:
        Settings by name.
    """
    # Velocity families decide the simulation by their largest velocity only, which sets the absorbing layers. Files
    # were not simulated here.
    largest = {"the families' largest velocity": config.create().simulation.max_velocity} if config.families else {}
    return {n: v for n, v in config.physics().items() if n not in NUMERICS | {"families"}} | largest


def same_grid(ours: DataConfig, theirs: DataConfig) -> bool:
    """Find out whether two data sets have the same cells.

    Args:
        ours: Config of one data set.
        theirs: Config of the other.

    Returns:
        Whether the numbers of cells and their size are the same.
    """
    return (ours.nz, ours.nx, ours.spacing) == (theirs.nz, theirs.nx, theirs.spacing)


def check_same_domain(run: TrainConfig, data: DataConfig) -> None:
    """Check that a data set has the same waves over the same domain as a run's.

    Args:
        run: Config of the run.
        data: Config of the data set.

    Raises:
        InputError: If the domain or the waves differ, or if surrogates of the run's task cannot change grids.
    """
    if not run.task.create(run.data.create()).other_grids:
        raise InputError(
            f"A surrogate of the task {run.task.name} cannot be used on another grid so far, but {data.path} has "
            f"another one than {run.run}. Use data on the grid of the run."
        )
    ours, theirs = ((c.nz * c.spacing, c.nx * c.spacing) for c in (run.data, data))
    cell = max(run.data.spacing, data.spacing)
    if any(abs(a - b) > 1.001 * cell for a, b in zip(ours, theirs, strict=True)):
        raise InputError(
            f"The data at {data.path} cover {theirs[0]:g} x {theirs[1]:g} m, but the run's {ours[0]:g} x "
            f"{ours[1]:g} m: an operator knows positions and wavenumbers by its domain, so on another one it would be "
            "wrong. Generate data on a grid of the same sides, nz * spacing by nx * spacing, within one cell of "
            f"{cell:g} m."
        )
    ours, theirs = waves_of(run.data), waves_of(data)
    if ours != theirs:
        raise InputError(
            f"The data at {data.path} are on another grid than the run, which it can be asked about, but of other "
            f"waves ({differences(ours, theirs)}), which it cannot. Generate data that differ in the grid, the time "
            "step, the solver's order and layers, the families, the sources or the seed only."
        )


def on_grid_of(run: TrainConfig, data: DataConfig) -> TrainConfig:
    """Adapt the config of a run to the grid of a data set.

    Args:
        run: Config of the run.
        data: Config of the data set.

    Returns:
        Config of the run's surrogate on that grid.

    Raises:
        InputError: Where `check_same_domain` does.
    """
    if same_grid(run.data, data):
        return run
    check_same_domain(run, data)
    return replace(run, data=data, encoding=run.encoding.on_spacing(run.data.spacing, data.spacing))


def warn_of_cells(operator: nnx.Module, run: TrainConfig, data: DataConfig) -> None:
    """Warn with `GridWarning` if the operator of a run means something else on another grid than on its own.

    Args:
        operator: Operator of the run.
        run: Config of the run.
        data: Config of the data set on the other grid.
    """
    ours, theirs = run.data, data
    if same_grid(ours, theirs):
        return
    modules = [module for _, module in nnx.iter_modules(operator)]
    reasons = []
    cover = [(c.nz * c.spacing, c.nx * c.spacing) for c in (ours, theirs)]
    if not np.allclose(*cover, rtol=1e-6):
        reasons.append("its domain has other sides, {:g} x {:g} m and not {:g} x {:g} m".format(*cover[1], *cover[0]))
    if any(isinstance(module, nnx.Conv) for module in modules):
        reasons.append(
            "its 3x3 filters (model.local, model.products, the body of a U-Net or U-FNO) see cells, not meters"
        )
    if any(isinstance(module, FourierResampling) for module in modules):
        reasons.append("the coarser levels of a U-NO carry the waves of half a grid, whichever it is")
    if any(isinstance(module, GridOperator) and module.patch > 1 for module in modules):
        reasons.append("the blocks that it folds (model.patch) have a side in cells, not in meters")
    paddings = {module.padding for module in modules if isinstance(module, GridOperator)}
    sides = (ours.nz, theirs.nz), (ours.nx, theirs.nx)
    if any(round(padding * n) * m != round(padding * m) * n for padding in paddings for n, m in sides):
        reasons.append("its padding, rounded to cells, is another fraction of the domain")
    if reasons:
        warnings.warn(
            f"The operator was trained on {ours.nz} x {ours.nx} cells of {ours.spacing:g} m and is used on "
            f"{theirs.nz} x {theirs.nx} of {theirs.spacing:g} m, where it does not mean the same: "
            f"{', and '.join(reasons)}. Its errors there may be larger. A spectral operator with model.local=false, "
            "model.products=0, model.patch=1 and a padding of whole cells on both grids transfers, over the same "
            "sides.",
            GridWarning,
            stacklevel=3,
        )
