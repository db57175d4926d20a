"""Encode gathers on the grid of the velocity model: time is folded into channels.

Row j of the grid holds the samples of the j-th of nz equal shares of the record, so depth and time run the same way and
a filter sees the samples that come from about the same depth. Receivers stand at their columns.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from data_gen.dataset.sample import DataSpec
from surrogate.encodings.gather import stored_steps
from surrogate.encodings.schemas import EncodingConfig, LogConfig, NoneConfig
from surrogate.protocols import Encoded

STRETCH = 1000.0  # arrivals this much weaker than the strongest one are still seen in the logarithm


def fold(gathers: Float[Array, "n_shots nt n_receivers"], rows: int) -> Float[Array, "channels rows n_receivers"]:
    """Cut time into equal shares, one below the other; the samples of a share, of each shot, are channels.

    Channel `i * share + k` at row j is sample `j * share + k` of shot i; share = ceil(nt / rows), silence at the end.

    Args:
        gathers: Gathers `(n_shots, nt, n_receivers)`.
        rows: Number of shares.

    Returns:
        Folded gathers `(n_shots * share, rows, n_receivers)`.
    """
    shots, nt, receivers = gathers.shape
    share = -(-nt // rows)
    padded = jnp.pad(gathers, ((0, 0), (0, rows * share - nt), (0, 0)))
    return padded.reshape(shots, rows, share, receivers).swapaxes(1, 2).reshape(shots * share, rows, receivers)


def spread(cells: int, at: Float[np.ndarray, " n_receivers"] | Int[np.ndarray, " n_receivers"]) -> np.ndarray:
    """Make the matrix that interpolates from receivers to all cells; constant beyond the outermost ones.

    Args:
        cells: Number of cells along the surface.
        at: Places of the receivers, which ascend, `(n_receivers,)` [cells].

    Returns:
        Weights `(n_receivers, cells)` of linear interpolation.
    """
    return np.stack([np.interp(np.arange(cells), at, row) for row in np.eye(len(at))])


@dataclass(frozen=True)
class FoldedGathers:
    """Show the gathers, folded; the medium is the logarithm of their peak, the baseline a constant model.

    Attributes:
        spec: Description of the data set.
    """

    spec: DataSpec

    settings: ClassVar[type[EncodingConfig]] = NoneConfig
    inputs: ClassVar[tuple[str, ...]] = ("gathers",)
    target: ClassVar[str] = "velocities"
    media = 1

    @classmethod
    def create(cls, spec: DataSpec, config: EncodingConfig) -> "FoldedGathers":
        """See `RegisteredEncoding.create`."""
        return cls(spec)

    @property
    def channels(self) -> int:
        """Shots times samples of a share."""
        return self.spec.shots.count * -(-len(stored_steps(self.spec)) // self.spec.simulation.grid.shape[0])

    def __call__(self, gathers: Float[Array, "n_shots nt n_receivers"]) -> Encoded:
        """Encode one example.

        Args:
            gathers: Gathers `(n_shots, nt, n_receivers)` of all shots.

        Returns:
            Input of the operator, and the field that it corrects.
        """
        nz, nx = self.spec.simulation.grid.shape
        peak = jnp.maximum(jnp.max(jnp.abs(gathers)), jnp.finfo(gathers.dtype).tiny)
        medium = jnp.broadcast_to(jnp.log(peak), (1, nz, nx))
        fields = fold(self.scale(gathers, peak), nz) @ jnp.asarray(
            spread(nx, self.spec.receiver_columns), gathers.dtype
        )
        return Encoded(medium, fields, jnp.full((1, nz, nx), middle(self.spec), gathers.dtype))

    def scale(
        self, gathers: Float[Array, "n_shots nt n_receivers"], peak: Float[Array, ""]
    ) -> Float[Array, "n_shots nt n_receivers"]:
        """Scale the amplitudes of gathers: not at all.

        Args:
            gathers: Gathers `(n_shots, nt, n_receivers)`.
            peak: Largest amplitude of the record.

        Returns:
            Scaled gathers `(n_shots, nt, n_receivers)`.
        """
        return gathers


@dataclass(frozen=True)
class LogFoldedGathers(FoldedGathers):
    """Show each amplitude as sign(d) log(1 + 1000 |d|), d relative to the record's peak.

    Reflections are a hundred times weaker than the direct wave. As the peak is the medium, no information is lost.
    """

    settings: ClassVar[type[EncodingConfig]] = LogConfig

    def scale(
        self, gathers: Float[Array, "n_shots nt n_receivers"], peak: Float[Array, ""]
    ) -> Float[Array, "n_shots nt n_receivers"]:
        """See `FoldedGathers.scale`."""
        return jnp.sign(gathers) * jnp.log1p(STRETCH * jnp.abs(gathers) / peak)


def middle(spec: DataSpec) -> float:
    """Return the velocity half-way between the slowest and the fastest that a model can have.

    Args:
        spec: Description of the data set.

    Returns:
        Velocity [m/s].
    """
    return (spec.slowest + spec.mixture.max_velocity) / 2
