"""Encode a shot whose gather is predicted, on the grid of stored times and receivers.

The medium is drawn twice under each receiver: by depth, the rows of the model spread evenly over the record, and by
time, at the two-way time of vertical rays, so that a reflector stands where it is heard at no offset:

    t(z) = t_peak + 2 int_{z_r}^z dz' / v(z', x_r)

    source_map   the direct wave on straight rays: the envelope of the wavelet at t_peak + |x_r - x_s| <1 / v>
    background   the gather of a homogeneous medium
    coarse       the gather of the solver on larger cells, at the receivers and one coarse cell below them
                 (together they distinguish upgoing from downgoing waves); the first is the baseline,
                 to which the output adds

All are differentiable by the velocity.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from surrogate.encodings.coarse_solver import RATIO, CoarseSolver, refuse_coarse
from surrogate.encodings.homogeneous import traces
from surrogate.encodings.schemas import BackgroundConfig, CoarseConfig, EncodingConfig, SourceMapConfig
from surrogate.protocols import Encoded

CUT = 0.05  # largest part of the wavelet's peak at the first sample
TABLE_STEPS = 4  # distances in a cell, of the table of the homogeneous gather


def stored_steps(spec: DataSpec) -> tuple[int, ...]:
    """List the steps of the time axis that a gather keeps.

    Args:
        spec: Description of the data set.

    Returns:
        Ascending steps.
    """
    return tuple(range(0, spec.simulation.time.nt, spec.recording.gather_every))


def stored_times(spec: DataSpec) -> Float[np.ndarray, " nt_stored"]:
    """List the times that a gather keeps.

    Args:
        spec: Description of the data set.

    Returns:
        Times `(nt_stored,)` [s].
    """
    return np.array(stored_steps(spec)) * spec.simulation.time.dt


def medium_sections(velocity: Float[Array, "nz nx"], spec: DataSpec) -> Float[Array, "2 nt_stored n_receivers"]:
    """Draw the velocity under each receiver: by depth, and by two-way vertical time.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        spec: Description of the data set.

    Returns:
        Velocities `(2, nt_stored, n_receivers)` [m/s].
    """
    rows, columns = spec.receiver_cells
    times, spacing = stored_times(spec), spec.simulation.grid.spacing
    under = velocity[:, columns]
    depth = np.linspace(0, len(under) - 1, len(times))
    above = np.minimum(depth.astype(int), len(under) - 2)
    part = jnp.asarray(depth - above, under.dtype)[:, None]
    by_depth = (1 - part) * under[above] + part * under[above + 1]
    slowness = 1 / under
    # 2 int dz / v between neighboring cell centers, by the trapezoidal rule.
    between = jnp.pad(spacing * jnp.cumsum(slowness[:-1] + slowness[1:], axis=0), ((1, 0), (0, 0)))
    arrivals = between - between[rows[0]] + spec.peak_time
    heard = partial(jnp.interp, jnp.asarray(times, under.dtype))
    by_time = jax.vmap(heard, in_axes=1, out_axes=1)(arrivals, under)
    return jnp.stack([by_depth, by_time])


def offsets(source: Float[Array, "2"], spec: DataSpec) -> Float[Array, " n_receivers"]:
    """Measure the distances from the source to the receivers.

    Args:
        source: Position `(2,)` [m].
        spec: Description of the data set.

    Returns:
        Distances `(n_receivers,)` [m].
    """
    away = jnp.asarray(spec.receivers, source.dtype) - source
    return jnp.hypot(away[:, 0], away[:, 1])


def direct_times(
    velocity: Float[Array, "nz nx"], source: Float[Array, "2"], spec: DataSpec
) -> Float[Array, " n_receivers"]:
    """Time a straight ray from the source to each receiver: its length times the mean slowness on it.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        source: Position `(2,)` [m].
        spec: Description of the data set.

    Returns:
        Times `(n_receivers,)` [s].
    """
    points = max(velocity.shape)
    along = (jnp.arange(points, dtype=velocity.dtype) + 0.5) / points
    receivers = jnp.asarray(spec.receivers, velocity.dtype)
    ray = source[:, None, None] + along * (receivers - source).T[:, :, None]
    slowness = map_coordinates(1 / velocity, list(ray / spec.simulation.grid.spacing), order=1, mode="nearest")
    return offsets(source, spec) * jnp.mean(slowness, axis=-1)


@dataclass(frozen=True)
class DirectWave:
    """Show the direct wave on straight rays, and the offset as a fraction of the surface; the baseline is zero.

    Attributes:
        spec: Description of the data set.
    """

    spec: DataSpec

    settings: ClassVar[type[EncodingConfig]] = SourceMapConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")
    target: ClassVar[str] = "gathers"
    media = channels = 2

    @classmethod
    def create(cls, spec: DataSpec, config: SourceMapConfig) -> "DirectWave":
        """See `RegisteredEncoding.create`."""
        return cls(spec)

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m].

        Returns:
            Input of the operator, and the field that it corrects.
        """
        spec = self.spec
        arrivals = spec.peak_time + direct_times(velocity, source.astype(velocity.dtype), spec)
        late = jnp.asarray(stored_times(spec), velocity.dtype)[:, None] - arrivals
        pulse = jnp.exp(-((jnp.pi * spec.simulation.peak_frequency * late) ** 2))
        offset = offsets(source.astype(velocity.dtype), spec) / spec.simulation.grid.extent[1]
        fields = jnp.stack([pulse, jnp.broadcast_to(offset, pulse.shape)])
        return Encoded(medium_sections(velocity, spec), fields, jnp.zeros_like(fields[:1]))


@dataclass(frozen=True)
class HomogeneousGather:
    """Show the gather of a homogeneous medium, from a table over the distance; the baseline is zero.

    Attributes:
        spec: Description of the data set.
        velocity: Velocity of the homogeneous medium [m/s].
    """

    spec: DataSpec
    velocity: float

    settings: ClassVar[type[EncodingConfig]] = BackgroundConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")
    target: ClassVar[str] = "gathers"
    media = 2
    channels = 1

    @classmethod
    def create(cls, spec: DataSpec, config: BackgroundConfig) -> "HomogeneousGather":
        """See `RegisteredEncoding.create`."""
        _check_wavelet(spec, config)
        return cls(spec, config.velocity)

    @cached_property
    def table(self) -> Float[np.ndarray, "n_distances nt_stored"]:
        """Traces at every `TABLE_STEPS`-th of a cell, up to the grid's diagonal."""
        simulation = self.spec.simulation
        spacing, every = simulation.grid.spacing, self.spec.recording.gather_every
        count = int(np.ceil(TABLE_STEPS * np.hypot(*simulation.grid.extent) / spacing)) + 2
        distances = np.arange(count) * spacing / TABLE_STEPS
        return traces(self.spec.wavelet, simulation.time.dt, distances, self.velocity, spacing)[:, ::every]

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m].

        Returns:
            Input of the operator, and the field that it corrects.
        """
        place = offsets(source.astype(velocity.dtype), self.spec) * TABLE_STEPS / self.spec.simulation.grid.spacing
        below = jnp.clip(place.astype(int), 0, len(self.table) - 2)
        part, table = (place - below)[:, None], jnp.asarray(self.table, velocity.dtype)
        field = ((1 - part) * table[below] + part * table[below + 1]).T[None]
        return Encoded(medium_sections(velocity, self.spec), field, jnp.zeros_like(field))


def _check_wavelet(spec: DataSpec, config: EncodingConfig) -> None:
    """Refuse an encoding that computes a shot for data of an unknown wavelet."""
    if not spec.knows_wavelet:
        raise InputError(
            f"encoding={config.name} computes a shot from its wavelet, which is unknown for these imported data. "
            "Choose encoding=source_map, which needs none, or import the files again, to another folder, with "
            "--peak-frequency HZ (a Ricker wavelet) or --wavelet FILE."
        )


@dataclass(frozen=True)
class CoarseGather:
    """Show the coarse solver's gather at the receivers, which is the baseline too, and one coarse cell below them.

    Attributes:
        spec: Description of the data set.
        ratio: Side of a cell of the coarse solver, in cells of the data's grid.
    """

    spec: DataSpec
    ratio: float = RATIO

    settings: ClassVar[type[EncodingConfig]] = CoarseConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")
    target: ClassVar[str] = "gathers"
    media = channels = 2

    @classmethod
    def create(cls, spec: DataSpec, config: CoarseConfig) -> "CoarseGather":
        """See `RegisteredEncoding.create`."""
        _check_wavelet(spec, config)
        encoding = cls(spec, config.ratio)
        refuse_coarse(encoding.reason_against, config.ratio)
        return encoding

    @cached_property
    def solver(self) -> CoarseSolver:
        """The coarse solver."""
        return CoarseSolver(self.spec, self.ratio)

    @cached_property
    def reason_against(self) -> str:
        """Why the coarse solver cannot make the gathers of the data, and a remedy; empty if it can."""
        if reason := self.solver.reason_against:
            return reason
        first = float(np.abs(self.spec.wavelet[0]) / np.abs(self.spec.wavelet).max())
        if first > CUT:
            return (
                f"The wavelet begins before the record, at {100 * first:.0f} % of its peak, which no simulation that "
                "starts with the record can make."
            )
        return ""

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m].

        Returns:
            Input of the operator, and the field that it corrects.
        """
        receivers, cell = self.spec.receivers, self.ratio * self.spec.simulation.grid.spacing
        lines = jnp.asarray(np.concatenate([receivers, receivers + np.array([cell, 0.0])]), velocity.dtype)
        gathers = self.solver(velocity, source, lines).gathers[0, :: self.spec.recording.gather_every]
        fields = jnp.stack([gathers[:, : len(receivers)], gathers[:, len(receivers) :]])
        return Encoded(medium_sections(velocity, self.spec), fields, fields[:1])
