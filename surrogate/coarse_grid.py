"""The same solver on a grid twice as coarse: what an operator corrects, and what it has to beat.

At half the cells a wavelength everything that a fine grid forgives shows, so each step is done as well as the coarse
grid allows. Errors of the coarse field in rough media (15 Hz, 1500 to 4500 m/s, a correlation length of 80 m) as each
was put in, measured:

    averages over 2 x 2 cells, order 8, fields interpolated as they are         0.078
    the compressibility low-passed exactly at the coarse grid's limit           0.069
    a margin of cells around the grid, for the interpolation to look at         0.059
    differences of order 12                                                     0.050

What is left is not in the shortest waves: half of its energy lies below 6 cycles a domain, three quarters below 9,
where the coarse grid resolves everything. It grows from 0.02 to 0.12 of the field as waves scatter again and again.
Smoother models have less of it (0.013 where nothing is shorter than 16 cells), homogeneous ones almost none.
"""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.errors import InputError
from data_gen.grid import Grid, TimeAxis
from data_gen.simulation import Simulation, substeps_for

ORDER = 12
MARGIN = 4  # cells on each side: as far as the interpolation looks


def coarse_simulation(simulation: Simulation) -> Simulation:
    """The same solver on cells and time steps twice as large, over the same time, with the margin around the area.

    Raises `InputError` if the grid's sides or the snapshot steps are odd, or the steps fewer than four apart; and for a
    free surface, which would be half a fine cell deeper: enough to make the field four times worse (measured).
    """
    if simulation.free_surface:
        raise InputError(
            "The coarse solver, which stands beside every surrogate, would have its free surface half a cell deeper. "
            "Train on data without: data.free_surface=false."
        )
    steps = simulation.snapshot_steps
    if any(step % 2 for step in steps) or (np.diff((0, *steps)) < 4).any():
        raise InputError(
            "The coarse encoding steps in 2 dt and looks half-way between snapshots: the snapshot steps must be even "
            f"and at least 4 apart, but are {steps}."
        )
    inner, time = simulation.grid.coarsened(), TimeAxis((simulation.time.nt + 1) // 2, 2 * simulation.time.dt)
    grid = Grid((inner.shape[0] + 2 * MARGIN, inner.shape[1] + 2 * MARGIN), inner.spacing)
    order = max(ORDER, simulation.order)
    return replace(
        simulation,
        grid=grid,
        time=time,
        order=order,
        substeps=max(simulation.substeps, substeps_for(grid, time, simulation.max_velocity, order)),
        widths=tuple(-(-width // 2) for width in simulation.widths),
        snapshot_steps=tuple(step // 2 for step in simulation.snapshot_steps),
        half_width=4,
    )


@cache
def _low_pass(cells: int) -> np.ndarray:
    """`(cells / 2, cells)`: the cosine series of a side, up to what half as many cells carry, at the coarse centres.

    Cosines, since the model goes on with its edge's value beyond its sides.
    """
    count = np.arange(cells // 2)
    fine = np.cos(np.pi * np.outer(np.arange(cells) + 0.5, count) / cells)
    coarse = np.cos(np.pi * np.outer(2 * np.arange(cells // 2) + 1, count) / cells)
    return coarse @ (fine / np.sum(fine**2, axis=0)).T


def coarsen(velocity: Float[Array, "nz nx"]) -> Float[Array, "mz mx"]:
    """The model on the coarse grid, margin included: at constant density its equivalent medium.

    That is the compressibility 1 / v^2, low-passed; it is kept within the model's own range.
    """
    compressibility = velocity**-2
    along_z, along_x = (jnp.asarray(_low_pass(n), velocity.dtype) for n in velocity.shape)
    filtered = along_z @ compressibility @ along_x.T
    kept = jnp.clip(filtered, jnp.min(compressibility), jnp.max(compressibility))
    return jnp.pad(kept, MARGIN, mode="edge") ** -0.5


def onto_coarse(points: Float[Array, "*n 2"], spacing: float) -> Float[Array, "*n 2"]:
    """Positions [m] from the fine grid's first centre as positions from the coarse one's. spacing [m]: the fine one."""
    # The first coarse centre within the area lies half a fine cell inside the first fine one.
    return points + (2 * MARGIN - 0.5) * spacing


def refine(fields: Float[Array, "n mz mx"]) -> Float[Array, "n nz nx"]:
    """Fields on the coarse grid, interpolated to the fine one; the margin is left out."""
    n, mz, mx = fields.shape
    fine = jax.image.resize(fields, (n, 2 * mz, 2 * mx), method="lanczos5")
    return fine[:, 2 * MARGIN : -2 * MARGIN, 2 * MARGIN : -2 * MARGIN]
