"""The projection of features and products is one function in two forms, of which the cheaper one is computed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from surrogate.operators.fno import FNOConfig
from surrogate.operators.layers.pointwise import Linear
from surrogate.operators.layers.products import Products, Projection, neighbors

WIDTH, CHANNELS = 3, 2


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


# As the presets: configs/model/NAME.yaml.
PRESETS = {
    "fno_patch": FNOConfig(width=64, modes=[7, 7], mlp_ratio=2, padding=0.0, patch=4, products=64),
    "fno_reference": FNOConfig(width=32, modes=[16, 16], mlp_ratio=2, padding=0.0, products=128),
}


class Ending(nnx.Module):
    """The layers of a projection, all of them random."""

    def __init__(self, outputs: int, products: int, patch: int, *, periodic: bool, rngs: nnx.Rngs):
        self.patch = patch
        self.products = Products(CHANNELS, WIDTH, products, periodic=periodic, rngs=rngs)
        self.spread = Linear(WIDTH, patch**2 * WIDTH, rngs=rngs) if patch > 1 else None
        self.project = Linear(WIDTH + products, outputs, rngs=rngs)
        layers = [self.products.gate, self.products.local, self.project, *([self.spread] if self.spread else [])]
        for layer in layers:
            layer.bias[...] = jax.random.normal(rngs.params(), layer.bias.shape, layer.bias.dtype)

    def projection(self) -> Projection:
        return Projection(self.project, self.products, self.spread, self.patch)


def case(shape: tuple[int, int], patch: int, periodic: bool, each: int = 1):
    """Layers, features of the body and an input, in double precision."""
    ending = Ending(2, 5, patch, periodic=periodic, rngs=nnx.Rngs(0))
    nnx.update(ending, jax.tree.map(lambda leaf: leaf.astype(float), nnx.state(ending, nnx.Param)))
    random = np.random.default_rng(0)
    blocks = [-(-side // patch) for side in shape]
    h = jnp.asarray(random.normal(size=(2 * each, *blocks, WIDTH)))
    return ending, h, jnp.asarray(random.normal(size=(2, *shape, CHANNELS)))


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(
    ("shape", "patch", "each"), [((5, 6), 1, 1), ((8, 4), 4, 1), ((7, 6), 2, 1), ((5, 6), 1, 3), ((4, 6), 2, 3)]
)
def test_filters_are_the_projected_products(shape, patch, each, periodic):
    """To rounding, in values and in gradients by weights, features and input; also of blocks that are cut off."""
    if periodic and shape == (7, 6):
        pytest.skip("a periodic box is a whole number of blocks")
    ending, h, x = case(shape, patch, periodic, each=each)
    graph, state = nnx.split(ending)
    target = np.random.default_rng(1).normal(size=(2 * each, *shape, 2))

    def misfit(form):
        def of(state, h, x):
            found = getattr(nnx.merge(graph, state).projection(), form)(h, x)
            return jnp.sum((found - target) ** 2), found

        return jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2), has_aux=True))(state, h, x)

    (_, one), slopes = misfit("_by_products")
    (_, other), their_slopes = misfit("_by_filters")
    np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(jax.tree.leaves(slopes), jax.tree.leaves(their_slopes), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-11, atol=1e-11 * float(jnp.max(jnp.abs(mine))))


@pytest.mark.parametrize("periodic", [False, True])
def test_a_convolution_weighs_neighbors(periodic):
    ending, _, x = case((5, 6), 1, periodic)
    local: Any = ending.products.local
    near = jnp.concatenate(neighbors(x, periodic=periodic), axis=-1)
    weighed = near @ local.kernel[...].reshape(-1, 5) + local.bias[...]
    np.testing.assert_allclose(weighed, local(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "channels", "outputs", "cheaper"),
    [
        ("fno_patch", 4, 1, "_by_filters"),
        ("fno_reference", 4, 1, "_by_filters"),
        ("fno_patch", 10, 8, "_by_products"),
        ("fno_reference", 10, 8, "_by_products"),
    ],
)
def test_the_cheaper_form_is_computed(name, channels, outputs, cheaper, monkeypatch):
    """Few channels: filters, which need fewer multiplications by XLA's own count, too. Many: products."""
    config = PRESETS[name]
    operator = config.create(channels, outputs, rngs=nnx.Rngs(0))
    projection = Projection(operator.project, operator.products, operator.spread, operator.patch)
    h = jnp.zeros((1, 64 // operator.patch, 64 // operator.patch, config.width))
    x = jnp.zeros((1, 64, 64, channels))

    def flops_of(form: str) -> float:
        counted: Any = jax.jit(getattr(projection, form)).lower(h, x).compile().cost_analysis()
        return counted["flops"]

    flops = {form: flops_of(form) for form in ("_by_products", "_by_filters")}
    assert min(flops, key=flops.__getitem__) == cheaper
    called = []
    for form in flops:
        monkeypatch.setattr(Projection, form, lambda self, h, x, form=form: called.append(form) or x)
    projection(h, x)
    assert called == [cheaper]
