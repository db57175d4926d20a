"""Invert waveforms: minimize the misfit over the velocity model, through whichever forward model is given.

    J(v) = misfit(forward(v), observed),    v within bounds

Every iteration records the misfit and, where the true model is known, its error. A surrogate's own misfit can fall
while the data that it approximates fit no better, so the solver simulates the true misfit as the inversion proceeds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError, NumericalError
from data_gen.common.smoothing import gaussian_smooth
from surrogate.inversion.forward import KINDS, ForwardModel
from surrogate.inversion.misfits import MISFITS
from surrogate.inversion.optimizers import OPTIMIZERS, precondition


@dataclass
class InversionConfig:
    """Describe an inversion: the data, the start, and how the misfit is minimized.

    Attributes:
        kind: Kind of the data, gather (at the receivers) or wavefield (at every cell).
        misfit: Misfit between predicted and observed data, l2 or global_correlation.
        index: Index of the true model in the test stream, used unless a file gives the model.
        shots: Number of sources, spread evenly along a line at one depth.
        source_depth: Depth of the sources [m], a multiple of the cell size.
        record_every: Steps between two samples of the data. By default gathers are sampled at every step, and
            wavefields at the snapshot times of the data set. A surrogate knows only the times of its training.
        start: Model to start from, smooth (the true model, smoothed) or constant.
        smoothing: Standard deviation of the Gaussian that makes the smooth start [cells].
        start_velocity: Velocity of the constant start [m/s], by default the mean of the true model.
        optimizer: Optimizer, adam or lbfgs.
        iterations: Largest number of iterations.
        learning_rate: Step of Adam in every cell, or largest change by the first trial step of L-BFGS [m/s].
        gradient_smoothing: Standard deviation of the Gaussian that smooths gradients [cells], 0 for none.
        depth_power: Power of depth by which updates are weighted; 0 weighs all cells alike. With sources and
            receivers at the surface, 0.5 to 1 lets L-BFGS change deep cells more readily.
        hold_layers: Whether the solver's gradient holds the absorbing layers, which continue the model's edge values.
            False adds the whole layer's gradient to the outermost cells.
        bounds: Lowest and highest velocity of an estimate [m/s].
        check_every: Iterations between two simulations of the true misfit of a surrogate's estimate.
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
    optimizer: str = "adam"
    iterations: int = 100
    learning_rate: float = 20.0
    gradient_smoothing: float = 0.0
    depth_power: float = 0.0
    hold_layers: bool = True
    bounds: list[float] = field(default_factory=lambda: [1500.0, 4500.0])
    check_every: int = 10

    def check(self) -> None:
        """Refuse values that no inversion can use.

        Raises:
            InputError: For such a value.
        """
        for name, choices in (
            ("kind", KINDS),
            ("misfit", tuple(MISFITS)),
            ("start", ("smooth", "constant")),
            ("optimizer", tuple(OPTIMIZERS)),
        ):
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
        if not self.learning_rate > 0:
            raise InputError(f"inversion.learning_rate must be positive, but is {self.learning_rate}.")
        for name in ("smoothing", "gradient_smoothing", "depth_power"):
            if not getattr(self, name) >= 0:
                raise InputError(f"inversion.{name} must not be negative, but is {getattr(self, name)}.")


class Result(NamedTuple):
    """Hold the estimate and the history of an inversion; the first entry of a history is the start's.

    Attributes:
        velocity: Estimated model `(nz, nx)` [m/s].
        gradient: Gradient of the misfit at the start, smoothed and weighted as in the first update `(nz, nx)`.
        misfit: Misfit of the forward model's data, `(iterations + 1,)`. L-BFGS may end before its last iteration.
        true_misfit: Misfit of data simulated by the solver, NaN where it was not simulated.
        model_error: `||v - v_true|| / ||v_true||`, NaN where the true model is unknown.
    """

    velocity: np.ndarray
    gradient: np.ndarray
    misfit: np.ndarray
    true_misfit: np.ndarray
    model_error: np.ndarray


def starting_model(config: InversionConfig, truth: Float[Array, "nz nx"]) -> Float[Array, "nz nx"]:
    """Make the model to start from, within the bounds.

    Args:
        config: Settings of the inversion.
        truth: True model `(nz, nx)` [m/s].

    Returns:
        The starting model `(nz, nx)` [m/s].
    """
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
    """Fit observed data from a starting model.

    Args:
        forward: Forward model, the solver or a surrogate.
        observed: Observed data, as `forward` predicts them.
        start: Starting model `(nz, nx)` [m/s].
        config: Settings of the inversion.
        truth: True model `(nz, nx)` [m/s], where it is known; only for the model error.
        solver: Forward model of the true misfit, where `forward` is a surrogate.
        on_progress: Called with the iteration and its values, in every iteration.

    Returns:
        The estimate and its history.

    Raises:
        InputError: For a config that no inversion can use.
        NumericalError: If the misfit is no longer finite; it names the iteration.
    """
    config.check()
    misfit = MISFITS[config.misfit]
    evaluate = jax.jit(jax.value_and_grad(lambda velocity: misfit(forward(velocity), observed)))
    check = None if solver is None else jax.jit(lambda velocity: misfit(solver(velocity), observed))
    rows: list[list[float]] = []
    estimate = first_gradient = start

    def record(velocity, value, gradient):
        nonlocal estimate, first_gradient
        iteration = len(rows)
        if not np.isfinite(value):
            raise NumericalError(
                f"The misfit is not finite at iteration {iteration}. Lower inversion.learning_rate or tighten "
                "inversion.bounds: a velocity over the solver's CFL limit blows up."
            )
        if iteration == 0:
            first_gradient = precondition(gradient, config)
        estimate = velocity
        checked = iteration % config.check_every == 0 or iteration == config.iterations
        true_misfit = value if check is None else check(velocity) if checked else np.nan
        error = np.nan if truth is None else jnp.linalg.norm(velocity - truth) / jnp.linalg.norm(truth)
        rows.append([float(value), float(true_misfit), float(error)])
        on_progress(iteration, dict(zip(("misfit", "true_misfit", "model_error"), rows[-1], strict=True)))

    OPTIMIZERS[config.optimizer](evaluate, start, config, record)
    if check is not None:
        rows[-1][1] = float(check(estimate))
    return Result(np.asarray(estimate), np.asarray(first_gradient), *np.array(rows).T)
