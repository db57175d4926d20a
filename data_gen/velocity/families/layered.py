"""Flat or curved layers, whole or cut by faults: eight of the ten shapes of OpenFWI.

The model is read from the bottom up, as the earth wrote it: a point is carried back through the faults, youngest
first, each moving the block on one side along its line; then the folds are undone; the depth that remains says in
which layer the point was laid down. So all layers share one fold, and older faults are offset by younger ones.

Source: Deng et al., OpenFWI (NeurIPS 2022): layers of constant velocity in 1500-4500 m/s, flat or along a curve, whole
or cut by faults, each in an easy variant A, where velocity grows with depth, and a hard variant B, in random order.
Regenerated from that description; the numbers beyond it (how many layers and faults, how far they move), in the
presets of `data_gen.velocity.registry`, are ours.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.reproducible import isolated


@dataclass(frozen=True)
class Layered:
    """min_velocity, max_velocity [m/s]; min_layers, max_layers; ordered: velocity grows with depth, else in any order;

    contrast: least difference between any two layers [m/s]; thinnest: least thickness of a layer, as a fraction of
    the depth; curved: folded, with heights of up to `fold` of the depth; min_faults, max_faults; throw: largest
    vertical shift along a fault, as a fraction of the depth (the least is a third of it).
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

    @isolated
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """One model `(nz, nx)` [m/s]."""
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
    """Depth and distance of the cell centres in units of the model's depth."""
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
    """Where each point `(z, x)` lay before the faults moved it. Faults stand 10 to 40 degrees off the vertical."""
    number_key, draw_key = jax.random.split(key)
    number = jax.random.randint(number_key, (), count[0], count[1] + 1)
    # One draw for all: each call of a random function is compiled anew.
    draws = jax.random.uniform(draw_key, (count[1], 5))
    for i, (across, down, steepness, side, signed) in enumerate(draws):
        crossing, middle = width * (0.25 + 0.5 * across), 0.4 + 0.2 * down
        slope = jnp.tan(jnp.deg2rad(10 + 30 * steepness)) * jnp.where(side < 0.5, -1.0, 1.0)
        shift = throw * jnp.where(signed < 0.5, -1.0, 1.0) * (1 + 2 * jnp.abs(2 * signed - 1)) / 3
        moved = (x > crossing + slope * (z - middle)) & (i < number)
        z, x = z + jnp.where(moved, shift, 0.0), x + jnp.where(moved, shift * slope, 0.0)
    return z, x


def fold(key: Key[Array, ""], x: Float[Array, "nz nx"], width: float, height: float) -> Float[Array, "nz nx"]:
    """Upward shift of the layers at x: a long wave of half to one and a half periods, and a shorter one."""
    keys = jax.random.split(key, 3)
    periods = jnp.array([0.5, 1.5]) + jax.random.uniform(keys[0], (2,)) * jnp.array([1.0, 1.5])
    phases = jax.random.uniform(keys[1], (2,), maxval=2 * jnp.pi)
    heights = height * jnp.array([0.8, 0.2]) * jax.random.uniform(keys[2], (2,), minval=0.4)
    angle = 2 * jnp.pi * periods * x[..., None] / width + phases
    return jnp.sum(heights * jnp.sin(angle), axis=-1)


def layer_tops(key: Key[Array, ""], count: Int[Array, ""], most: int, thinnest: float) -> Float[Array, "most"]:
    """Depth of each layer's top in units of the model's depth, the first at minus infinity, infinite beyond `count`."""
    share = jnp.where(jnp.arange(most) < count, jax.random.uniform(key, (most,), minval=0.2), 0.0)
    share = share / jnp.sum(share)
    thickness = thinnest + (1 - thinnest * count) * share
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
    """Velocity of each layer [m/s], any two of the first `count` at least `contrast` apart."""
    draw_key, order_key = jax.random.split(key)
    present = jnp.arange(most) < count
    draws = jnp.sort(jnp.where(present, jax.random.uniform(draw_key, (most,)), jnp.inf))
    spread = bounds[1] - bounds[0] - (count - 1) * contrast
    velocities = bounds[0] + jnp.where(present, spread * draws + jnp.arange(most) * contrast, 0.0)
    if not ordered:
        velocities = velocities[jnp.argsort(jnp.where(present, jax.random.uniform(order_key, (most,)), jnp.inf))]
    return jnp.clip(velocities, *bounds)


def fill(depth: Float[Array, "nz nx"], tops: Float[Array, "n"], values: Float[Array, "n"]) -> Float[Array, "nz nx"]:
    """The value of the layer in which each depth falls."""
    return values[jnp.sum(depth[..., None] > tops[1:], axis=-1)]
