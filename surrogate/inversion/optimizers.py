"""Minimize a misfit over the velocity model within bounds: the optimizers of an inversion, by name.

    P m = w * (G m)                        the preconditioner: G smooths, w grows with depth
    adam    v <- clip(v + w * Adam(G dJ/dv), bounds)
    lbfgs   v = clip(start + P m, bounds), and L-BFGS minimizes over m, which is L-BFGS preconditioned with P P^T

The depth weights are `w = (depth / largest depth)^depth_power`. In two dimensions the energy of a wave falls as 1 / r
on the way down and again on the way up, so the Hessian's diagonal under a survey at the surface falls as 1 / z^2. The
`w^2` of `P P^T` compensates that with a power of 1. A power of 0.5 is safer where the data hardly see the bottom: in
200 iterations of `inversion=gathers` the model error fell by 49 % with 0.5, and by 25 % with 1 (too fast a bottom).

L-BFGS with the line search of More and Thuente is SciPy's L-BFGS-B, without its bounds (J. Nocedal and S. Wright,
Numerical Optimization, chapter 7). SciPy keeps its history in float64 and calls the compiled gradient.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
from jaxtyping import Array, Float

from data_gen.common.smoothing import gaussian_smooth

Model = Float[Array, "nz nx"]
Evaluate = Callable[[Model], tuple[Float[Array, ""], Model]]  # the misfit and its gradient
OnStep = Callable[[Model, Float[Array, ""], Model], None]  # the velocity, its misfit and its gradient
MEMORY = 20  # pairs that L-BFGS remembers


@runtime_checkable
class Settings(Protocol):
    """Describe the part of an `InversionConfig` that optimizers read, where each field is documented."""

    iterations: int
    learning_rate: float
    gradient_smoothing: float
    depth_power: float
    bounds: list[float]


def depth_weights(rows: int, power: float) -> Float[Array, "nz 1"]:
    """Weigh updates by the power of the depth, one at the bottom.

    Args:
        rows: Number of rows of the model.
        power: Power of the depth, which counts from one cell above the model.

    Returns:
        The weights `(nz, 1)`.
    """
    return ((jnp.arange(rows)[:, None] + 1.0) / rows) ** power


def precondition(model: Float[Array, "nz nx"], config: Settings) -> Float[Array, "nz nx"]:
    """Smooth a gradient or an update, and weigh it by depth.

    Args:
        model: Gradient or update `(nz, nx)`.
        config: Settings of the inversion.

    Returns:
        The preconditioned array `(nz, nx)`.
    """
    return depth_weights(len(model), config.depth_power) * gaussian_smooth(model, config.gradient_smoothing)


def adam(evaluate: Evaluate, start: Float[Array, "nz nx"], config: Settings, on_step: OnStep) -> None:
    """Minimize with Adam, whose steps are about `learning_rate` in every cell; see the module.

    Args:
        evaluate: Function from a velocity model [m/s] to its misfit and gradient.
        start: Velocity model to start from `(nz, nx)` [m/s].
        config: Settings of the inversion.
        on_step: Called with every model, the start and the last one included, its misfit and its gradient.
    """
    transform: Any = optax.adam(config.learning_rate)
    weights = depth_weights(len(start), config.depth_power)

    @jax.jit
    def update(velocity, gradient, state):
        change, state = transform.update(gaussian_smooth(gradient, config.gradient_smoothing), state)
        return jnp.clip(velocity + weights * change, *config.bounds), state

    velocity, state = start, transform.init(start)
    for _ in range(config.iterations):
        value, gradient = evaluate(velocity)
        on_step(velocity, value, gradient)
        velocity, state = update(velocity, gradient, state)
    on_step(velocity, *evaluate(velocity))


def lbfgs(evaluate: Evaluate, start: Float[Array, "nz nx"], config: Settings, on_step: OnStep) -> None:
    """Minimize with L-BFGS, whose first trial step changes no cell by more than `learning_rate`; see the module.

    It ends early where the line search finds no smaller misfit: float32 then resolves no descent.

    Args:
        evaluate: Function from a velocity model [m/s] to its misfit and gradient.
        start: Velocity model to start from `(nz, nx)` [m/s].
        config: Settings of the inversion.
        on_step: Called with every model, the start and the last one included, its misfit and its gradient.
    """

    @jax.jit
    def model_of(unknown):
        return jnp.clip(start + precondition(unknown, config), *config.bounds)

    @jax.jit
    def pull_back(unknown, gradient):
        return jax.vjp(model_of, unknown)[1](gradient)[0]

    value, gradient = evaluate(start)
    on_step(start, value, gradient)
    first = pull_back(jnp.zeros_like(start), gradient)
    largest = float(jnp.max(jnp.abs(precondition(first, config))))
    if not largest > 0:
        return
    # SciPy's first trial step has length one.
    scale = config.learning_rate * float(jnp.linalg.norm(first)) / largest
    tried: dict[bytes, Any] = {}  # since the last accepted step

    def objective(x):
        unknown = jnp.asarray(scale * x, start.dtype).reshape(start.shape)
        velocity = model_of(unknown)
        tried[x.tobytes()] = velocity, *evaluate(velocity)
        _, new, slope = tried[x.tobytes()]
        slope = np.asarray(pull_back(unknown, slope), np.float64).ravel()
        return float(new) / float(value), scale * slope / float(value)

    def report(x):
        accepted = tried[x.tobytes()]
        tried.clear()
        on_step(*accepted)

    options = {"maxiter": config.iterations, "maxfun": 20 * config.iterations, "maxcor": MEMORY, "ftol": 0, "gtol": 0}
    scipy.optimize.minimize(
        objective, np.zeros(start.size), jac=True, method="L-BFGS-B", callback=report, options=options
    )


OPTIMIZERS: dict[str, Callable[[Evaluate, Array, Settings, OnStep], None]] = {"adam": adam, "lbfgs": lbfgs}
