"""Draw flat or curved layers, with or without faults: eight of the ten shapes of OpenFWI.

Geological history is undone in reverse order. Each point is moved back through the faults, the youngest first; a fault
moves the block on one side along its line. Then the folds are undone. The depth that remains tells in which layer the
point was deposited. All layers therefore share one fold, and younger faults offset older ones.

Source: Deng et al., OpenFWI (NeurIPS 2022): layers of constant velocity in 1500-4500 m/s, flat or along a curve, with
or without faults, each in an easy variant A, where velocity grows with depth, and a hard variant B, in random order.
The models are regenerated from that description. Numbers that it does not give (how many layers and faults, how far
the faults move) are the presets of `data_gen.velocity.registry`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.reproducible import reproducible


@dataclass(frozen=True)
class Layered:
    """Draw layers of constant velocity, optionally folded and faulted.

    Attributes:
        min_velocity: Smallest velocity [m/s].
        max_velocity: Largest velocity [m/s].
        min_layers: Smallest number of layers, at least 1.
        max_layers: Largest number of layers.
        ordered: Whether velocity grows with depth; otherwise the layers are in random order.
        contrast: Smallest difference of velocity between any two layers [m/s].
        thinnest: Smallest thickness of a layer, as a fraction of the model's depth.
        curved: Whether to fold the layers.
        fold: Largest height of a fold, as a fraction of the model's depth; used if `curved`.
        min_faults: Smallest number of faults, at least 0.
        max_faults: Largest number of faults.
        throw: Largest vertical shift along a fault, as a fraction of the model's depth; the smallest is a third of it.
    """

    min_velocity: float = 1500.0
    max_velocity: float = 4500.0
    min_layers: int = 2
    max_layers: int = 5
    ordered: bool = True
    contrast: float = 100.0
    thinnest: float = 0.06
    curved: bool = False
    fold: float = 0.12
    min_faults: int = 0
    max_faults: int = 0
    throw: float = 0.25

    def __post_init__(self):
        if not (1 <= self.min_layers <= self.max_layers and 0 <= self.min_faults <= self.max_faults):
            raise InputError(
                "Layers and faults are counted from min to max, at least one layer and no fault, but got "
                f"{self.min_layers} to {self.max_layers} layers and {self.min_faults} to {self.max_faults} faults."
            )
        span = self.max_velocity - self.min_velocity
        if (self.max_layers - 1) * self.contrast >= span or self.max_layers * self.thinnest >= 1:
            raise InputError(
                f"{self.max_layers} layers of at least {self.thinnest:g} of the depth, {self.contrast:g} m/s apart, do "
                f"not fit into the depth and a range of {span:g} m/s: lower max_layers, thinnest or contrast."
            )

    @reproducible
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """Draw one model. See `Family.__call__`."""
        fault_key, fold_key, count_key, depth_key, velocity_key = jax.random.split(key, 5)
        z, x = unit_coordinates(grid)
        width = grid.shape[1] / grid.shape[0]
        z, x = undo_faults(fault_key, z, x, width, (self.min_faults, self.max_faults), self.throw)
        if self.curved:
            z = z + fold(fold_key, x, width, self.fold)
        count = jax.random.randint(count_key, (), self.min_layers, self.max_layers + 1)
        tops = layer_tops(depth_key, count, self.max_layers, self.thinnest)
        velocities = layer_velocities(
            velocity_key, count, self.max_layers, (self.min_velocity, self.max_velocity), self.contrast, self.ordered
        )
        return fill(z, tops, velocities)


def unit_coordinates(grid: Grid) -> tuple[Float[Array, "nz nx"], Float[Array, "nz nx"]]:
    """Compute the coordinates of the cell centers in units of the model's depth.

    Args:
        grid: The grid `(nz, nx)`.

    Returns:
        Depth and distance of every cell center, each `(nz, nx)`.
    """
    nz, nx = grid.shape
    z, x = jnp.meshgrid((jnp.arange(nz) + 0.5) / nz, (jnp.arange(nx) + 0.5) / nz, indexing="ij")
    return z, x


def undo_faults(
    key: Key[Array, ""],
    z: Float[Array, "nz nx"],
    x: Float[Array, "nz nx"],
    width: float,
    count: tuple[int, int],
    throw: float,
) -> tuple[Float[Array, "nz nx"], Float[Array, "nz nx"]]:
    """Compute where each point lay before the faults moved it.

    Faults are drawn at 10 to 40 degrees from the vertical. Lengths are in units of the model's depth.

    Args:
        key: Random key of all faults.
        z: Depth of each point `(nz, nx)`.
        x: Distance of each point `(nz, nx)`.
        width: Width of the model.
        count: Smallest and largest number of faults.
        throw: Largest vertical shift along a fault.

    Returns:
        Depth and distance of each point before faulting, each `(nz, nx)`.
    """
    number_key, draw_key = jax.random.split(key)
    number = jax.random.randint(number_key, (), count[0], count[1] + 1)
    # All numbers are drawn at once: each call of a random function is compiled separately.
    draws = jax.random.uniform(draw_key, (count[1], 5))
    for i, (across, down, steepness, side, signed) in enumerate(draws):
        crossing, middle = width * (0.25 + 0.5 * across), 0.4 + 0.2 * down
        slope = jnp.tan(jnp.deg2rad(10 + 30 * steepness)) * jnp.where(side < 0.5, -1.0, 1.0)
        shift = throw * jnp.where(signed < 0.5, -1.0, 1.0) * (1 + 2 * jnp.abs(2 * signed - 1)) / 3
        moved = (x > crossing + slope * (z - middle)) & (i < number)
        z, x = z + jnp.where(moved, shift, 0.0), x + jnp.where(moved, shift * slope, 0.0)
    return z, x


def fold(key: Key[Array, ""], x: Float[Array, "nz nx"], width: float, height: float) -> Float[Array, "nz nx"]:
    """Draw the upward shift of the layers: a long wave of half to one and a half periods, and a shorter one.

    Lengths are in units of the model's depth.

    Args:
        key: Random key of the fold.
        x: Distance of each point `(nz, nx)`.
        width: Width of the model.
        height: Largest height of the fold.

    Returns:
        Shift of each point `(nz, nx)`.
    """
    keys = jax.random.split(key, 3)
    periods = jnp.array([0.5, 1.5]) + jax.random.uniform(keys[0], (2,)) * jnp.array([1.0, 1.5])
    phases = jax.random.uniform(keys[1], (2,), maxval=2 * jnp.pi)
    heights = height * jnp.array([0.8, 0.2]) * jax.random.uniform(keys[2], (2,), minval=0.4)
    angle = 2 * jnp.pi * periods * x[..., None] / width + phases
    return jnp.sum(heights * jnp.sin(angle), axis=-1)


def layer_tops(key: Key[Array, ""], count: Int[Array, ""], most: int, thinnest: float) -> Float[Array, "most"]:
    """Draw the depth of each layer's top in units of the model's depth.

    Args:
        key: Random key of the thicknesses.
        count: Number of layers that are present.
        most: Number of layers in the result, at least `count`.
        thinnest: Smallest thickness of a layer.

    Returns:
        Tops `(most,)`: the first is minus infinity, those after the first `count` are infinity.
    """
    fraction = jnp.where(jnp.arange(most) < count, jax.random.uniform(key, (most,), minval=0.2), 0.0)
    fraction = fraction / jnp.sum(fraction)
    thickness = thinnest + (1 - thinnest * count) * fraction
    bottoms = jnp.cumsum(thickness)
    tops = jnp.concatenate([jnp.array([-jnp.inf]), bottoms[:-1]])
    return jnp.where(jnp.arange(most) < count, tops, jnp.inf)


def layer_velocities(
    key: Key[Array, ""],
    count: Int[Array, ""],
    most: int,
    bounds: tuple[float, float],
    contrast: float,
    ordered: bool,
) -> Float[Array, "most"]:
    """Draw the velocity of each layer.

    Args:
        key: Random key of the velocities.
        count: Number of layers that are present.
        most: Number of layers in the result, at least `count`.
        bounds: Smallest and largest velocity [m/s].
        contrast: Smallest difference between any two of the first `count` layers [m/s].
        ordered: Whether velocity grows with depth; otherwise the layers are in random order.

    Returns:
        Velocities `(most,)` [m/s].
    """
    draw_key, order_key = jax.random.split(key)
    present = jnp.arange(most) < count
    draws = jnp.sort(jnp.where(present, jax.random.uniform(draw_key, (most,)), jnp.inf))
    spread = bounds[1] - bounds[0] - (count - 1) * contrast
    velocities = bounds[0] + jnp.where(present, spread * draws + jnp.arange(most) * contrast, 0.0)
    if not ordered:
        velocities = velocities[jnp.argsort(jnp.where(present, jax.random.uniform(order_key, (most,)), jnp.inf))]
    return jnp.clip(velocities, *bounds)


def fill(depth: Float[Array, "nz nx"], tops: Float[Array, "n"], values: Float[Array, "n"]) -> Float[Array, "nz nx"]:
    """Look up the value of the layer that contains each depth.

    Args:
        depth: Depths `(nz, nx)`, in the unit of `tops`.
        tops: Depth of each layer's top `(n,)`, ascending.
        values: Value of each layer `(n,)`.

    Returns:
        Values `(nz, nx)`.
    """
    return values[jnp.sum(depth[..., None] > tops[1:], axis=-1)]
