"""Several families of velocity models, each drawn as often as its weight says."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.reproducible import isolated


@runtime_checkable
class Family(Protocol):
    """A frozen, hashable recipe: a pure function of `(key, grid)`, and the range of velocities it keeps to [m/s]."""

    @property
    def min_velocity(self) -> float: ...

    @property
    def max_velocity(self) -> float: ...

    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]: ...


@dataclass(frozen=True)
class Mixture:
    """Draws a family by weight, then a model from it. names: what the config calls each family."""

    families: tuple[Family, ...]
    weights: tuple[float, ...]
    names: tuple[str, ...]

    @property
    def max_velocity(self) -> float:
        """The largest velocity any family can produce [m/s]."""
        return max(family.max_velocity for family in self.families)

    @property
    def min_velocity(self) -> float:
        """The smallest velocity any family can produce [m/s]."""
        return min(family.min_velocity for family in self.families)

    @isolated
    def __call__(self, key: Key[Array, ""], grid: Grid) -> tuple[Float[Array, "nz nx"], Int[Array, ""]]:
        """A model `(nz, nx)` [m/s] and the index of its family; only the chosen family draws, under vmap too."""
        choice_key, model_key = jax.random.split(key)
        choice = jax.random.choice(choice_key, len(self.families), p=jnp.array(self.weights))
        model = jax.lax.switch(choice, [lambda k, f=f: f(k, grid) for f in self.families], model_key)
        return model, choice
