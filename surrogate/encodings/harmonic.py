"""Encode a source that sounds at one frequency f, and whose field is predicted.

The medium is the velocity, and the cycles in a cell of the grid, f h / v: the local wavenumber. The first field is the
frequency itself, as a fraction of the highest. The other fields are:

    source_map   a narrow Gaussian at the source
    background   the field in a homogeneous medium, in closed form (homogeneous.py): real and imaginary part
    coarse       the field of the solver on larger cells, real and imaginary part; also the baseline

All fields belong to a source of unit spectrum. A frequency is the data's nearest: the Fourier sums of a time loop are
fixed when it is compiled, so the coarse solver makes all of them, and one is chosen. Differentiable by the velocity.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from data_gen.dataset.sample import DataSpec
from surrogate.encodings.coarse_solver import RATIO, CoarseSolver, refuse_coarse
from surrogate.encodings.homogeneous import green
from surrogate.encodings.schemas import BackgroundConfig, CoarseConfig, EncodingConfig, SourceMapConfig
from surrogate.encodings.wavefield import source_bump
from surrogate.protocols import Encoded


def spectrum(spec: DataSpec) -> Complex[np.ndarray, " n_frequencies"]:
    """Transform the nominal wavelet: W(f) at the frequencies of the data.

    Args:
        spec: Description of the data set.

    Returns:
        Spectrum `(n_frequencies,)` [s].
    """
    times, frequencies = spec.simulation.time.times, np.array(spec.simulation.frequencies)
    return spec.simulation.time.dt * np.exp(-2j * np.pi * frequencies[:, None] * times) @ spec.wavelet


def unit_source(
    field: Float[Array, "*batch 2 nz nx"], inverse: Complex[Array, "*batch"] | Complex[np.ndarray, "*batch"]
) -> Float[Array, "*batch 2 nz nx"]:
    """Divide a field by the spectrum of its source.

    Args:
        field: Real and imaginary part `(..., 2, nz, nx)`.
        inverse: One over the spectrum `(...)`, to be taken in double precision: single squares a weak wavelet to zero.

    Returns:
        Real and imaginary part `(..., 2, nz, nx)` for a source of unit spectrum.
    """
    a, b = (part.astype(field.dtype)[..., None, None] for part in (jnp.real(inverse), jnp.imag(inverse)))
    real, imaginary = field[..., 0, :, :], field[..., 1, :, :]
    return jnp.stack([a * real - b * imaginary, a * imaginary + b * real], axis=-3)


def nearest(frequency: Float[Array, ""], spec: DataSpec) -> Int[Array, ""]:
    """Find which of the data's frequencies is nearest.

    Args:
        frequency: Frequency [Hz].
        spec: Description of the data set.

    Returns:
        Index into the frequencies.
    """
    return jnp.argmin(jnp.abs(jnp.asarray(spec.simulation.frequencies, frequency.dtype) - frequency))


def _medium(velocity: Float[Array, "nz nx"], frequency: Float[Array, ""], spec: DataSpec) -> Float[Array, "2 nz nx"]:
    return jnp.stack([velocity, frequency.astype(velocity.dtype) * spec.simulation.grid.spacing / velocity])


def _level(velocity: Float[Array, "nz nx"], frequency: Float[Array, ""], spec: DataSpec) -> Float[Array, "1 nz nx"]:
    part = frequency.astype(velocity.dtype) / max(spec.simulation.frequencies)
    return jnp.broadcast_to(part, (1, *velocity.shape))


@dataclass(frozen=True)
class HarmonicSourceMap:
    """Mark the source by a Gaussian; the baseline is zero.

    Attributes:
        spec: Description of the data set.
        radius: Standard deviation of the Gaussian [cells].
    """

    spec: DataSpec
    radius: float = 2.0

    settings: ClassVar[type[EncodingConfig]] = SourceMapConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source", "frequency")
    target: ClassVar[str] = "harmonic"
    media = channels = 2

    @classmethod
    def create(cls, spec: DataSpec, config: SourceMapConfig) -> "HarmonicSourceMap":
        """See `RegisteredEncoding.create`."""
        return cls(spec, config.radius)

    def __call__(
        self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"], frequency: Float[Array, ""]
    ) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m].
            frequency: Frequency [Hz].

        Returns:
            Input of the operator, and the field that it corrects.
        """
        bump = source_bump(velocity, source, self.spec.simulation.grid, self.radius)
        fields = jnp.concatenate([_level(velocity, frequency, self.spec), bump])
        return Encoded(_medium(velocity, frequency, self.spec), fields, jnp.zeros_like(fields))


@dataclass(frozen=True)
class HarmonicBackground:
    """Show the field in a homogeneous medium, shifted to the source's cell; the baseline is zero.

    Attributes:
        spec: Description of the data set.
        velocity: Velocity of the homogeneous medium [m/s].
    """

    spec: DataSpec
    velocity: float

    settings: ClassVar[type[EncodingConfig]] = BackgroundConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source", "frequency")
    target: ClassVar[str] = "harmonic"
    media = 2
    channels = 3

    @classmethod
    def create(cls, spec: DataSpec, config: BackgroundConfig) -> "HarmonicBackground":
        """See `RegisteredEncoding.create`."""
        return cls(spec, config.velocity)

    @cached_property
    def table(self) -> Float[np.ndarray, "n_frequencies 2 rows columns"]:
        """Fields around a source in the middle: `rows = 2 nz - 1`, `columns = 2 nx - 1`."""
        simulation = self.spec.simulation
        (nz, nx), spacing = simulation.grid.shape, simulation.grid.spacing
        away = spacing * np.hypot(np.arange(1 - nz, nz)[:, None], np.arange(1 - nx, nx))
        fields = green(np.array(simulation.frequencies)[:, None, None], away, self.velocity, spacing)
        return np.stack([np.real(fields), np.imag(fields)], axis=1).astype(np.float32)

    def __call__(
        self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"], frequency: Float[Array, ""]
    ) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m], taken at the nearest cell.
            frequency: Frequency [Hz], taken at the nearest of the data's.

        Returns:
            Input of the operator, and the field that it corrects.
        """
        nz, nx = self.spec.simulation.grid.shape
        row, column = jnp.round(source / self.spec.simulation.grid.spacing).astype(int)
        start = (nearest(frequency, self.spec), 0, nz - 1 - row, nx - 1 - column)
        background = jax.lax.dynamic_slice(jnp.asarray(self.table), start, (1, 2, nz, nx))[0].astype(velocity.dtype)
        fields = jnp.concatenate([_level(velocity, frequency, self.spec), background])
        return Encoded(_medium(velocity, frequency, self.spec), fields, jnp.zeros_like(background))


@dataclass(frozen=True)
class HarmonicCoarse:
    """Show the coarse solver's field, which is the baseline too.

    Attributes:
        spec: Description of the data set.
        ratio: Side of a cell of the coarse solver, in cells of the data's grid.
    """

    spec: DataSpec
    ratio: float = RATIO

    settings: ClassVar[type[EncodingConfig]] = CoarseConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source", "frequency")
    target: ClassVar[str] = "harmonic"
    media = 2
    channels = 3

    @classmethod
    def create(cls, spec: DataSpec, config: CoarseConfig) -> "HarmonicCoarse":
        """See `RegisteredEncoding.create`."""
        encoding = cls(spec, config.ratio)
        refuse_coarse(encoding.solver.reason_against, config.ratio)
        return encoding

    @cached_property
    def solver(self) -> CoarseSolver:
        """The coarse solver."""
        return CoarseSolver(self.spec, self.ratio, frequencies=self.spec.simulation.frequencies)

    def __call__(
        self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"], frequency: Float[Array, ""]
    ) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m].
            frequency: Frequency [Hz], taken at the nearest of the data's.

        Returns:
            Input of the operator, and the field that it corrects.
        """
        spec = self.spec
        fields = self.solver(velocity, source).harmonic[0]
        chosen = nearest(frequency, spec)
        parts = jnp.stack([fields.real, fields.imag], axis=1)[chosen]
        baseline = unit_source(parts, jnp.asarray(1 / spectrum(spec))[chosen])
        fields = jnp.concatenate([_level(velocity, frequency, spec), baseline])
        return Encoded(_medium(velocity, frequency, spec), fields, baseline)
