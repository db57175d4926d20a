"""Minimize a misfit over the velocity model within bounds: the optimizers of an inversion, by name.

    P m = w * (G m)                        the preconditioner: G smooths, w grows with depth
    adam    v <- clip(v + w * Adam(G dJ/dv), bounds)
    lbfgs   v = clip(start + P m, bounds), and L-BFGS minimizes over m, which is L-BFGS preconditioned with P P^T

The depth weights are `w = (depth / largest depth)^depth_power`. In two dimensions the energy of a wave falls as 1 / r
on the way down and again on the way up, so the Hessian's diagonal under a survey at the surface falls as 1 / z^2. The
`w^2` of `P P^T` compensates that with a power of 1. A power of 0.5 is safer where the data hardly see the bottom: in
200 iterations of `inversion=gathers` the model error fell by 49 % with 0.5, and by 25 % with 1 (too fast a bottom).

The path does not depend on a factor of the misfit: gradients are divided by a norm of the first one, computed in
float64, so that no square leaves the range of float32. Adam's epsilon is a fraction of that norm: cells whose gradient
is as small as the rounding errors of others do not follow their noise.

At bounds, both leave out of the gradient what leads out of them (bounds.py). Adam's first moment is zero there, so that
a cell leaves a bound as soon as the gradient leads inside. In L-BFGS, `start + P m` may pass a bound, where the
misfit is flat in m: the gradient inside the bound still leads back.

If a line search fails, on such a flat part or because float32 spoils the pairs that are remembered, the minimization
starts again from the model that was reached, without pairs. It ends where that makes no step either.

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
from surrogate.inversion.bounds import Bounds

Model = Float[Array, "nz nx"]
Evaluate = Callable[[Model], tuple[Float[Array, ""], Model]]  # the misfit and its gradient
OnStep = Callable[[Model, Float[Array, ""], Model], None]  # the velocity, its misfit and its gradient
MEMORY = 20  # pairs that L-BFGS remembers
EPSILON = 1e-3  # of Adam, in root mean squares of the first gradient


@runtime_checkable
class Settings(Protocol):
    """Describe the part of an `InversionConfig` that optimizers read, where each field is documented."""

    iterations: int
    learning_rate: float
    gradient_smoothing: float
    depth_power: float


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


def adam(evaluate: Evaluate, start: Float[Array, "nz nx"], config: Settings, bounds: Bounds, on_step: OnStep) -> None:
    """Minimize with Adam, whose steps are about `learning_rate` in every cell; see the module.

    Args:
        evaluate: Function from a velocity model [m/s] to its misfit and gradient.
        start: Velocity model to start from `(nz, nx)` [m/s].
        config: Settings of the inversion.
        bounds: Bounds of every cell.
        on_step: Called with every model, the start and the last one included, its misfit and its gradient.
    """
    transform: Any = optax.scale_by_adam(eps=EPSILON)
    step = config.learning_rate * depth_weights(len(start), config.depth_power)

    @jax.jit
    def slope(velocity, gradient):
        return gaussian_smooth(bounds.project(velocity, gradient), config.gradient_smoothing)

    @jax.jit
    def update(velocity, gradient, norm, state):
        gradient = slope(velocity, gradient)
        state = state._replace(mu=jnp.where(bounds.active(velocity, gradient), 0, state.mu))
        change, state = transform.update(bounds.project(velocity, gradient) / norm, state)
        return bounds.clip(velocity - step * change), state

    velocity, state, norm = start, transform.init(start), 0.0
    for _ in range(config.iterations):
        value, gradient = evaluate(velocity)
        on_step(velocity, value, gradient)
        norm = norm or root_mean_square(bounds.project(velocity, slope(velocity, gradient)), bounds)
        velocity, state = update(velocity, gradient, norm or 1.0, state)
    on_step(velocity, *evaluate(velocity))


def root_mean_square(gradient: Float[Array, "nz nx"], bounds: Bounds) -> float:
    """Compute the root mean square of a gradient over the free cells, in float64.

    Args:
        gradient: Gradient `(nz, nx)`.
        bounds: Bounds of every cell.

    Returns:
        The root mean square, 0 where no cell is free.
    """
    values = np.asarray(gradient, np.float64)[np.asarray(bounds.free)]
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0


def lbfgs(evaluate: Evaluate, start: Float[Array, "nz nx"], config: Settings, bounds: Bounds, on_step: OnStep) -> None:
    """Minimize with L-BFGS, whose first trial step changes no cell by more than `learning_rate`; see the module.

    It ends early where a line search along the gradient finds no smaller misfit: float32 then resolves no descent.

    Args:
        evaluate: Function from a velocity model [m/s] to its misfit and gradient.
        start: Velocity model to start from `(nz, nx)` [m/s].
        config: Settings of the inversion.
        bounds: Bounds of every cell.
        on_step: Called with every model, the start and the last one included, its misfit and its gradient.
    """
    point = start, *evaluate(start)
    on_step(*point)
    left = config.iterations
    while left > 0:
        accepted = [point]

        def follow(*new, accepted=accepted):
            accepted.append(new)
            on_step(*new)

        _minimize(evaluate, point, left, config, bounds, follow)
        point, left = accepted[-1], left + 1 - len(accepted)
        if len(accepted) == 1:
            return


def _minimize(
    evaluate: Evaluate,
    point: tuple[Model, Float[Array, ""], Model],
    iterations: int,
    config: Settings,
    bounds: Bounds,
    follow: Callable[..., None],
) -> None:
    """Run SciPy's L-BFGS-B over m from a model, its misfit and its gradient.

    `follow` gets each accepted model within bounds, its misfit and its gradient.
    """
    start, value, gradient = point

    @jax.jit
    def model_of(unknown):
        return start + precondition(unknown, config)

    @jax.jit
    def pull_back(unbounded, gradient):
        slope = bounds.project(unbounded, gradient)
        return jax.linear_transpose(lambda unknown: precondition(unknown, config), start)(slope)[0]

    first = pull_back(start, gradient)
    norm = float(np.linalg.norm(np.asarray(first, np.float64)))
    largest = float(jnp.max(jnp.where(bounds.free, jnp.abs(precondition(first, config)), 0)))
    if not largest > 0:
        return
    # SciPy's first trial step has length one.
    scale = config.learning_rate * (norm / largest)
    tried: dict[bytes, Any] = {np.zeros(start.size).tobytes(): (start, *point)}  # since the last accepted step

    def objective(x):
        if x.tobytes() not in tried:
            unbounded = model_of(jnp.asarray(scale * x, start.dtype).reshape(start.shape))
            velocity = bounds.clip(unbounded)
            tried[x.tobytes()] = unbounded, velocity, *evaluate(velocity)
        unbounded, _, new, slope = tried[x.tobytes()]
        slope = np.asarray(pull_back(unbounded, slope), np.float64).ravel()
        return float(new) / float(value), scale * (slope / float(value))

    def report(x):
        _, *accepted = tried[x.tobytes()]
        tried.clear()
        follow(*accepted)

    options = {"maxiter": iterations, "maxfun": 20 * iterations, "maxcor": MEMORY, "ftol": 0, "gtol": 0}
    scipy.optimize.minimize(
        objective, np.zeros(start.size), jac=True, method="L-BFGS-B", callback=report, options=options
    )


OPTIMIZERS: dict[str, Callable[[Evaluate, Array, Settings, Bounds, OnStep], None]] = {"adam": adam, "lbfgs": lbfgs}
