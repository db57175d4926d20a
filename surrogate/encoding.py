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

from data_gen.acquisition import Survey
from data_gen.errors import InputError
from data_gen.grid import Grid, TimeAxis
from data_gen.sample import DataSpec
from data_gen.simulation import Simulation
from data_gen.solver import simulate
from surrogate.task import Encoded, Encoding, Task


@dataclass(frozen=True)
class SourceMap:
    """A Gaussian of `radius` cells at the source; the baseline is zero."""

    spec: DataSpec
    radius: float = 2.0

    media = channels = 1

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """See `Encoding`; source [m]."""
        grid = self.spec.simulation.grid
        z, x = (jnp.arange(n) * grid.spacing for n in grid.shape)
        squared = (z[:, None] - source[0]) ** 2 + (x[None, :] - source[1]) ** 2
        bump = jnp.exp(-squared / (2 * (self.radius * grid.spacing) ** 2))
        baseline = jnp.zeros((len(self.spec.simulation.snapshot_steps), *grid.shape), velocity.dtype)
        return Encoded(velocity[None], bump[None].astype(velocity.dtype), baseline)


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


def coarse_simulation(simulation: Simulation) -> Simulation:
    """The same solver on cells and time steps twice as large, over the same area, time and absorbing length.

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
    return replace(
        simulation,
        grid=simulation.grid.coarsened(),
        time=TimeAxis((simulation.time.nt + 1) // 2, 2 * simulation.time.dt),
        widths=tuple(-(-width // 2) for width in simulation.widths),
        snapshot_steps=tuple(step // 2 for step in simulation.snapshot_steps),
        half_width=4,
    )


def coarsen(velocity: Float[Array, "nz nx"]) -> Float[Array, "mz mx"]:
    """Compressibility 1 / v^2, low-passed and taken at every second cell: at constant density the equivalent medium.

    A Lanczos filter keeps the structure that the coarse grid can carry, which an average over 2 x 2 cells dims: the
    coarse field of rough media errs by a tenth to a fifth less (measured). It is kept within the model's own range.
    """
    compressibility = velocity**-2
    nz, nx = velocity.shape
    filtered = jax.image.resize(compressibility, (nz // 2, nx // 2), method="lanczos5")
    return jnp.clip(filtered, jnp.min(compressibility), jnp.max(compressibility)) ** -0.5


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
        # The first coarse centre lies half a fine cell inside the first fine one.
        source = source - self.spec.simulation.grid.spacing / 2
        wavelet = jnp.asarray(self.spec.wavelet[::2], velocity.dtype)[None]
        survey = Survey(source[None], jnp.zeros((0, 2), velocity.dtype), wavelet)
        model = coarsen(velocity)
        snapshots = simulate(model, survey, simulation, density=self.spec.density(model)).snapshots[0]
        fields = jax.image.resize(snapshots, (len(snapshots), *self.spec.simulation.grid.shape), method="lanczos5")
        return Encoded(velocity[None], fields, fields[1::2])


@dataclass
class EncodingConfig:
    """name: source_map, background or coarse; none or log for states.

    radius [cells]: of the map. velocity [m/s]: of the background.
    """

    name: str = "coarse"
    radius: float = 2.0
    velocity: float = 2500.0

    def create(self, task: Task) -> Encoding:
        """Raises `InputError` for a name that the task does not have."""
        return task.encoding(self.name, radius=self.radius, velocity=self.velocity)
