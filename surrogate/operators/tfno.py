"""Tensorized Fourier neural operator: the spectral weights are a low-rank tensor.

    Tucker   R[p,j,k,c,d] = sum G[p,q,r,s,t] Z[j,q] X[k,r] C[c,s] D[d,t]
    CP       R[p,j,k,c,d] = sum over q of P[p,q] Z[j,q] X[k,q] C[c,q] D[d,q]

The index p selects the real or the imaginary part, j and k the mode along z and x, c and d the input and output
channel. As a real tensor of order five, the weights need no complex factor. Tucker's core does not compress p: at
rank 1 every dense weight has a Tucker form.

Source: J. Kossaifi et al., "Multi-grid tensorized Fourier neural operator for high-resolution PDEs", TMLR 2024.

Parameters: those of fno.py with, for N = (2 modes_z + 1, modes_x + 1, w, w),
S = 2 prod(r_i) + sum(r_i N_i), r_i = max(1, round(rank^(1/4) N_i))  (Tucker: the core is `rank` of the dense tensor);
S = R (2 + sum(N_i)), R = max(1, round(2 rank prod(N_i) / (2 + sum(N_i))))  (CP: S is `rank` of the dense tensor).
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_gen.common.ranges import ranged
from surrogate.operators.fno import FNOConfig
from surrogate.operators.layers.dft import EXACT
from surrogate.operators.layers.spectral import Pair, SpectralMap

FACTORIZATION_NAMES = ("tucker", "cp")


@dataclass
class TFNOConfig(FNOConfig):
    """Describe a tensorized Fourier neural operator; see `FourierConfig` for the other fields.

    Attributes:
        name: Name of the operator in the registry.
        factorization: Form of the spectral weights: tucker or cp.
        rank: Size of the compressed spectral weights (tucker: of their core), as a fraction (0 to 1) of the dense ones.
    """

    name: str = "tfno"
    factorization: str = ranged("tucker", FACTORIZATION_NAMES)
    rank: float = ranged(0.1, "(0, 1]")

    def spectral_layer(self, rngs: nnx.Rngs) -> nnx.Module:
        """See `FourierConfig.spectral_layer`."""
        modes = (self.modes[0], self.modes[1])
        return FACTORIZATIONS[self.factorization](self.width, modes, self.rank, rngs=rngs)


def _sizes(width: int, modes: tuple[int, int]) -> tuple[int, int, int, int]:
    return 2 * modes[0] + 1, modes[1] + 1, width, width


class FactorizedMap(SpectralMap):
    """Hold weights that have a factor for each axis of modes."""

    def wavenumbers(self) -> dict[str, tuple[np.ndarray, ...]]:
        """See `SpectralLayer.wavenumbers`: a mode is off if its row of a factor is zero."""
        z, x = self.mode_axes()
        return {"modes_z": (z,), "modes_x": (x,)}


class TuckerConv(FactorizedMap):
    """Apply weights in Tucker form.

    Args:
        width: Number of channels.
        modes: Largest modes kept along z and x.
        rank: Size of the core, as a fraction of the dense weights.
        rngs: Source of the initial weights.
    """

    def __init__(self, width: int, modes: tuple[int, int], rank: float, *, rngs: nnx.Rngs):
        self.modes = modes
        sizes = _sizes(width, modes)
        ranks = [max(1, round(rank**0.25 * size)) for size in sizes]
        # With factors of variance 1 / rank the weights have the variance of the core: that of dense weights.
        core = jax.random.normal(rngs.params(), (2, *ranks)) / np.sqrt(2 * width)
        self.core = nnx.Param(core)
        self.modes_z, self.modes_x, self.inputs, self.outputs = (
            nnx.Param(jax.random.normal(rngs.params(), (size, r)) / np.sqrt(r))
            for size, r in zip(sizes, ranks, strict=True)
        )

    def weights(self) -> Pair:
        """See `SpectralMap.weights`."""
        factors = (self.modes_z[...], self.modes_x[...], self.inputs[...], self.outputs[...])
        real, imaginary = jnp.einsum("pqrst,jq,kr,cs,dt->pjkcd", self.core[...], *factors, precision=EXACT)
        return real, imaginary


class CPConv(FactorizedMap):
    """Apply weights that are a sum of products of vectors (canonical polyadic form).

    Args:
        width: Number of channels.
        modes: Largest modes kept along z and x.
        rank: Number of weights, as a fraction of the dense ones.
        rngs: Source of the initial weights.
    """

    def __init__(self, width: int, modes: tuple[int, int], rank: float, *, rngs: nnx.Rngs):
        self.modes = modes
        sizes = (2, *_sizes(width, modes))
        terms = max(1, round(rank * int(np.prod(sizes)) / sum(sizes)))
        # Five factors and the sum over the terms together give the variance of dense weights, 1 / (2 width).
        scale = (2 * width * terms) ** -0.1
        self.parts, self.modes_z, self.modes_x, self.inputs, self.outputs = (
            nnx.Param(scale * jax.random.normal(rngs.params(), (size, terms))) for size in sizes
        )

    def weights(self) -> Pair:
        """See `SpectralMap.weights`."""
        factors = (self.parts, self.modes_z, self.modes_x, self.inputs, self.outputs)
        real, imaginary = jnp.einsum("pq,jq,kq,cq,dq->pjkcd", *(factor[...] for factor in factors), precision=EXACT)
        return real, imaginary


FACTORIZATIONS: dict[str, Callable[..., nnx.Module]] = {"tucker": TuckerConv, "cp": CPConv}
