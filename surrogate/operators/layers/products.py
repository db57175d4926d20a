"""Project the features h of a body, and their products with local features of the operator's input x.

    u = P h + Q (gate(h) local(x)) + b
      = sum_t f_t(h) x_t + f_0(h),    f_t(h) = sum_p Q_p K_tp gate_p(h),    f_0(h) = P h + b + sum_p Q_p k_p gate_p(h)

in each cell. x_t are the channels of a cell and of its 8 neighbors, p numbers the products, and K and k are kernel and
bias of the 3x3 convolution `local`. So the products are a 3x3 filter of the input, whose weights are linear in h.
Both are the same function. The filters are the cheaper way to compute it where inputs and outputs have few channels:
this projection of a gather, of one channel and fed with four, takes half to a sixth of the time, its gradients a
quarter (on a CPU, with and without barriers in the other form). `spread`, which maps the features of a block
to its cells, is linear, too, and then part of the filters: the features of single cells are never computed.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from surrogate.operators.layers.patches import fold, to_whole_blocks, unfold
from surrogate.operators.layers.pointwise import Linear, conv3x3


def neighbors(x: Float[Array, "batch nz nx channels"], *, periodic: bool) -> list[Float[Array, "batch nz nx channels"]]:
    """Shift a field so that each cell sees one of its neighbors.

    Args:
        x: Field `(batch, nz, nx, channels)`.
        periodic: Whether the grid wraps around; otherwise zeros surround it.

    Returns:
        The 9 fields `(batch, nz, nx, channels)`, in the order of a kernel's rows.
    """
    nz, nx = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap" if periodic else "constant")
    return [x[:, i : i + nz, j : j + nx] for i in range(3) for j in range(3)]


class Products(nnx.Module):
    """Hold the layers of the products gate(h) * local(x): (width + 1) products + (9 in_channels + 1) products weights.

    Args:
        in_channels: Number of channels of the operator's input.
        width: Number of features of the body.
        products: Number of products.
        periodic: Whether the domain is a periodic box.
        rngs: Source of the initial weights.
    """

    def __init__(self, in_channels: int, width: int, products: int, *, periodic: bool, rngs: nnx.Rngs):
        self.periodic = periodic
        self.gate = Linear(width, products, rngs=rngs)
        self.local = conv3x3(in_channels, products, periodic=periodic, rngs=rngs)

    def __call__(
        self, h: Float[Array, "many nz nx width"], x: Float[Array, "batch nz nx channels"]
    ) -> Float[Array, "many nz nx products"]:
        """Multiply the gated features of the body by local features of the input.

        Args:
            h: Features of the body `(many, nz, nx, width)`, with many a multiple of batch.
            x: Input of the operator `(batch, nz, nx, channels)`.

        Returns:
            The products `(many, nz, nx, products)`.
        """
        return self.gate(h) * _for_each_output(self.local(x), h)


@dataclass(frozen=True, eq=False)
class Projection:
    """Compute u(h, x) by the module's equations; it holds no weights of its own.

    Attributes:
        project: Layer with the weights P and Q, one after the other, and b.
        products: Layers of the products; None for none.
        spread: Layer that maps the features of a block to those of its cells; None without blocks.
        patch: Side of a block [cells].
    """

    project: Linear
    products: Products | None
    spread: Linear | None
    patch: int

    def __call__(
        self, h: Float[Array, "many mz mx width"], x: Float[Array, "batch nz nx channels"]
    ) -> Float[Array, "many nz nx outputs"]:
        """Project, in the cheaper way.

        Args:
            h: Features of the body `(many, nz / patch, nx / patch, width)`, rounded up, with many a multiple of batch.
            x: Input of the operator `(batch, nz, nx, channels)`.

        Returns:
            Output `(many, nz, nx, outputs)`.
        """
        # On a CPU a multiplication of the filters takes twice the time of one of the products, of larger matrices.
        if self.products and 2 * self._multiplications_of_filters() < self._multiplications_of_products():
            return self._by_filters(h, x)
        return self._by_products(h, x)

    def _by_products(
        self, h: Float[Array, "many mz mx width"], x: Float[Array, "batch nz nx channels"]
    ) -> Float[Array, "many nz nx outputs"]:
        """Project the features of each cell and their products; see `__call__`."""
        if self.spread:
            h = unfold(self.spread(h), self.patch)[:, : x.shape[1], : x.shape[2]]
        if self.products is None:
            return self.project(h)
        # Both parts by themselves, and written to memory where the program is compiled with `compiler_options`: joined
        # they took up to four times as long on a CPU.
        kernel, width = self.project.kernel[...], h.shape[-1]
        h = lax.optimization_barrier(h)
        products = lax.optimization_barrier(self.products(h, x))
        return h @ kernel[:width] + products @ kernel[width:] + _bias_of(self.project)

    def _by_filters(
        self, h: Float[Array, "many mz mx width"], x: Float[Array, "batch nz nx channels"]
    ) -> Float[Array, "many nz nx outputs"]:
        """Filter the input; see `__call__`."""
        assert self.products is not None
        weights, constants = self._filters()  # of the features of a cell
        taps, outputs = weights.shape[1:]
        cells = 1
        if self.spread:  # of those of a block
            cells, width = self.patch**2, h.shape[-1]
            each = self.spread.kernel[...].reshape(width, cells, width)
            constants = jnp.einsum("cv,vto->cto", _bias_of(self.spread).reshape(cells, width), weights) + constants
            weights = jnp.einsum("wcv,vto->wcto", each, weights)
        filters = h.reshape(-1, h.shape[-1]) @ weights.reshape(h.shape[-1], -1) + constants.reshape(-1)
        filters = filters.reshape(*h.shape[:3], cells, taps, outputs)
        # Each neighbor is folded by itself: joined before, the gradient by x takes three times as long on a CPU.
        blocks = [
            fold(to_whole_blocks(shifted, self.patch), self.patch).reshape(*shifted.shape[:1], *h.shape[1:3], cells, -1)
            for shifted in neighbors(x, periodic=self.products.periodic)
        ]
        near = jnp.stack(blocks, axis=-2).reshape(*blocks[0].shape[:4], taps - 1)
        near = _for_each_output(near, h)
        u = jnp.einsum("bijct,bijcto->bijco", near, filters[..., :-1, :]) + filters[..., -1, :]
        return unfold(u.reshape(*h.shape[:3], -1), self.patch)[:, : x.shape[1], : x.shape[2]]

    def _filters(self) -> tuple[Float[Array, "width taps outputs"], Float[Array, "taps outputs"]]:
        """Compute the weights of f_t, f_0 the last one, and their constant parts."""
        assert self.products is not None
        kernel, gate = self.project.kernel[...], self.products.gate
        width = len(kernel) - gate.out_features
        local = self.products.local.kernel[...].reshape(-1, gate.out_features)
        taps = jnp.concatenate([local, _bias_of(self.products.local)[None]])
        weights = jnp.einsum("wp,tp,po->wto", gate.kernel[...], taps, kernel[width:])
        constants = jnp.einsum("p,tp,po->to", _bias_of(gate), taps, kernel[width:])
        own = jnp.zeros((len(taps), 1), kernel.dtype).at[-1].set(1)  # P and b belong to f_0
        return weights + own * kernel[:width, None], constants + own * _bias_of(self.project)

    def _multiplications_of_products(self) -> int:
        """Count those of a cell."""
        assert self.products is not None
        width, products = self.products.gate.in_features, self.products.gate.out_features
        local, spread = self.products.local, width**2 if self.spread else 0
        features = spread + width * products + 9 * local.in_features * products + products
        return features + (width + products) * self.project.out_features

    def _multiplications_of_filters(self) -> int:
        """Count those of a cell."""
        assert self.products is not None
        taps = 9 * self.products.local.in_features + 1
        return (self.products.gate.in_features + 1) * taps * self.project.out_features


def _bias_of(layer: nnx.Linear | nnx.Conv) -> Array:
    assert layer.bias is not None
    return layer.bias[...]


def _for_each_output(local: Float[Array, "batch ..."], h: Float[Array, "many ..."]) -> Float[Array, "many ..."]:
    """Repeat what belongs to samples, if an operator runs its body once for each output: many = batch * outputs."""
    return jnp.repeat(local, h.shape[0] // local.shape[0], axis=0)  # an export knows neither size
