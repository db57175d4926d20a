"""Resolution transfer: a run's surrogate on another grid of the same domain.

An operator knows its domain by cycles and fractions of it. Its sides are n h, n cells of h metres: the period of the
Fourier basis. Positions count from the first cell centre on every grid, so cell i of one grid and cell 2 i of a grid
twice as fine over the same sides are at the same place, and see the same Fourier phases.

What the operator sees must mean the same: the source map keeps the run's radius in metres; the background's velocity is
in metres per second, sources are normalised by the cell's area (solver.py) and statistics are per channel in any case.
The coarse encoding alone changes its meaning: its solver works on half the cells of whichever grid, so that on a finer
one the operator sees, and corrects, smaller errors than it was trained for.

What is left is of first order in the cells, and vanishes on a periodic box: positions and padding jump at the domain's
edge, which a sum over cells integrates to half a cell; positions run from -1 to 1 between the first and the last
centre, of which the last is half a cell further out on a grid twice as fine; padding is rounded to cells. Filters of
3x3 cells, and the coarser levels of a U-NO, half of whichever grid, do not mean the same at all: `GridWarning`.
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from flax import nnx

from data_gen.common.errors import InputError
from data_gen.common.files import differences
from data_gen.dataset.config import DataConfig
from surrogate.config import TrainConfig
from surrogate.operators.base import GridOperator
from surrogate.operators.u_shape import FourierResampling

# How the waves are computed and where their errors are read off, not which waves they are.
NUMERICS = {"nz", "nx", "spacing", "nt", "dt", "order", "substeps", "absorbing_width", "receiver_every", "frequencies"}


class GridWarning(UserWarning):
    """A surrogate is used on a grid on which its operator does not mean quite the same."""


def waves_of(config: DataConfig) -> dict[str, Any]:
    """What decides which waves a given model and source have, whatever they are computed with."""
    # Of the families, the largest velocity alone decides the simulation: it sets the absorbing layers.
    largest = {"the families' largest velocity": config.create().simulation.max_velocity}
    return {n: v for n, v in config.physics().items() if n not in NUMERICS | {"families"}} | largest


def same_grid(ours: DataConfig, theirs: DataConfig) -> bool:
    """Whether two data sets have the same cells."""
    return (ours.nz, ours.nx, ours.spacing) == (theirs.nz, theirs.nx, theirs.spacing)


def check_same_domain(run: TrainConfig, data: DataConfig) -> None:
    """Raise `InputError` if the grid of `data` is not one of the same waves over the same domain as the run's."""
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
    """The config of the run's surrogate on the grid of `data`. Raises `InputError` where there is none."""
    if same_grid(run.data, data):
        return run
    check_same_domain(run, data)
    return replace(run, data=data, encoding=run.encoding.on_spacing(run.data.spacing, data.spacing))


def warn_of_cells(operator: nnx.Module, run: TrainConfig, data: DataConfig) -> None:
    """Warn with `GridWarning` if the operator of a run means something else on the grid of `data` than on its own."""
    ours, theirs = run.data, data
    if same_grid(ours, theirs):
        return
    modules = [module for _, module in nnx.iter_modules(operator)]
    reasons = []
    cover = [(c.nz * c.spacing, c.nx * c.spacing) for c in (ours, theirs)]
    if not np.allclose(*cover, rtol=1e-6):
        reasons.append("its domain has other sides, {:g} x {:g} m and not {:g} x {:g} m".format(*cover[1], *cover[0]))
    if (reason := run.encoding.grid_dependence()) is not None:
        reasons.append(reason)
    if any(isinstance(module, nnx.Conv) for module in modules):
        reasons.append(
            "its 3x3 filters (model.local, model.products, the body of a U-Net or U-FNO) see cells, not metres"
        )
    if any(isinstance(module, FourierResampling) for module in modules):
        reasons.append("the coarser levels of a U-NO carry the waves of half a grid, whichever it is")
    paddings = {module.padding for module in modules if isinstance(module, GridOperator)}
    sides = (ours.nz, theirs.nz), (ours.nx, theirs.nx)
    if any(round(padding * n) * m != round(padding * m) * n for padding in paddings for n, m in sides):
        reasons.append("its padding, rounded to cells, is another fraction of the domain")
    if reasons:
        warnings.warn(
            f"The operator was trained on {ours.nz} x {ours.nx} cells of {ours.spacing:g} m and is used on "
            f"{theirs.nz} x {theirs.nx} of {theirs.spacing:g} m, where it does not mean the same: "
            f"{', and '.join(reasons)}. Its errors there may be larger. A spectral operator with model.local=false, "
            "model.products=0 and a padding of whole cells on both grids transfers, over the same sides and with "
            "encoding=source_map or background.",
            GridWarning,
            stacklevel=3,
        )
