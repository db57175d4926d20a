"""Encode a source whose time-harmonic fields are predicted, at all frequencies at once.

The medium is the velocity, and the cycles in a cell of the grid at the highest frequency, f h / v: the local
wavenumber. The fields are:

    source_map   a narrow Gaussian at the source
    background   the fields in a homogeneous medium, in closed form (homogeneous.py)
    coarse       the fields of the solver on larger cells; also the baseline

The last two have real and imaginary part of each frequency, of a source of unit spectrum. Differentiable by the
velocity.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

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


def of_unit_source(
    fields: Complex[Array, "*batch n_frequencies nz nx"], spec: DataSpec
) -> Float[Array, "*batch parts nz nx"]:
    """Divide fields by the spectrum of their source, and take real and imaginary parts.

    Args:
        fields: Fields at the frequencies of the data `(..., n_frequencies, nz, nx)`.
        spec: Description of the data set.

    Returns:
        Real and imaginary part of each frequency `(..., 2 n_frequencies, nz, nx)`, for a source of unit spectrum.
    """
    # The inverse is taken in double precision: single squares a weak wavelet to zero.
    inverse = 1 / spectrum(spec)
    a, b = (jnp.asarray(part[:, None, None], fields.real.dtype) for part in (inverse.real, inverse.imag))
    parts = jnp.stack([a * fields.real - b * fields.imag, a * fields.imag + b * fields.real], axis=-3)
    return parts.reshape(*parts.shape[:-4], -1, *parts.shape[-2:])


def _medium(velocity: Float[Array, "nz nx"], spec: DataSpec) -> Float[Array, "2 nz nx"]:
    simulation = spec.simulation
    return jnp.stack([velocity, max(simulation.frequencies) * simulation.grid.spacing / velocity])


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
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")
    target: ClassVar[str] = "harmonic"
    media = 2
    channels = 1

    @classmethod
    def create(cls, spec: DataSpec, config: SourceMapConfig) -> "HarmonicSourceMap":
        """See `RegisteredEncoding.create`."""
        return cls(spec, config.radius)

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m].

        Returns:
            Input of the operator, and the fields that it corrects.
        """
        simulation = self.spec.simulation
        bump = source_bump(velocity, source, simulation.grid, self.radius)
        baseline = jnp.zeros((2 * len(simulation.frequencies), *velocity.shape), velocity.dtype)
        return Encoded(_medium(velocity, self.spec), bump, baseline)


@dataclass(frozen=True)
class HarmonicBackground:
    """Show the fields in a homogeneous medium, shifted to the source's cell; the baseline is zero.

    Attributes:
        spec: Description of the data set.
        velocity: Velocity of the homogeneous medium [m/s].
    """

    spec: DataSpec
    velocity: float

    settings: ClassVar[type[EncodingConfig]] = BackgroundConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")
    target: ClassVar[str] = "harmonic"
    media = 2

    @classmethod
    def create(cls, spec: DataSpec, config: BackgroundConfig) -> "HarmonicBackground":
        """See `RegisteredEncoding.create`."""
        return cls(spec, config.velocity)

    @property
    def channels(self) -> int:
        """Two for each frequency."""
        return 2 * len(self.spec.simulation.frequencies)

    @cached_property
    def table(self) -> Float[np.ndarray, "parts rows columns"]:
        """Fields around a source in the middle: `rows = 2 nz - 1`, `columns = 2 nx - 1`."""
        simulation = self.spec.simulation
        (nz, nx), spacing = simulation.grid.shape, simulation.grid.spacing
        away = spacing * np.hypot(np.arange(1 - nz, nz)[:, None], np.arange(1 - nx, nx))
        fields = green(np.array(simulation.frequencies)[:, None, None], away, self.velocity, spacing)
        parts = np.stack([np.real(fields), np.imag(fields)], axis=1).astype(np.float32)
        return parts.reshape(-1, *away.shape)

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m], taken at the nearest cell.

        Returns:
            Input of the operator, and the fields that it corrects.
        """
        nz, nx = self.spec.simulation.grid.shape
        row, column = jnp.round(source / self.spec.simulation.grid.spacing).astype(int)
        start = (0, nz - 1 - row, nx - 1 - column)
        fields = jax.lax.dynamic_slice(jnp.asarray(self.table), start, (self.channels, nz, nx)).astype(velocity.dtype)
        return Encoded(_medium(velocity, self.spec), fields, jnp.zeros_like(fields))


@dataclass(frozen=True)
class HarmonicCoarse:
    """Show the coarse solver's fields, which are the baseline too.

    Attributes:
        spec: Description of the data set.
        ratio: Side of a cell of the coarse solver, in cells of the data's grid.
    """

    spec: DataSpec
    ratio: float = RATIO

    settings: ClassVar[type[EncodingConfig]] = CoarseConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")
    target: ClassVar[str] = "harmonic"
    media = 2

    @classmethod
    def create(cls, spec: DataSpec, config: CoarseConfig) -> "HarmonicCoarse":
        """See `RegisteredEncoding.create`."""
        encoding = cls(spec, config.ratio)
        refuse_coarse(encoding.solver.reason_against, config.ratio)
        return encoding

    @property
    def channels(self) -> int:
        """Two for each frequency."""
        return 2 * len(self.spec.simulation.frequencies)

    @cached_property
    def solver(self) -> CoarseSolver:
        """The coarse solver."""
        return CoarseSolver(self.spec, self.ratio, frequencies=self.spec.simulation.frequencies)

    def __call__(self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"]) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            source: Position `(2,)` [m].

        Returns:
            Input of the operator, and the fields that it corrects.
        """
        fields = of_unit_source(self.solver(velocity, source).harmonic[0], self.spec)
        return Encoded(_medium(velocity, self.spec), fields, fields)
