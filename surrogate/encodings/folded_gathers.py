"""Gathers on the grid of the velocity model: time is folded into channels.

Row j of the grid holds the samples of the j-th of nz equal shares of the record, so depth and time run the same way and
a filter sees the samples that come from about the same depth. Receivers stand at their columns.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.dataset.sample import DataSpec
from surrogate.encodings.gather import stored_steps
from surrogate.protocols import Encoded

STRETCH = 1000.0  # of `FoldedGathers`: what is this much weaker than the strongest arrival is still seen


def fold(gathers: Float[Array, "n_shots nt n_receivers"], rows: int) -> Float[Array, "channels rows n_receivers"]:
    """Time in `rows` equal shares, one below the other; the samples of a share, of each shot, are channels.

    Channel `i * share + k` at row j is sample `j * share + k` of shot i; share = ceil(nt / rows), silence at the end.
    """
    shots, nt, receivers = gathers.shape
    share = -(-nt // rows)
    padded = jnp.pad(gathers, ((0, 0), (0, rows * share - nt), (0, 0)))
    return padded.reshape(shots, rows, share, receivers).swapaxes(1, 2).reshape(shots * share, rows, receivers)


def spread(cells: int, every: int) -> np.ndarray:
    """Linear interpolation `(n_receivers, cells)` from receivers at every n-th cell to all; constant at the end."""
    at = np.arange(0, cells, every)
    return np.stack([np.interp(np.arange(cells), at, row) for row in np.eye(len(at))])


@dataclass(frozen=True)
class FoldedGathers:
    """The gathers, folded; the medium is the logarithm of their peak, the baseline a constant model.

    stretched: each as sign(d) log(1 + 1000 |d|), d relative to the record's peak, for reflections are a hundred times
    weaker than the direct wave. With the peak beside it nothing is lost.
    """

    spec: DataSpec
    stretched: bool

    media = 1

    @property
    def channels(self) -> int:
        """Shots times samples of a share."""
        return self.spec.shots.count * -(-len(stored_steps(self.spec)) // self.spec.simulation.grid.shape[0])

    def __call__(self, gathers: Float[Array, "n_shots nt n_receivers"]) -> Encoded:
        """See `Encoding`."""
        nz, nx = self.spec.simulation.grid.shape
        peak = jnp.maximum(jnp.max(jnp.abs(gathers)), jnp.finfo(gathers.dtype).tiny)
        medium = jnp.broadcast_to(jnp.log(peak), (1, nz, nx))
        if self.stretched:
            gathers = jnp.sign(gathers) * jnp.log1p(STRETCH * jnp.abs(gathers) / peak)
        fields = fold(gathers, nz) @ jnp.asarray(spread(nx, self.spec.receiver_every), gathers.dtype)
        return Encoded(medium, fields, jnp.full((1, nz, nx), middle(self.spec), gathers.dtype))


def middle(spec: DataSpec) -> float:
    """The velocity half-way between the slowest and the fastest a model can have [m/s]."""
    return (spec.slowest + spec.mixture.max_velocity) / 2
