"""Families of velocity models: one file each, pure functions of `(key, grid)`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from data_gen.errors import InputError
from data_gen.grid import Grid
from data_gen.velocity.faulted_layers import FaultedLayers
from data_gen.velocity.gaussian_random_field import GaussianRandomField
from data_gen.velocity.inclusions import Inclusions

Family = GaussianRandomField | FaultedLayers | Inclusions

FAMILIES: dict[str, type[Family]] = {
    "gaussian_random_field": GaussianRandomField,
    "faulted_layers": FaultedLayers,
    "inclusions": Inclusions,
}


@dataclass(frozen=True)
class Mixture:
    """Draws a family by weight, then a model from it."""

    families: tuple[Family, ...]
    weights: tuple[float, ...]

    @property
    def max_velocity(self) -> float:
        """The largest velocity any family can produce [m/s]."""
        return max(family.max_velocity for family in self.families)

    @property
    def min_velocity(self) -> float:
        """The smallest velocity any family can produce [m/s]."""
        return min(family.min_velocity for family in self.families)

    def __call__(self, key: Key[Array, ""], grid: Grid) -> tuple[Float[Array, "nz nx"], Int[Array, ""]]:
        """A model `(nz, nx)` [m/s] and the index of its family."""
        choice_key, model_key = jax.random.split(key)
        choice = jax.random.choice(choice_key, len(self.families), p=jnp.array(self.weights))
        model = jax.lax.switch(choice, [lambda k, f=f: f(k, grid) for f in self.families], model_key)
        return model, choice


def make_mixture(config: Mapping[str, Mapping]) -> Mixture:
    """A mixture from `{family: {weight: ..., parameter: ...}}`.

    Raises `InputError` for an unknown family or parameter, weights that are not positive or an empty range.
    """
    families, weights = [], []
    for name, options in config.items():
        options = dict(options or {})
        weight = float(options.pop("weight", 1.0))
        if name not in FAMILIES:
            raise InputError(f"Unknown family of velocity models {name!r}: choose from {', '.join(FAMILIES)}.")
        known: dict[str, Callable[[Any], Any]] = {field.name: type(field.default) for field in fields(FAMILIES[name])}
        if unknown := set(options) - set(known):
            raise InputError(f"Unknown {name} parameters {sorted(unknown)}: it takes weight, {', '.join(known)}.")
        if weight < 0:
            raise InputError(f"The weight of family {name} must not be negative, but is {weight}.")
        if weight == 0:
            continue
        try:
            family = FAMILIES[name](**{key: known[key](value) for key, value in options.items()})
        except (TypeError, ValueError) as error:
            raise InputError(f"The parameters of family {name} must be numbers, but are {options}.") from error
        if not 0 < family.min_velocity < family.max_velocity:
            raise InputError(
                f"Family {name} needs 0 < min_velocity < max_velocity in m/s, "
                f"but got {family.min_velocity} and {family.max_velocity}."
            )
        if family.max_velocity < 20:
            raise InputError(
                f"Family {name} spans {family.min_velocity:g} to {family.max_velocity:g}, which looks like km/s. "
                "Metres per second are meant: multiply by 1000."
            )
        families.append(family)
        weights.append(weight)
    if not families:
        raise InputError(f"At least one family of positive weight is needed: choose from {', '.join(FAMILIES)}.")
    total = sum(weights)
    return Mixture(tuple(families), tuple(weight / total for weight in weights))
