"""Invert for density along with velocity: a model of two fields of one unit.

    m = (v, q),    rho = rule(v) q / v0,    v0 = sqrt(low high) of the velocity's bounds

The relative density q [m/s] is the density in parts of the rule's, times a velocity: where q = v0 the rule holds. So a
change of v takes the rule's density along, as in an inversion for velocity alone, and q is what is left of density. At
v = v0 equal changes of v at constant density and of q are equal changes of the impedance rho v, in parts of it: one
step length, one regularizer and one preconditioner serve both. Bounds of q are those of the density's ratio to the
rule; where they are equal, the rule holds everywhere. Source of the dependence on the choice of unknowns: S. Operto et
al., "A guided tour of multiparameter full-waveform inversion with multicomponent data", The Leading Edge 32 (2013).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from math import sqrt

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Shaped

from data_gen.common.errors import InputError
from data_gen.solver.problem.acquisition import real_array
from data_gen.solver.problem.checks import check_inputs
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.forward import ForwardModel, PhysicsForward

ROUNDING = 1e-4  # relative: how far a density may pass a bound


@dataclass(frozen=True, eq=False)
class DensityForward(PhysicsForward):
    """Predict data with the solver from velocity and relative density `(2, nz, nx)`; see the module.

    Attributes:
        reference: Relative density v0 at which the rule `density` holds [m/s].
    """

    reference: float = field(kw_only=True)

    def medium(self, model: Float[Array, "2 nz nx"]) -> tuple[Float[Array, "nz nx"], Float[Array, "nz nx"]]:
        """Return the velocity and the density of a model.

        Args:
            model: Velocity and relative density `(2, nz, nx)` [m/s].

        Returns:
            Velocity [m/s] and density [kg/m^3] `(nz, nx)`.
        """
        velocity, relative = model
        return velocity, self._rule(velocity) * (relative / self.reference)

    def model(
        self, velocity: Float[Array, "nz nx"], density: Float[Array, "nz nx"] | None = None
    ) -> Float[Array, "2 nz nx"]:
        """Return the model of a velocity and a density.

        Args:
            velocity: Velocity `(nz, nx)` [m/s].
            density: Density `(nz, nx)` [kg/m^3]; None takes the rule's.

        Returns:
            Velocity and relative density `(2, nz, nx)` [m/s].
        """
        ratio = jnp.ones_like(velocity) if density is None else density / self._rule(velocity)
        return jnp.stack([velocity, self.reference * ratio])

    def _rule(self, velocity: Array) -> Array:
        assert self.density is not None
        rule = self.density(velocity)
        assert rule is not None
        return rule


def free_density(forward: ForwardModel, config: InversionConfig, solver: ForwardModel | None = None) -> DensityForward:
    """Make the forward model of an inversion for velocity and density.

    Args:
        forward: Forward model of the velocity, the solver with density by a rule.
        config: Settings of the inversion.
        solver: Forward model of the true misfit, which must be None.

    Returns:
        The forward model.

    Raises:
        InputError: If the forward model is no solver, has no rule for density, or is unstable within the bounds.
    """
    if not isinstance(forward, PhysicsForward) or solver is not None:
        raise InputError("inversion.density=free needs the solver: a surrogate knows no density. Take forward=physics.")
    if forward.density is None:
        raise InputError(
            "inversion.density=free needs a rule for density, which it starts from and is bounded by, but density is "
            "constant. Give data.density=gardner, or setup.density=gardner of observed data; in Python, "
            "PhysicsForward(density=gardner), or any function of the velocity."
        )
    low, high = config.bounds
    given = {item.name: getattr(forward, item.name) for item in fields(PhysicsForward)}
    free = DensityForward(**given, reference=sqrt(low * high))
    _check_stiffest(free, config)
    return free


def limits(
    forward: ForwardModel, config: InversionConfig
) -> tuple[float | Float[np.ndarray, "2 1 1"], float | Float[np.ndarray, "2 1 1"]]:
    """Return the bounds of the free cells of a model.

    Args:
        forward: Forward model.
        config: Settings of the inversion.

    Returns:
        Lowest and highest value [m/s]: of the velocity, or of each field where density is free.
    """
    low, high = config.bounds
    if not isinstance(forward, DensityForward):
        return low, high
    least, most = (forward.reference * bound for bound in config.density_bounds)
    return np.array([low, least])[:, None, None], np.array([high, most])[:, None, None]


def velocity_of(model: Shaped[np.ndarray, "*fields nz nx"]) -> Shaped[np.ndarray, "nz nx"]:
    """Return the velocity of a model of one field or two, or its part of a mask.

    Args:
        model: Velocity `(nz, nx)`, or velocity and relative density `(2, nz, nx)` [m/s].

    Returns:
        The velocity's part `(nz, nx)`.
    """
    return model if model.ndim == 2 else model[0]


def check_density(
    density: ArrayLike | None,
    velocity: Float[Array, "nz nx"],
    forward: DensityForward,
    bounds: Sequence[float],
    held: Bool[np.ndarray, "nz nx"],
    name: str,
) -> Float[Array, "2 nz nx"]:
    """Check a density, and return it with its velocity as a model.

    Args:
        density: Density `(nz, nx)` [kg/m^3]; None takes the rule's.
        velocity: Velocity `(nz, nx)` [m/s].
        forward: Forward model.
        bounds: Lowest and highest density of a free cell, in parts of the rule's.
        held: Mask of the fixed cells `(nz, nx)`.
        name: Name of the density, for errors.

    Returns:
        Velocity and relative density `(2, nz, nx)` [m/s].

    Raises:
        InputError: If the density is not finite, positive, in kg/m^3 and within its bounds.
    """
    given = None if density is None else np.asarray(real_array(density, name))
    if given is not None:
        if given.shape != velocity.shape:
            raise InputError(f"{name} has the shape {given.shape}, but the velocity has {velocity.shape} (nz, nx).")
        if not (np.isfinite(given).all() and given.min() > 0):
            raise InputError(f"{name} must be finite and positive everywhere, in kg/m^3.")
        given = jnp.asarray(given, velocity.dtype)
    model = forward.model(velocity, given)
    ratio, (low, high) = np.asarray(model[1]) / forward.reference, bounds
    outside = ~held & ((ratio < low * (1 - ROUNDING)) | (ratio > high * (1 + ROUNDING)))
    if outside.any():
        raise InputError(
            f"{name} leaves inversion.density_bounds = [{low:g}, {high:g}] in {outside.sum()} of its {(~held).sum()} "
            f"free cells, where it is {ratio[outside].min():.3g} to {ratio[outside].max():.3g} of the density that the "
            "rule gives to the velocity. Widen the bounds, and give densities in kg/m^3."
        )
    return model.at[1].set(jnp.where(held, model[1], jnp.clip(model[1], *(forward.reference * b for b in bounds))))


def _check_stiffest(forward: DensityForward, config: InversionConfig) -> None:
    """Check that the solver is stable in the stiffest model within the bounds: its heaviest cell among the lightest."""
    (slow, fast), (light, heavy) = config.bounds, config.density_bounds
    velocity = jnp.full(forward.simulation.grid.shape, float(fast))
    # Rules that increase with velocity, or decrease.
    rule = np.array([np.max(np.asarray(forward._rule(jnp.full((1, 1), float(v))))) for v in (slow, fast)])
    density = np.full(velocity.shape, light * rule.min())
    density[velocity.shape[0] // 2, velocity.shape[1] // 2] = heavy * rule.max()
    try:
        check_inputs(velocity, forward.survey, forward.simulation, jnp.asarray(density, velocity.dtype))
    except InputError as error:
        raise InputError(
            f"inversion.density_bounds = [{light:g}, {heavy:g}] allow models that the solver cannot simulate. Narrow "
            f"them, or change the simulation: {error}"
        ) from None
