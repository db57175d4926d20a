"""What the operator sees of a source that sounds at one frequency f, and whose field it predicts.

The medium is the velocity, and the cycles in a cell of the grid, f h / v: the local wavenumber. The first field is the
frequency itself, as a fraction of the highest. Beside it:

    source_map   a narrow Gaussian at the source
    background   the field in a homogeneous medium, in closed form (homogeneous.py): real and imaginary part
    coarse       the field of the solver on a grid twice as coarse, real and imaginary part; also the baseline

All fields belong to a source of unit spectrum. A frequency is the data's nearest: the Fourier sums of a time loop are
fixed when it is compiled, so the coarse solver makes all of them, and one is chosen. Differentiable by the velocity.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.simulator import simulate
from surrogate.encodings.coarse_solver import coarse_simulation, coarsen, onto_coarse, refine
from surrogate.encodings.homogeneous import green
from surrogate.encodings.wavefield import source_bump
from surrogate.protocols import Encoded


def spectrum(spec: DataSpec) -> Complex[np.ndarray, " n_frequencies"]:
    """W(f) of the nominal wavelet at the data's frequencies, times seconds."""
    times, frequencies = spec.simulation.time.times, np.array(spec.simulation.frequencies)
    return spec.simulation.time.dt * np.exp(-2j * np.pi * frequencies[:, None] * times) @ spec.wavelet


def unit_source(
    field: Float[Array, "*batch 2 nz nx"], strength: Complex[Array, "*batch"] | Complex[np.ndarray, "*batch"]
) -> Float[Array, "*batch 2 nz nx"]:
    """The field, real and imaginary part, divided by a complex number: the source's spectrum."""
    inverse = 1 / strength
    a, b = (part.astype(field.dtype)[..., None, None] for part in (inverse.real, inverse.imag))
    real, imaginary = field[..., 0, :, :], field[..., 1, :, :]
    return jnp.stack([a * real - b * imaginary, a * imaginary + b * real], axis=-3)


def nearest(frequency: Float[Array, ""], spec: DataSpec) -> Int[Array, ""]:
    """Which of the data's frequencies is nearest [Hz]."""
    return jnp.argmin(jnp.abs(jnp.asarray(spec.simulation.frequencies, frequency.dtype) - frequency))


def _medium(velocity: Float[Array, "nz nx"], frequency: Float[Array, ""], spec: DataSpec) -> Float[Array, "2 nz nx"]:
    return jnp.stack([velocity, frequency.astype(velocity.dtype) * spec.simulation.grid.spacing / velocity])


def _level(velocity: Float[Array, "nz nx"], frequency: Float[Array, ""], spec: DataSpec) -> Float[Array, "1 nz nx"]:
    part = frequency.astype(velocity.dtype) / max(spec.simulation.frequencies)
    return jnp.broadcast_to(part, (1, *velocity.shape))


@dataclass(frozen=True)
class HarmonicSourceMap:
    """A Gaussian of `radius` cells at the source; the baseline is zero."""

    spec: DataSpec
    radius: float = 2.0

    media = channels = 2

    def __call__(
        self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"], frequency: Float[Array, ""]
    ) -> Encoded:
        """See `Encoding`; source [m], frequency [Hz]."""
        bump = source_bump(velocity, source, self.spec.simulation.grid, self.radius)
        fields = jnp.concatenate([_level(velocity, frequency, self.spec), bump])
        return Encoded(_medium(velocity, frequency, self.spec), fields, jnp.zeros_like(fields))


@dataclass(frozen=True)
class HarmonicBackground:
    """The field in a homogeneous medium of `velocity` [m/s], shifted to the source's cell; the baseline is zero."""

    spec: DataSpec
    velocity: float

    media = 2
    channels = 3

    @cached_property
    def table(self) -> Float[np.ndarray, "n_frequencies 2 rows columns"]:
        """Around a source in the middle: `rows = 2 nz - 1`, `columns = 2 nx - 1`."""
        simulation = self.spec.simulation
        (nz, nx), spacing = simulation.grid.shape, simulation.grid.spacing
        away = spacing * np.hypot(np.arange(1 - nz, nz)[:, None], np.arange(1 - nx, nx))
        fields = green(np.array(simulation.frequencies)[:, None, None], away, self.velocity, spacing)
        return np.stack([np.real(fields), np.imag(fields)], axis=1).astype(np.float32)

    def __call__(
        self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"], frequency: Float[Array, ""]
    ) -> Encoded:
        """See `Encoding`; source [m], taken at the nearest cell; frequency [Hz]."""
        nz, nx = self.spec.simulation.grid.shape
        row, column = jnp.round(source / self.spec.simulation.grid.spacing).astype(int)
        start = (nearest(frequency, self.spec), 0, nz - 1 - row, nx - 1 - column)
        background = jax.lax.dynamic_slice(jnp.asarray(self.table), start, (1, 2, nz, nx))[0].astype(velocity.dtype)
        fields = jnp.concatenate([_level(velocity, frequency, self.spec), background])
        return Encoded(_medium(velocity, frequency, self.spec), fields, jnp.zeros_like(background))


@dataclass(frozen=True)
class HarmonicCoarse:
    """The coarse solver's field, interpolated to the grid; the baseline too."""

    spec: DataSpec

    media = 2
    channels = 3

    def __call__(
        self, velocity: Float[Array, "nz nx"], source: Float[Array, "2"], frequency: Float[Array, ""]
    ) -> Encoded:
        """See `Encoding`; source [m], frequency [Hz]."""
        spec, grid = self.spec, self.spec.simulation.grid
        simulation = coarse_simulation(replace(spec.simulation, snapshot_steps=()))
        source = onto_coarse(source.astype(velocity.dtype), grid.spacing)
        wavelet = jnp.asarray(spec.wavelet[::2], velocity.dtype)[None]
        survey = Survey(source[None], jnp.zeros((0, 2), velocity.dtype), wavelet)
        model, coupling = coarsen(velocity)
        fields = simulate(model, survey, simulation, density=spec.density(model), coupling=coupling).harmonic[0]
        chosen = nearest(frequency, spec)
        parts = jnp.stack([fields.real, fields.imag], axis=1)[chosen]
        coarse = unit_source(parts, jnp.asarray(spectrum(spec))[chosen])
        baseline = refine(coarse)
        fields = jnp.concatenate([_level(velocity, frequency, spec), baseline])
        return Encoded(_medium(velocity, frequency, spec), fields, baseline)
