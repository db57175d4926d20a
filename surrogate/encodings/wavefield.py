"""Encode a shot whose snapshots are predicted: the velocity, and an encoding of where the source is.

    source_map   a narrow Gaussian at the source; the operator must propagate the wave itself
    background   the wavefield of a homogeneous medium: where and when a wave would be without the model
    coarse       the field of the same solver on larger cells; the operator corrects its dispersion

Every encoding returns the velocity, features and a baseline field to which the operator adds its output; only the
coarse field is near enough to the data's to be its own baseline. All are differentiable by the velocity.
Sources: scattered-field formulation, arXiv 2405.01272; correction of a coarse solver's dispersion, arXiv 2510.06881.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.grid import Grid
from data_gen.solver.simulator import simulate
from surrogate.encodings.coarse_solver import RATIO, CoarseSolver, refuse_coarse
from surrogate.encodings.schemas import BackgroundConfig, CoarseConfig, EncodingConfig, SourceMapConfig
from surrogate.protocols import Encoded


def source_bump(velocity: Float[Array, "nz nx"], source: Float[Array, "2"], grid: Grid, radius: float) -> Array:
    """Draw a Gaussian at the source, in the precision of the velocity.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        source: Position `(2,)` [m].
        grid: Grid of the model.
        radius: Standard deviation [cells].

    Returns:
        Gaussian `(1, nz, nx)` of unit peak.
    """
    z, x = (jnp.arange(n) * grid.spacing for n in grid.shape)
    squared = (z[:, None] - source[0]) ** 2 + (x[None, :] - source[1]) ** 2
    return jnp.exp(-squared / (2 * (radius * grid.spacing) ** 2))[None].astype(velocity.dtype)


@dataclass(frozen=True)
class SourceMap:
    """Mark the source by a Gaussian; the baseline is zero.

    Attributes:
        spec: Description of the data set.
        radius: Standard deviation of the Gaussian [cells].
    """

    spec: DataSpec
    radius: float = 2.0

    settings: ClassVar[type[EncodingConfig]] = SourceMapConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")
    target: ClassVar[str] = "snapshots"
    media = channels = 1

    @classmethod
    def create(cls, spec: DataSpec, config: SourceMapConfig) -> "SourceMap":
        """See `RegisteredEncoding.create`."""
        return cls(spec, config.radius)

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m].

        Returns:
            Input of the operator, and the field that it corrects.
        """
        grid = self.spec.simulation.grid
        bump = source_bump(velocity, source, grid, self.radius)
        baseline = jnp.zeros((len(self.spec.simulation.snapshot_steps), *grid.shape), velocity.dtype)
        return Encoded(velocity[None], bump, baseline)


@dataclass(frozen=True, eq=False)
class Background:
    """Show the field in a homogeneous medium, simulated once and shifted to the source's cell; the baseline is zero.

    Attributes:
        spec: Description of the data set.
        field: Snapshots `(n_snapshots, 2 nz - 1, 2 nx - 1)` around a source in the middle.
    """

    spec: DataSpec
    field: np.ndarray

    settings: ClassVar[type[EncodingConfig]] = BackgroundConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")
    target: ClassVar[str] = "snapshots"
    media = 1

    @classmethod
    def create(cls, spec: DataSpec, config: BackgroundConfig) -> "Background":
        """See `RegisteredEncoding.create`."""
        nz, nx = spec.simulation.grid.shape
        grid = Grid((2 * nz - 1, 2 * nx - 1), spec.simulation.grid.spacing)
        middle = jnp.array([[(nz - 1) * grid.spacing, (nx - 1) * grid.spacing]], jnp.float32)
        survey, model = spec.survey(middle, receivers=False), jnp.full(grid.shape, config.velocity, jnp.float32)
        return cls(spec, np.asarray(simulate(model, survey, replace(spec.simulation, grid=grid)).snapshots[0]))

    @property
    def channels(self) -> int:
        """One for each snapshot."""
        return len(self.field)

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m], taken at the nearest cell.

        Returns:
            Input of the operator, and the field that it corrects.
        """
        nz, nx = self.spec.simulation.grid.shape
        row, column = jnp.round(source / self.spec.simulation.grid.spacing).astype(int)
        field = jax.lax.dynamic_slice(
            jnp.asarray(self.field), (0, nz - 1 - row, nx - 1 - column), (self.channels, nz, nx)
        )
        return Encoded(velocity[None], field.astype(velocity.dtype), jnp.zeros_like(field, velocity.dtype))


def _with_halfway(steps: tuple[int, ...]) -> tuple[int, ...]:
    """Each step preceded by the one half-way from its predecessor (for the first: as far before it as the second's).

    Samples half-way between neighbors are the earlier neighbor, and before the record the field rests as at step 0.
    """
    gaps = np.diff((0, *steps))
    if len(steps) > 1:
        gaps[0] = min(gaps[:2])
    halves = -(-gaps // 2)
    return tuple(int(s) for step, half in zip(steps, halves, strict=True) for s in (max(step - half, 0), step))


@dataclass(frozen=True)
class Coarse:
    """Show the field of the solver on larger cells.

    The state of the wave equation is the pressure and its rate of change; so that the operator sees which way the waves
    go, the features hold the field at each snapshot and half-way to the one before. The field at each snapshot is also
    the baseline.

    Attributes:
        spec: Description of the data set.
        ratio: Side of a cell of the coarse solver, in cells of the data's grid.
    """

    spec: DataSpec
    ratio: float = RATIO

    settings: ClassVar[type[EncodingConfig]] = CoarseConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")
    target: ClassVar[str] = "snapshots"
    media = 1

    @classmethod
    def create(cls, spec: DataSpec, config: CoarseConfig) -> "Coarse":
        """See `RegisteredEncoding.create`."""
        encoding = cls(spec, config.ratio)
        refuse_coarse(encoding.solver.reason_against, config.ratio)
        return encoding

    @property
    def channels(self) -> int:
        """Two for each snapshot."""
        return 2 * len(self.spec.simulation.snapshot_steps)

    @cached_property
    def solver(self) -> CoarseSolver:
        """The coarse solver."""
        steps = sorted(set(_with_halfway(self.spec.simulation.snapshot_steps)))
        return CoarseSolver(self.spec, self.ratio, snapshot_steps=tuple(steps))

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m].

        Returns:
            Input of the operator, and the field that it corrects.
        """
        shown = np.searchsorted(self.solver.snapshot_steps, _with_halfway(self.spec.simulation.snapshot_steps))
        fields = self.solver(velocity, source).snapshots[0][shown]
        return Encoded(velocity[None], fields, fields[1::2])
