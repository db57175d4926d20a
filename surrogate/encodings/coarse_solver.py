"""Run the same solver on a grid twice as coarse: an operator corrects its field, and has to beat it.

At half the cells a wavelength everything that a fine grid forgives shows, so each step is done as well as the coarse
grid allows. Errors of the coarse field in rough media (15 Hz, 1500 to 4500 m/s, a correlation length of 80 m) as each
was put in, measured:

    averages over 2 x 2 cells, order 8, fields interpolated as they are         0.078
    the compressibility low-passed exactly at the coarse grid's limit           0.069
    a margin of cells around the grid, for the interpolation to look at         0.059
    differences of order 12                                                     0.050
    the model continued before it is low-passed, and not after                  0.036
    what is finer than the cells, by the coupling of subgrid.py                 0.028

Galerkin's system without the compact form of subgrid.py is at about 0.02, at several times the cost. The remaining
error grows with time, from 0.016 of the field to 0.058, as waves scatter again and again.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.numerics.coarse_medium import CoarseMedium, coarse_medium
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation, substeps_for
from data_gen.solver.simulator import Records, simulate

ORDER = 12
MARGIN = 4  # cells on each side: as far as the interpolation looks


def coarse_simulation(simulation: Simulation) -> Simulation:
    """Describe the same solver on cells and time steps twice as large, over the same time, with a margin around.

    Args:
        simulation: Simulation on the fine grid.

    Returns:
        Simulation on the coarse grid, margin included.

    Raises:
        InputError: If the sides of the grid or the snapshot steps are odd, or the steps fewer than four apart; or for
            a free surface, which would be half a fine cell deeper: enough to make the field four times worse
            (measured).
    """
    if simulation.free_surface:
        raise InputError(
            "The coarse solver would have its free surface half a cell deeper: it needs data without, "
            "data.free_surface=false."
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
        # 5 % for the coupling, in which the worst media were stable (tests/solver/test_subgrid.py).
        substeps=max(simulation.substeps, substeps_for(grid, time, 1.05 * simulation.max_velocity, order)),
        widths=tuple(-(-width // 2) for width in simulation.widths),
        snapshot_steps=tuple(step // 2 for step in simulation.snapshot_steps),
        half_width=4,
    )


def lacks_coarse_grid(simulation: Simulation) -> str:
    """Say why a simulation has no coarse solver.

    Args:
        simulation: Simulation on the fine grid.

    Returns:
        The reason and a remedy; empty if it has one.
    """
    try:
        coarse_simulation(simulation)
    except InputError as error:
        return str(error)
    return ""


def refuse_coarse(reason: str) -> None:
    """Refuse the coarse encoding for data that the coarse solver cannot simulate.

    Args:
        reason: Reason and remedy; empty if it can.

    Raises:
        InputError: If there is a reason; the message names the encodings that need no coarse solver.
    """
    if reason:
        raise InputError(
            f"encoding=coarse cannot be had for these data. {reason} encoding=source_map and encoding=background need "
            "no coarse grid."
        )


def coarsen(velocity: Float[Array, "nz nx"]) -> CoarseMedium:
    """Put a medium on the coarse grid, margin included; what is finer than its cells comes in by the coupling.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s] on the fine grid.

    Returns:
        Velocity on the coarse grid, and the coupling.
    """
    return coarse_medium(jnp.pad(velocity, 2 * MARGIN, mode="edge"))


def onto_coarse(points: Float[Array, "*n 2"], spacing: float) -> Float[Array, "*n 2"]:
    """Convert positions that count from the fine grid's first center to ones that count from the coarse grid's.

    Args:
        points: Positions `(..., 2)` [m] on the fine grid.
        spacing: Spacing of the fine grid [m].

    Returns:
        Positions `(..., 2)` [m] on the coarse grid.
    """
    # The first coarse center within the area lies half a fine cell inside the first fine one.
    return points + (2 * MARGIN - 0.5) * spacing


def refine(fields: Float[Array, "n mz mx"]) -> Float[Array, "n nz nx"]:
    """Interpolate fields on the coarse grid to the fine one; the margin is left out.

    Args:
        fields: Fields `(n, mz, mx)` on the coarse grid, margin included.

    Returns:
        Fields `(n, nz, nx)` on the fine grid.
    """
    n, mz, mx = fields.shape
    fine = jax.image.resize(fields, (n, 2 * mz, 2 * mx), method="lanczos5")
    return fine[:, 2 * MARGIN : -2 * MARGIN, 2 * MARGIN : -2 * MARGIN]


@dataclass(frozen=True)
class CoarseSolver:
    """Simulate a shot on the coarse grid; differentiable by the velocity.

    Attributes:
        spec: Description of the data set, on the fine grid.
        simulation: Simulation on the coarse grid, which records what is wanted of it; see `coarse_simulation`.
    """

    spec: DataSpec
    simulation: Simulation

    def __call__(
        self,
        velocity: Float[Array, "nz nx"],
        source: Float[Array, "2"],
        receivers: Float[Array, "n 2"] | None = None,
    ) -> Records:
        """Simulate one shot.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s] on the fine grid.
            source: Position `(2,)` [m] on the fine grid.
            receivers: Positions `(n, 2)` [m] on the fine grid; None for no receivers.

        Returns:
            Records of the one shot on the coarse grid, in space and in time.
        """
        dtype, spacing = velocity.dtype, self.spec.simulation.grid.spacing
        wavelet = jnp.asarray(self.spec.wavelet[::2], dtype)
        wavelet = jnp.pad(wavelet, (0, self.simulation.time.nt - len(wavelet)))  # what fires last is not heard any more
        points = jnp.zeros((0, 2), dtype) if receivers is None else onto_coarse(receivers, spacing)
        survey = Survey(onto_coarse(source.astype(dtype), spacing)[None], points, wavelet[None])
        model, coupling = coarsen(velocity)
        return simulate(model, survey, self.simulation, density=self.spec.density(model), coupling=coupling)
