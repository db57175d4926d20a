"""Draw the shots that an iteration sees: a batch of them, or all of them summed into a few super-shots.

    batch      shots of even and of odd number are two halves, each in shuffled passes; group k is the next part of half
               k mod 2, and the batch of iteration k is the groups k and k + 1
    encoding   P_e = sum_i s_ei p_i,    s_ei = +-1 by chance, each shot in one super-shot e

Consecutive batches share a group, the control group: its gradient at the new model is known from the iteration before,
so that only the other one is simulated. A pair of L-BFGS is the difference of two gradients of the same shots. With an
optimizer that compares no models (`Optimizer.compares`) batches share nothing.

Both misfits are unbiased: their mean over all draws is the misfit of all shots, and so is that of their gradients. A
group counts by the number of shots of its half over its own, and crosstalk of super-shots has the mean zero,

    mean of (sum_i s_i r_i)^2 = sum_i r_i^2,    r_i = p_i - o_i

A draw depends on the seed, the stage and the iteration only.
Sources: D. P. van Herwaarden et al., Geophysical Journal International 221 (2020), 1427-1438 (batches with a control
group, which here is drawn by chance); J. R. Krebs et al., Geophysics 74 (2009), WCC177-WCC188 (random signs).
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from surrogate.inversion.forward import ForwardModel, PhysicsForward, SelectableForward


class Draw(NamedTuple):
    """Choose shots, or sum them into super-shots. It is a pytree: compiled functions take it as an argument.

    Attributes:
        shots: Numbers of the shots `(n,)`, or of those in each super-shot `(n, m)`.
        signs: Factors of the shots in a super-shot `(n, m)`; None where shots are not summed.
    """

    shots: np.ndarray | Array
    signs: np.ndarray | Array | None = None

    def forward(self, model: ForwardModel) -> ForwardModel:
        """Draw from a forward model.

        Args:
            model: Forward model of all shots.

        Returns:
            That of the draw.
        """
        if self.signs is None:
            assert isinstance(model, SelectableForward)
            return model.select(self.shots)
        assert isinstance(model, PhysicsForward)
        return model.superpose(self.shots, self.signs)

    def data(self, data: Array) -> Array:
        """Draw from the data.

        Args:
            data: Data of all shots `(n_shots, ...)`.

        Returns:
            Data of the draw `(n, ...)`.
        """
        chosen = data[jnp.asarray(self.shots)]
        return (
            chosen if self.signs is None else jnp.einsum("nm,nm...->n...", jnp.asarray(self.signs, data.dtype), chosen)
        )

    def weights(self, weights: Array | None) -> Array | None:
        """Draw from the weights of the data.

        Args:
            weights: Weights of all shots, or None.

        Returns:
            Weights of the draw; those of super-shots are those of any shot.
        """
        if weights is None or len(weights) == 1:
            return weights
        return weights[jnp.asarray(self.shots)] if self.signs is None else weights[:1]


class Group(NamedTuple):
    """Hold a draw that is a term of an iteration's misfit.

    Attributes:
        number: Its number, by which it is known again.
        weight: Factor of its part of the misfit.
        draw: The draw.
    """

    number: int
    weight: float
    draw: Draw

    @property
    def shots(self) -> int:
        """Simulations that one evaluation takes."""
        return len(self.draw.shots)


@runtime_checkable
class Draws(Protocol):
    """Draw for every iteration."""

    def groups(self, iteration: int) -> tuple[Group, ...]:
        """Draw for an iteration.

        Args:
            iteration: Number of the iteration, from 0.

        Returns:
            Groups, whose parts of the misfit add up.
        """
        ...


@dataclass(frozen=True)
class Batches:
    """Draw batches of two groups.

    Attributes:
        seed: Numbers from which draws are made.
        n_shots: Number of shots.
        size: Number of shots in a batch, at least 2.
        shared: Whether a batch shares a group with the next one.
    """

    seed: tuple[int, ...]
    n_shots: int
    size: int
    shared: bool

    def groups(self, iteration: int) -> tuple[Group, ...]:
        """See `Draws.groups`."""
        first = iteration if self.shared else 2 * iteration
        return self._group(first), self._group(first + 1)

    def _group(self, number: int) -> Group:
        parity = number % 2
        half = np.arange(parity, self.n_shots, 2)
        size = (self.size + 1 - parity) // 2
        passes, part = divmod(number // 2, len(half) // size)
        order = np.random.default_rng([*self.seed, parity, passes]).permutation(half)
        return Group(number, len(half) / size, Draw(order[part * size : (part + 1) * size]))


@dataclass(frozen=True)
class Encodings:
    """Draw super-shots.

    Attributes:
        seed: Numbers from which draws are made.
        n_shots: Number of shots.
        count: Number of super-shots.
    """

    seed: tuple[int, ...]
    n_shots: int
    count: int

    def groups(self, iteration: int) -> tuple[Group, ...]:
        """See `Draws.groups`."""
        random = np.random.default_rng([*self.seed, iteration])
        size = self.count * -(-self.n_shots // self.count)
        # Super-shots of unequal length are filled up with silent shots.
        shots, signs = np.zeros(size, int), np.zeros(size)
        shots[: self.n_shots] = random.permutation(self.n_shots)
        signs[: self.n_shots] = random.choice([-1.0, 1.0], self.n_shots)
        by_shot = (-1, self.count)
        return (Group(iteration, 1.0, Draw(shots.reshape(by_shot).T, signs.reshape(by_shot).T)),)
