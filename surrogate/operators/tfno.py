"""Tensorised Fourier neural operator: spectral weights as a low-rank tensor.

    Tucker   R[p,j,k,c,d] = sum G[p,q,r,s,t] Z[j,q] X[k,r] C[c,s] D[d,t]
    CP       R[p,j,k,c,d] = sum over q of P[p,q] Z[j,q] X[k,q] C[c,q] D[d,q]

p is the real or the imaginary part, j and k the mode along z and x, c and d the input and output channel. Taken as a
real tensor of order five, the weights need no complex factor anywhere, and Tucker's core keeps p whole: at rank 1
every dense weight has a Tucker form.

Source: J. Kossaifi et al., "Multi-grid tensorized Fourier neural operator for high-resolution PDEs", TMLR 2024.

Parameters: those of fno.py with, for N = (2 modes_z + 1, modes_x + 1, w, w),
S = 2 prod(r_i) + sum(r_i N_i), r_i = max(1, round(rank^(1/4) N_i))  (Tucker: the core is `rank` of the dense tensor);
S = R (2 + sum(N_i)), R = max(1, round(2 rank prod(N_i) / (2 + sum(N_i))))  (CP: S is `rank` of the dense tensor).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_gen.common.errors import InputError
from surrogate.operators.fno import FNOConfig
from surrogate.operators.layers.dft import EXACT
from surrogate.operators.layers.spectral import Pair, SpectralMap


@dataclass
class TFNOConfig(FNOConfig):
    """factorisation: tucker or cp. rank: of the spectral weights, as a fraction of the dense tensor's size."""

    name: str = "tfno"
    factorisation: str = "tucker"
    rank: float = 0.1

    def check(self) -> None:
        """Raise `InputError` for values no operator could be made of."""
        super().check()
        if self.factorisation not in FACTORISATIONS or not 0 < self.rank <= 1:
            raise InputError(
                f"A tensorised FNO needs model.factorisation among {', '.join(FACTORISATIONS)} and 0 < model.rank <= "
                f"1, but got {self.factorisation!r} and {self.rank}."
            )

    def spectral_layer(self, rngs: nnx.Rngs) -> nnx.Module:
        """See `FNOConfig`."""
        modes = (self.modes[0], self.modes[1])
        return FACTORISATIONS[self.factorisation](self.width, modes, self.rank, rngs=rngs)


def _sizes(width: int, modes: tuple[int, int]) -> tuple[int, int, int, int]:
    return 2 * modes[0] + 1, modes[1] + 1, width, width


class FactorisedMap(SpectralMap):
    """A map whose weights have a factor for each axis of modes."""

    def wavenumbers(self) -> dict[str, tuple[np.ndarray, ...]]:
        """See `SpectralLayer`: a mode is off when its row of a factor is zero."""
        z, x = self.mode_axes()
        return {"modes_z": (z,), "modes_x": (x,)}


class TuckerConv(FactorisedMap):
    """Weights in Tucker's form."""

    def __init__(self, width: int, modes: tuple[int, int], rank: float, *, rngs: nnx.Rngs):
        self.modes = modes
        sizes = _sizes(width, modes)
        ranks = [max(1, round(rank**0.25 * size)) for size in sizes]
        # Factors of variance 1 / rank leave the core's variance to the weights: that of the dense ones.
        core = jax.random.normal(rngs.params(), (2, *ranks)) / np.sqrt(2 * width)
        self.core = nnx.Param(core)
        self.modes_z, self.modes_x, self.inputs, self.outputs = (
            nnx.Param(jax.random.normal(rngs.params(), (size, r)) / np.sqrt(r))
            for size, r in zip(sizes, ranks, strict=True)
        )

    def weights(self) -> Pair:
        """See `SpectralMap`."""
        factors = (self.modes_z[...], self.modes_x[...], self.inputs[...], self.outputs[...])
        real, imaginary = jnp.einsum("pqrst,jq,kr,cs,dt->pjkcd", self.core[...], *factors, precision=EXACT)
        return real, imaginary


class CPConv(FactorisedMap):
    """Weights as a sum of products of vectors."""

    def __init__(self, width: int, modes: tuple[int, int], rank: float, *, rngs: nnx.Rngs):
        self.modes = modes
        sizes = (2, *_sizes(width, modes))
        terms = max(1, round(rank * int(np.prod(sizes)) / sum(sizes)))
        # Five factors and a sum over the terms: together the variance of the dense weights, 1 / (2 width).
        scale = (2 * width * terms) ** -0.1
        self.parts, self.modes_z, self.modes_x, self.inputs, self.outputs = (
            nnx.Param(scale * jax.random.normal(rngs.params(), (size, terms))) for size in sizes
        )

    def weights(self) -> Pair:
        """See `SpectralMap`."""
        factors = (self.parts, self.modes_z, self.modes_x, self.inputs, self.outputs)
        real, imaginary = jnp.einsum("pq,jq,kq,cq,dq->pjkcd", *(factor[...] for factor in factors), precision=EXACT)
        return real, imaginary


FACTORISATIONS = {"tucker": TuckerConv, "cp": CPConv}
