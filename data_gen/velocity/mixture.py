"""Mix families of velocity models: each is drawn with a probability proportional to its weight."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.reproducible import reproducible


@runtime_checkable
class Family(Protocol):
    """Describe a kind of velocity model: a pure function of `(key, grid)`, frozen and hashable."""

    @property
    def min_velocity(self) -> float:
        """The smallest velocity that the family can produce [m/s]."""
        ...

    @property
    def max_velocity(self) -> float:
        """The largest velocity that the family can produce [m/s]."""
        ...

    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """Draw one model.

        Args:
            key: Random key of the model.
            grid: The grid `(nz, nx)`.

        Returns:
            Velocities `(nz, nx)` [m/s] within `min_velocity` and `max_velocity`.
        """
        ...


@dataclass(frozen=True)
class Mixture:
    """Draw a family by weight, then a model from that family.

    Attributes:
        families: The families.
        weights: Probability of each family; the sum is 1.
        names: Name of each family in the config.
    """

    families: tuple[Family, ...]
    weights: tuple[float, ...]
    names: tuple[str, ...]

    @property
    def max_velocity(self) -> float:
        """The largest velocity that any family can produce [m/s]."""
        return max(family.max_velocity for family in self.families)

    @property
    def min_velocity(self) -> float:
        """The smallest velocity that any family can produce [m/s]."""
        return min(family.min_velocity for family in self.families)

    @reproducible
    def __call__(self, key: Key[Array, ""], grid: Grid) -> tuple[Float[Array, "nz nx"], Int[Array, ""]]:
        """Draw one model; only the chosen family is evaluated, also under `vmap`.

        Args:
            key: Random key of the model.
            grid: The grid `(nz, nx)`.

        Returns:
            Velocities `(nz, nx)` [m/s] and the index of the family.
        """
        choice_key, model_key = jax.random.split(key)
        choice = jax.random.choice(choice_key, len(self.families), p=jnp.array(self.weights))
        model = jax.lax.switch(choice, [lambda k, f=f: f(k, grid) for f in self.families], model_key)
        return model, choice
