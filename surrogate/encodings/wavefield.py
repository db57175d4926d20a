"""What the operator sees: the velocity, and an encoding of where the source is.

    source_map   a narrow Gaussian at the source; the operator must propagate the wave itself
    background   the wavefield of a homogeneous medium: where and when a wave would be without the model
    coarse       the field of the same solver on a grid twice as coarse; the operator corrects its dispersion

Every encoding returns the velocity, features and a baseline field to which the operator adds its output; only the
coarse field is near enough to the true one to be its own baseline. All are differentiable by the velocity.
Sources: scattered-field formulation, arXiv 2405.01272; correction of a coarse solver's dispersion, arXiv 2510.06881.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.grid import Grid
from data_gen.solver.simulator import simulate
from surrogate.encodings.coarse_solver import coarse_simulation, coarsen, onto_coarse, refine
from surrogate.protocols import Encoded


def source_bump(velocity: Float[Array, "nz nx"], source: Float[Array, "2"], grid: Grid, radius: float) -> Array:
    """A Gaussian of `radius` cells at the source [m], `(1, nz, nx)`, in the velocity's precision."""
    z, x = (jnp.arange(n) * grid.spacing for n in grid.shape)
    squared = (z[:, None] - source[0]) ** 2 + (x[None, :] - source[1]) ** 2
    return jnp.exp(-squared / (2 * (radius * grid.spacing) ** 2))[None].astype(velocity.dtype)


@dataclass(frozen=True)
class SourceMap:
    """A Gaussian of `radius` cells at the source; the baseline is zero."""

    spec: DataSpec
    radius: float = 2.0

    media = channels = 1

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """See `Encoding`; source [m]."""
        grid = self.spec.simulation.grid
        bump = source_bump(velocity, source, grid, self.radius)
        baseline = jnp.zeros((len(self.spec.simulation.snapshot_steps), *grid.shape), velocity.dtype)
        return Encoded(velocity[None], bump, baseline)


@dataclass(frozen=True, eq=False)
class Background:
    """The field in a homogeneous medium, simulated once and shifted to the source's cell.

    field: snapshots `(n_snapshots, 2 nz - 1, 2 nx - 1)` around a source in the middle.
    """

    spec: DataSpec
    field: np.ndarray

    @classmethod
    def simulated(cls, spec: DataSpec, velocity: float) -> "Background":
        """The encoding for a medium of `velocity` [m/s]."""
        nz, nx = spec.simulation.grid.shape
        grid = Grid((2 * nz - 1, 2 * nx - 1), spec.simulation.grid.spacing)
        middle = jnp.array([[(nz - 1) * grid.spacing, (nx - 1) * grid.spacing]], jnp.float32)
        survey, model = spec.survey(middle, receivers=False), jnp.full(grid.shape, velocity, jnp.float32)
        return cls(spec, np.asarray(simulate(model, survey, replace(spec.simulation, grid=grid)).snapshots[0]))

    media = 1

    @property
    def channels(self) -> int:
        """One for each snapshot."""
        return len(self.field)

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """See `Encoding`; source [m], taken at the nearest cell."""
        nz, nx = self.spec.simulation.grid.shape
        row, column = jnp.round(source / self.spec.simulation.grid.spacing).astype(int)
        field = jax.lax.dynamic_slice(
            jnp.asarray(self.field), (0, nz - 1 - row, nx - 1 - column), (self.channels, nz, nx)
        )
        return Encoded(velocity[None], field.astype(velocity.dtype), jnp.zeros_like(field, velocity.dtype))


def _with_halfway(steps: tuple[int, ...]) -> tuple[int, ...]:
    """Each step preceded by the one half-way from its predecessor (for the first: as far before it as the second's)."""
    gaps = np.diff((0, *steps))
    if len(steps) > 1:
        gaps[0] = min(gaps[:2])
    halves = gaps // 2
    return tuple(int(s) for step, half in zip(steps, halves, strict=True) for s in (step - half, step))


@dataclass(frozen=True)
class Coarse:
    """The field of the solver on a grid twice as coarse, interpolated back to the grid.

    The state of the wave equation is the pressure and its rate of change; so that the operator sees which way the waves
    go, the features hold the field at each snapshot and half-way to the one before.
    """

    spec: DataSpec

    media = 1

    @property
    def channels(self) -> int:
        """Two for each snapshot."""
        return 2 * len(self.spec.simulation.snapshot_steps)

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """See `Encoding`; source [m]."""
        simulation = coarse_simulation(self.spec.simulation)
        simulation = replace(simulation, snapshot_steps=_with_halfway(simulation.snapshot_steps))
        wavelet = jnp.asarray(self.spec.wavelet[::2], velocity.dtype)[None]
        spacing = self.spec.simulation.grid.spacing
        survey = Survey(onto_coarse(source, spacing)[None], jnp.zeros((0, 2), velocity.dtype), wavelet)
        model, coupling = coarsen(velocity)
        density = self.spec.density(model)
        fields = refine(simulate(model, survey, simulation, density=density, coupling=coupling).snapshots[0])
        return Encoded(velocity[None], fields, fields[1::2])
