"""Write the velocity of each cell as an increasing function of one unknown.

    velocity           x = v
    slowness           x = v0 (2 - v0 / v)                     v = v0 / (2 - x / v0)
    squared_slowness   x = v0 (3 - (v0 / v)^2) / 2             v = v0 / sqrt(3 - 2 x / v0)
    log                x = v0 (1 + ln(v / v0))                 v = v0 exp(x / v0 - 1)
    sigmoid            x = c + s / 4 ln((v - low) / (high - v)),    c = (low + high) / 2,  s = high - low

Each unknown is in m/s, and touches x = v: at the reference velocity v0, or at c, a change of x is the same change of v.
So an optimizer's steps in m/s mean what they meant. Slowness and its square are linear functions of the physical
quantity, with a negative slope so that all unknowns increase with velocity; the Hessian is that of the quantity, but
for a factor. As the functions increase, bounds map to bounds. `sigmoid` needs none: it maps every number to a velocity
within them.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.inversion.parametrizations.base import ModelSpace

EDGE = 1e-4  # distance from the bounds that a sigmoid keeps, in parts of their difference: a bound is at infinity


@dataclass(frozen=True)
class Elementwise:
    """Hold what all parametrizations have in common whose unknowns are one in each cell."""

    @classmethod
    def create(cls, space: ModelSpace) -> "Elementwise":
        """Make the parametrization of an inversion.

        Args:
            space: Models of the inversion.

        Returns:
            The parametrization.
        """
        raise NotImplementedError

    def to_velocity(self, unknown: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_velocity`."""
        raise NotImplementedError

    def to_unknown(self, velocity: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_unknown`."""
        raise NotImplementedError

    def bounds(
        self, low: Float[Array, "*cells"], high: Float[Array, "*cells"]
    ) -> tuple[Float[Array, "*cells"], Float[Array, "*cells"]]:
        """See `Parametrization.bounds`."""
        return self.to_unknown(low), self.to_unknown(high)


@dataclass(frozen=True)
class Velocity(Elementwise):
    """Take the velocity itself for the unknown."""

    @classmethod
    def create(cls, space: ModelSpace) -> "Velocity":
        """See `Elementwise.create`."""
        return cls()

    def to_velocity(self, unknown: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_velocity`."""
        return unknown

    def to_unknown(self, velocity: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_unknown`."""
        return velocity


@dataclass(frozen=True)
class Referenced(Elementwise):
    """Hold the velocity at which the unknown and the velocity change alike.

    Attributes:
        reference: Reference velocity v0 [m/s].

    Raises:
        InputError: If it is not positive and finite.
    """

    reference: float

    def __post_init__(self):
        if not 0 < self.reference < math.inf:
            raise InputError(f"A reference velocity must be positive, in m/s, but is {self.reference}.")

    @classmethod
    def create(cls, space: ModelSpace) -> "Referenced":
        """See `Elementwise.create`. The reference is the geometric mean of the bounds."""
        return cls(math.sqrt(space.low * space.high))


@dataclass(frozen=True)
class Slowness(Referenced):
    """Take the slowness for the unknown; see `Referenced` for its field, and the module."""

    def to_velocity(self, unknown: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_velocity`."""
        return self.reference / (2 - unknown / self.reference)

    def to_unknown(self, velocity: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_unknown`."""
        return self.reference * (2 - self.reference / velocity)


@dataclass(frozen=True)
class SquaredSlowness(Referenced):
    """Take the squared slowness for the unknown; see `Referenced` for its field, and the module."""

    def to_velocity(self, unknown: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_velocity`."""
        return self.reference / jnp.sqrt(3 - 2 * unknown / self.reference)

    def to_unknown(self, velocity: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_unknown`."""
        return self.reference * (3 - (self.reference / velocity) ** 2) / 2


@dataclass(frozen=True)
class Log(Referenced):
    """Take the logarithm of the velocity for the unknown; see `Referenced` for its field, and the module."""

    def to_velocity(self, unknown: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_velocity`."""
        return self.reference * jnp.exp(unknown / self.reference - 1)

    def to_unknown(self, velocity: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_unknown`."""
        return self.reference * (1 + jnp.log(velocity / self.reference))


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """Map the whole real line into bounds; see the module.

    Velocities at a bound or beyond it get the unknown of the velocity a ten-thousandth of the range within, since a
    bound itself would be at infinity.

    Attributes:
        low: Lowest velocity [m/s].
        high: Highest velocity [m/s].

    Raises:
        InputError: If they do not ascend.
    """

    low: float
    high: float

    def __post_init__(self):
        if not -math.inf < self.low < self.high < math.inf:
            raise InputError(f"A sigmoid needs bounds that ascend, in m/s, but they are {self.low} and {self.high}.")

    @classmethod
    def create(cls, space: ModelSpace) -> "Sigmoid":
        """See `Elementwise.create`."""
        return cls(space.low, space.high)

    def to_velocity(self, unknown: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_velocity`."""
        center, span = (self.low + self.high) / 2, self.high - self.low
        return self.low + span * jax.nn.sigmoid((unknown - center) * (4 / span))

    def to_unknown(self, velocity: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """See `Parametrization.to_unknown`."""
        center, span = (self.low + self.high) / 2, self.high - self.low
        part = jnp.clip((velocity - self.low) / span, EDGE, 1 - EDGE)
        return center + span / 4 * (jnp.log(part) - jnp.log1p(-part))
