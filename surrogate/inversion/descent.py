"""Waveform inversion: gradient descent on the misfit, through whichever forward model it is given.

    v <- clip(v - Adam(dJ/dv), bounds),    J(v) = misfit(forward(v), observed)

Every iteration records the misfit and, where the true model is known, its error. A surrogate's own misfit can fall
while the data it stands for fit no better, so the solver re-simulates the true misfit as the inversion goes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from data_gen.common.errors import InputError, NumericalError
from data_gen.common.smoothing import gaussian_smooth
from surrogate.inversion.forward import KINDS, ForwardModel
from surrogate.inversion.misfits import MISFITS


@dataclass
class InversionConfig:
    """kind: of the data, gather or wavefield. misfit: l2 or global_correlation. index: of the true model in the test
    stream, if no file is given. shots, source_depth [m]: the survey. record_every: sample the data at every so many
    steps (none: gathers at every step, wavefields at the data set's snapshot times). start: smooth (of the true
    model, by smoothing [cells]) or constant (start_velocity [m/s], none: the true model's mean). iterations,
    learning_rate [m/s]: Adam's. gradient_smoothing [cells]. bounds: `[lowest, highest]` [m/s]. check_every: how often
    the solver re-simulates a surrogate's misfit.
    """

    kind: str = "gather"
    misfit: str = "l2"
    index: int = 0
    shots: int = 5
    source_depth: float = 20.0
    record_every: int | None = None
    start: str = "smooth"
    smoothing: float = 6.0
    start_velocity: float | None = None
    iterations: int = 100
    learning_rate: float = 20.0
    gradient_smoothing: float = 0.0
    bounds: list[float] = field(default_factory=lambda: [1500.0, 4500.0])
    check_every: int = 10

    def check(self) -> None:
        """Raise `InputError` for values no inversion could use."""
        for name, choices in (("kind", KINDS), ("misfit", tuple(MISFITS)), ("start", ("smooth", "constant"))):
            if getattr(self, name) not in choices:
                raise InputError(f"inversion.{name} must be one of {choices}, but is {getattr(self, name)!r}.")
        if self.record_every is not None and self.record_every < 1:
            raise InputError(f"inversion.record_every must be at least 1, but is {self.record_every}.")
        if len(self.bounds) != 2 or not 0 < self.bounds[0] < self.bounds[1]:
            raise InputError(f"inversion.bounds must be [lowest, highest] in m/s, but is {self.bounds}.")
        if self.start_velocity is not None and not self.bounds[0] <= self.start_velocity <= self.bounds[1]:
            raise InputError(f"inversion.start_velocity = {self.start_velocity} m/s lies outside {self.bounds} m/s.")
        for name in ("shots", "iterations", "check_every"):
            if getattr(self, name) < 1:
                raise InputError(f"inversion.{name} must be at least 1, but is {getattr(self, name)}.")
        if not self.learning_rate > 0 or self.smoothing < 0 or self.gradient_smoothing < 0:
            raise InputError("inversion.learning_rate must be positive, and the smoothing lengths not negative.")


class Result(NamedTuple):
    """velocity: the estimate [m/s]. gradient: of the first iteration. The histories have one entry per iteration.

    misfit: the forward model's own. true_misfit: the solver's, NaN where it was not re-simulated. model_error:
    ||v - v_true|| / ||v_true||, NaN where the truth is unknown. The first entries are the start's.
    """

    velocity: np.ndarray
    gradient: np.ndarray
    misfit: np.ndarray
    true_misfit: np.ndarray
    model_error: np.ndarray


def starting_model(config: InversionConfig, truth: Float[Array, "nz nx"]) -> Float[Array, "nz nx"]:
    """The model to start from, within the bounds [m/s]."""
    if config.start == "smooth":
        start = gaussian_smooth(truth, config.smoothing)
    else:
        start = jnp.full_like(truth, config.start_velocity or float(jnp.mean(truth)))
    return jnp.clip(start, *config.bounds)


def invert(
    forward: ForwardModel,
    observed: Float[Array, "n_sources n_times ..."],
    start: Float[Array, "nz nx"],
    config: InversionConfig,
    *,
    truth: Float[Array, "nz nx"] | None = None,
    solver: ForwardModel | None = None,
    on_progress: Callable[[int, dict[str, float]], None] = lambda iteration, values: None,
) -> Result:
    """Fit `observed` from `start` [m/s]. solver: re-simulates the true misfit if `forward` is a surrogate.

    on_progress: called with the iteration and the latest values. Raises `InputError` for a bad config;
    `NumericalError`, naming the iteration, if the misfit is no longer finite.
    """
    config.check()
    misfit, transform = MISFITS[config.misfit], optax.adam(config.learning_rate)

    def objective(velocity):
        return misfit(forward(velocity), observed)

    def error_of(velocity):
        return jnp.nan if truth is None else jnp.linalg.norm(velocity - truth) / jnp.linalg.norm(truth)

    @jax.jit
    def iterate(velocity, state):
        value, gradient = jax.value_and_grad(objective)(velocity)
        gradient = gaussian_smooth(gradient, config.gradient_smoothing)
        update, state = transform.update(gradient, state)
        return value, error_of(velocity), gradient, jnp.clip(velocity + update, *config.bounds), state

    check = None if solver is None else jax.jit(lambda velocity: misfit(solver(velocity), observed))
    rows, velocity, state = [], start, transform.init(start)
    first_gradient = None
    # One more evaluation than updates: the histories hold the start and the end.
    for iteration in range(config.iterations + 1):
        last = iteration == config.iterations
        value, error, gradient, following, state = iterate(velocity, state)
        first_gradient = gradient if first_gradient is None else first_gradient
        checked = iteration % config.check_every == 0 or last
        true_misfit = value if check is None else check(velocity) if checked else jnp.nan
        rows.append((value, true_misfit, error))
        if checked:
            if not np.isfinite([float(row[0]) for row in rows]).all():
                first = int(np.argmin(np.isfinite([float(row[0]) for row in rows])))
                raise NumericalError(
                    f"The misfit is not finite at iteration {first}. Lower inversion.learning_rate or tighten "
                    "inversion.bounds: a velocity over the solver's CFL limit blows up."
                )
            names = ("misfit", "true_misfit", "model_error")
            on_progress(iteration, {name: float(value) for name, value in zip(names, rows[-1], strict=True)})
        velocity = velocity if last else following
    histories = np.array([[float(value) for value in row] for row in rows]).T
    return Result(np.asarray(velocity), np.asarray(first_gradient), *histories)
