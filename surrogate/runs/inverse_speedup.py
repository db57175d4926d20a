"""Measure what an operator from gathers to models is worth: the time of an inversion to its error, over its time.

    S = t(e) / t    with e, t: model error and time of the operator;  t(e): time of the fastest inversion to that error

for models of the test split, each with all of its shots. The inversions are full waveform inversions by L-BFGS, with
the solver on SIZES sizes of cells, low frequencies first, weighted by illumination. They start from the mean of the
training models, which is what an inversion can know of them, and end with the operator's error, or after ITERATIONS in
each stage: what the quickest of them has taken until then counts where none has that error, and S is a lower bound.

The comparison favors the inversions: they are given the solver's gathers at every sample, without noise, also where
the operator reads some samples of noisy ones, and are charged for their simulations alone, compiled and in turns with
the operator, neither for compiling nor for the optimizer.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.checks import DispersionWarning
from data_gen.solver.problem.simulation import Simulation
from surrogate.inversion.config import InversionConfig, StageConfig
from surrogate.inversion.descent import StopInversion, invert
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.stage_data import narrow
from surrogate.models.surrogate import Surrogate
from surrogate.protocols import Batch
from surrogate.runs.misfit_gradients import MEMORY
from surrogate.runs.predict import compiled
from surrogate.runs.timing import time_per_sample
from surrogate.tasks.inverse import Inverse
from surrogate.training.batches import Examples

SIZES = 3
ITERATIONS = 30  # in each of the two stages
LOW = 0.6  # end of the band of the first stage, in peak frequencies
LEARNING_RATE = 50.0  # [m/s], of the first step
MODELS = 256  # of the training split, whose mean is the start
OURS, DATA = "surrogate", "data"


@dataclass(frozen=True, eq=False)
class Inversion:
    """Hold one way to invert.

    Attributes:
        simulation: Simulation of the solver.
        config: Settings, of two stages.
    """

    simulation: Simulation
    config: InversionConfig

    def forward(self, spec: DataSpec, sources: Float[Array, "n 2"]) -> PhysicsForward:
        """Make the solver as a forward model of gathers at every sample.

        Args:
            spec: Description of the data set.
            sources: Positions `(n, 2)` [m].

        Returns:
            The forward model.
        """
        density = spec.density if spec.gardner else None
        return PhysicsForward(self.simulation, spec.survey(sources), density=density)

    def stages(self, spec: DataSpec, sources: Float[Array, "n 2"]) -> list[PhysicsForward]:
        """Make the forward model of each stage.

        Args:
            spec: Description of the data set.
            sources: Positions `(n, 2)` [m].

        Returns:
            The forward models.
        """
        forward = self.forward(spec, sources)
        stages = []
        for number, stage in enumerate(self.config.stages):
            narrowed = narrow(forward, stage, self.config.bounds[0], number).forward
            assert isinstance(narrowed, PhysicsForward)
            stages.append(narrowed)
        return stages


def inversions(spec: DataSpec, settings: list[Simulation]) -> list[Inversion]:
    """Choose the inversions that an operator is compared with.

    Args:
        spec: Description of the data set.
        settings: Settings of the solver, from the largest cells to those of the data.

    Returns:
        Inversions on SIZES of them at most, the data's own among them.
    """
    chosen = sorted({round(k) for k in np.linspace(0, len(settings) - 1, SIZES)})
    low = LOW * spec.simulation.peak_frequency
    config = InversionConfig(
        optimizer="lbfgs",
        learning_rate=LEARNING_RATE,
        preconditioner="illumination",
        bounds=[spec.slowest, spec.mixture.max_velocity],
        iterations=ITERATIONS,
        stages=[StageConfig(highest_frequency=low), StageConfig()],
    )
    return [Inversion(settings[k], config) for k in chosen]


def inverse_speedup(
    model: Surrogate, task: Inverse, path: str, settings: list[Simulation], samples: int, repeats: int
) -> dict[str, Any]:
    """Measure S of an operator that inverts.

    Args:
        model: Trained operator.
        task: Its task.
        path: Folder of its data set.
        settings: Settings of the solver, from the largest cells to those of the data.
        samples: Number of models of the test split.
        repeats: Number of times that the operator and each gradient are timed.

    Returns:
        JSON values: `S`; the mean relative L2 `error` of the operator's models, its `errors`, and that of the `start`;
        `seconds` for a model, and `solver_seconds` of the fastest inversion, whichever that is for each model; for how
        many models an inversion has `reached` the operator's error; `data_seconds`, of the simulation of a survey; and
        of each of the `inversions` cells, seconds of a gradient in each stage, for how many models it has `reached` the
        error, its mean error at the end, and the seconds and errors along the way for each model.

    Raises:
        InputError: If an answer of the operator is not finite.
    """
    spec, test, train = task.spec, Examples(path, "test", task), Examples(path, "train", task)
    examples = [test[k] for k in range(samples)]
    start = np.mean([train[k]["velocities"][0] for k in range(min(MODELS, len(train)))], axis=0, dtype=float)
    predict, truths = compiled(model), [example["velocities"][0].astype(float) for example in examples]
    inputs = [jnp.asarray(example["gathers"])[None] for example in examples]
    wanted = [_error(np.asarray(predict(one))[0, 0], truth) for one, truth in zip(inputs, truths, strict=True)]
    if not np.isfinite(wanted).all():
        raise InputError("The operator's answers to the first test samples are not finite, so they have no error.")
    ways = inversions(spec, settings)
    sources = jnp.asarray(examples[0]["sources"])
    prices = _prices(predict, inputs[0], ways, spec, sources, repeats)
    solve = jax.jit(ways[-1].forward(spec, sources).__call__)
    observed = [solve(jnp.asarray(example["velocities"][0])) for example in examples]
    rows = []
    for number, way in enumerate(ways):
        paths = [
            _path(way.forward(spec, sources), way.config, gathers, truth, start, error, prices[f"{number}"])
            for gathers, truth, error in zip(observed, truths, wanted, strict=True)
        ]
        rows.append(
            {
                "spacing": way.simulation.solved_spacing,
                "seconds_per_gradient": prices[f"{number}"],
                "reached": sum(path["errors"][-1] <= error for path, error in zip(paths, wanted, strict=True)),
                "error": float(np.mean([path["errors"][-1] for path in paths])),
                "paths": paths,
            }
        )
    solver_seconds, reached = fastest([row["paths"] for row in rows], wanted)
    (seconds,) = prices[OURS]
    return {
        "S": solver_seconds / seconds,
        "error": float(np.mean(wanted)),
        "errors": wanted,
        "start": float(np.mean([_error(start, truth) for truth in truths])),
        "seconds": seconds,
        "solver_seconds": solver_seconds,
        "reached": reached,
        "data_seconds": prices[DATA][0],
        "inversions": rows,
    }


def fastest(ways: list[list[dict[str, list[float]]]], wanted: list[float]) -> tuple[float, int]:
    """Choose the fastest inversion of each model: one with the wanted error before any without it.

    Args:
        ways: Seconds and errors along each inversion of each model, by way to invert.
        wanted: Error of the operator for each model.

    Returns:
        Mean of their seconds, and for how many models one has the wanted error.
    """
    chosen = [
        min((not path["errors"][-1] <= error, path["seconds"][-1]) for path in of_model)
        for of_model, error in zip(zip(*ways, strict=True), wanted, strict=True)
    ]
    return float(np.mean([seconds for _, seconds in chosen])), sum(not missed for missed, _ in chosen)


def _prices(
    predict: Callable[..., jax.Array],
    gathers: jax.Array,
    ways: list[Inversion],
    spec: DataSpec,
    sources: Float[Array, "n 2"],
    repeats: int,
) -> dict[str, list[float]]:
    """Measure the seconds of a prediction, of the simulation of a survey, and of a gradient in each stage."""
    velocity = jnp.full(spec.simulation.grid.shape, spec.slowest, jnp.float32)
    solve = jax.jit(ways[-1].forward(spec, sources).__call__)
    methods: dict[str, Callable[[Batch], Any]] = {OURS: lambda _: predict(gathers), DATA: lambda _: solve(velocity)}
    for number, way in enumerate(ways):
        for stage, forward in enumerate(way.stages(spec, sources)):
            planned = forward.within(MEMORY)[0]
            gradient = jax.jit(jax.grad(partial(_energy, planned)))
            methods[f"{number}.{stage}"] = lambda _, gradient=gradient: gradient(velocity)
    found: dict[str, list[float]] = {}
    for name, each in time_per_sample(methods, {}, 1, repeats).items():
        found.setdefault(name.partition(".")[0], []).append(each["median"])
    return found


def _energy(forward: PhysicsForward, velocity: Float[Array, "nz nx"]) -> jax.Array:
    """Compute the energy of data, whose gradient costs what that of a misfit costs."""
    return jnp.sum(forward(velocity) ** 2)


def _path(
    forward: PhysicsForward,
    config: InversionConfig,
    observed: Float[Array, "n_shots nt n_receivers"],
    truth: np.ndarray,
    start: np.ndarray,
    error: float,
    prices: list[float],
) -> dict[str, list[float]]:
    """Invert until a model error is reached: `seconds` of all simulations up to each iteration, and `errors`."""

    def on_progress(entry: int, values: dict[str, float]) -> None:
        if values["model_error"] <= error:
            raise StopInversion("it has the operator's error")

    low, high = config.bounds
    first = np.clip(start, low, high).astype(np.float32)
    truth = truth.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DispersionWarning)  # large cells are meant to err, and to be quick
        found = invert(forward, observed, first, config, truth=truth, memory_budget=MEMORY, on_progress=on_progress)
    seconds = charged(found.used, found.stage, len(observed), prices)
    return {"seconds": seconds.tolist(), "errors": found.model_error.tolist()}


def charged(
    used: Float[np.ndarray, " n"], stages: Float[np.ndarray, " n"], shots: int, prices: list[float]
) -> Float[np.ndarray, " n"]:
    """Compute the seconds of all simulations up to each entry of a history.

    Args:
        used: Simulations of a shot up to each entry, where a gradient counts 3 `(n,)`.
        stages: Stage of each entry `(n,)`.
        shots: Number of shots.
        prices: Seconds of a gradient of all shots in each stage.

    Returns:
        The seconds `(n,)`.
    """
    return np.cumsum(np.diff(used, prepend=0.0) / (3 * shots) * np.array(prices)[stages.astype(int)])


def _error(found: np.ndarray, truth: np.ndarray) -> float:
    """Compute the relative L2 error of a model."""
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))
