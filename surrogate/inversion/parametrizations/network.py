"""Write the change of a model as a small network of the coordinates, which finds long waves before short ones.

    v(z, x) = g( g^-1(v_start) + a N(z, x) ),    N = W_n sin(... sin(W_1 f + b_1) ...) + b_n
    f = cos(K (z, x)), sin(K (z, x)),    K random of standard deviation 1 / length

g is an elementwise parametrization and a an amplitude. The last layer begins with zeros, so that the first model is
the start to the bit. Sources: J. Sun et al., "Implicit seismic full waveform inversion with deep neural
representation", JGR Solid Earth 128 (2023); V. Sitzmann et al. (sines), NeurIPS 2020; M. Tancik et al. (random
features, whose products are a Gaussian of the given length), NeurIPS 2020.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.common.plain import random_seed
from surrogate.inversion.parametrizations.base import ModelSpace
from surrogate.inversion.parametrizations.elementwise import Elementwise, Velocity

FIT_STEPS, FIT_RATE = 1000, 2e-3  # of Adam, where a network is fitted to a model


class SineLayers(nnx.Module):
    """Map features of a point to one number.

    Args:
        features: Number of features.
        width: Width of the hidden layers.
        depth: Number of hidden layers.
        rngs: Random numbers for the weights.
    """

    def __init__(self, features: int, width: int, depth: int, *, rngs: nnx.Rngs):
        sizes = [features, *[width] * depth]
        hidden = [nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)]
        self.hidden = nnx.List(hidden)
        self.last = nnx.Linear(width, 1, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(self, features: Float[Array, "points features"]) -> Float[Array, " points"]:
        """Apply the layers.

        Args:
            features: Features of the points `(points, features)`.

        Returns:
            Values at the points `(points,)`.
        """
        for layer in self.hidden:
            features = jnp.sin(layer(features))
        return self.last(features)[:, 0]


@dataclass(frozen=True, eq=False)
class CoordinateNetwork:
    """Take the weights `(n,)` of a network of the coordinates for the unknowns; see the module.

    Attributes:
        start: Starting model `(nz, nx)` [m/s].
        amplitude: Factor a of the network [m/s].
        inner: Parametrization g.
        weights: Weights whose model is the start `(n,)`.
        network: Function from weights `(n,)` to the values of the network in the cells `(nz, nx)`.
    """

    start: Float[Array, "nz nx"]
    amplitude: float
    inner: Elementwise
    weights: Float[Array, " n"]
    network: Callable[[Any], Any]

    @classmethod
    def create(
        cls,
        space: ModelSpace,
        *,
        length: float,
        amplitude: float | None = None,
        width: int = 64,
        depth: int = 2,
        features: int = 64,
        seed: int = 0,
        inner: Elementwise | None = None,
    ) -> "CoordinateNetwork":
        """Make the network of an inversion.

        Args:
            space: Models of the inversion.
            length: Length over which the first models change [m].
            amplitude: Velocity of a network's value of one [m/s]; None takes a quarter of the range of the bounds.
            width: Width of the hidden layers.
            depth: Number of hidden layers.
            features: Number of random wavenumbers.
            seed: Seed of the weights and wavenumbers.
            inner: Elementwise parametrization; None takes the velocity.

        Returns:
            The parametrization.

        Raises:
            InputError: If the length or a size is not positive, or the seed is none.
        """
        if not 0 < length < np.inf or min(width, depth, features) < 1:
            raise InputError(
                f"A coordinate network needs a positive length in meters and positive sizes, but length = {length}, "
                f"width = {width}, depth = {depth} and features = {features}."
            )
        random_seed(seed, "The seed of a coordinate network")
        nz, nx = space.start.shape
        points = np.stack(np.meshgrid(np.arange(nz), np.arange(nx), indexing="ij"), -1).reshape(-1, 2) * space.spacing
        phases = points @ np.random.default_rng(seed).normal(size=(2, features)) / length
        described = np.concatenate([np.cos(phases), np.sin(phases)], axis=1)
        graph, state = nnx.split(SineLayers(2 * features, width, depth, rngs=nnx.Rngs(seed)))
        weights, restore = ravel_pytree(state)

        def network(weights):
            return nnx.merge(graph, restore(weights))(jnp.asarray(described, weights.dtype)).reshape(nz, nx)

        scale = (space.high - space.low) / 4 if amplitude is None else amplitude
        return cls(space.start, scale, Velocity() if inner is None else inner, weights, network)

    def to_velocity(self, unknown: Float[Array, " n"]) -> Float[Array, "nz nx"]:
        """See `Parametrization.to_velocity`."""
        return self.inner.to_velocity(self.inner.to_unknown(self.start) + self.amplitude * self.network(unknown))

    def to_unknown(self, velocity: Float[Array, "nz nx"]) -> Float[Array, " n"]:
        """See `Parametrization.to_unknown`. Weights are fitted by Adam; for the start, they are the first ones."""
        wanted = (self.inner.to_unknown(velocity) - self.inner.to_unknown(self.start)) / self.amplitude
        optimizer = optax.adam(FIT_RATE)

        def step(carry: Any, _) -> Any:
            weights, state = carry
            slope = jax.grad(lambda weights: jnp.mean((self.network(weights) - wanted) ** 2))(weights)
            updates, state = optimizer.update(slope, state)
            return (optax.apply_updates(weights, updates), state), None

        first = self.weights, optimizer.init(self.weights)
        return jax.lax.scan(step, first, length=FIT_STEPS)[0][0]

    def bounds(
        self, low: Float[Array, "nz nx"], high: Float[Array, "nz nx"]
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """See `Parametrization.bounds`. Weights have none: a sigmoid inside keeps those of the velocity."""
        limit = jnp.full_like(self.weights, jnp.inf)
        return -limit, limit
