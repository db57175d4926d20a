"""Compute what the playground shows: one shot by every method, with times and errors, and a short inversion.

All pages share one scene: its programs are compiled once, and one shot and one inversion are computed at a time.
"""

import binascii
import tempfile
import time
import zipfile
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.common.smoothing import gaussian_smooth
from data_gen.solver.problem.checks import check_inputs
from data_gen.velocity.base.model_files import read_velocity, to_grid
from surrogate.inversion.descent import Result, invert
from surrogate.inversion.forward import spread_sources
from surrogate.models.surrogate import Surrogate
from surrogate.protocols import ForwardTask, Method
from surrogate.runs.misfit_gradients import MEMORY, SMOOTHING, Case, inversion_settings, physics
from surrogate.runs.predict import predict_batch
from surrogate.tasks.registry import TASKS

SHOWN = ("wavefield", "gather")  # tasks
SOLVER, OURS = "solver", "surrogate"
LARGEST_FILE = 10_000_000  # bytes
SHOTS, ITERATIONS = 4, 15  # of the inversion


class Shot(NamedTuple):
    """Hold a shot by every method.

    Attributes:
        fields: Prediction of each method `(n, h, w)`; the solver's is among them.
        seconds: Time of each.
        errors: Relative L2 difference of each from the solver's.
        distance: Distance of the model from those that the surrogate has learned from; None where it is not known.
    """

    fields: dict[str, np.ndarray]
    seconds: dict[str, float]
    errors: dict[str, float]
    distance: float | None


class Scene:
    """Simulate and predict shots through any model on the grid of a surrogate.

    Args:
        model: Trained surrogate of wavefields or gathers.

    Raises:
        InputError: If it is of another task, or of imported data that the solver cannot simulate.
    """

    def __init__(self, model: Surrogate):
        task = model.task.for_evaluation()
        if task.name not in SHOWN or not task.spec.simulates:
            known = f"The tasks are {', '.join(TASKS)}." if task.name not in SHOWN else ""
            raise InputError(
                f"The playground shows {' and '.join(SHOWN)} surrogates whose data the solver simulates, but this one "
                f"is of task={task.name}. {known} Give another run, or the name of a pretrained surrogate."
            )
        assert isinstance(task, ForwardTask)
        self.task: ForwardTask = task
        self.known = model.training_models
        self.spec = task.spec
        methods: dict[str, Method] = task.methods(model.coarse_ratio)
        methods = methods | {OURS: lambda batch: predict_batch(model, batch)}
        self.methods = {name: methods[name] for name in (SOLVER, "coarse_solver", OURS) if name in methods}
        self._turn, self._inversion = Lock(), Lock()
        self.shoot(self.draw(self.families[0], 0), self.middle)  # compiles all

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families that the surrogate was trained on."""
        return self.spec.mixture.names

    @property
    def middle(self) -> tuple[float, float]:
        """Position (z, x) of a source at the least depth that the surrogate knows, in the middle [m]."""
        grid = self.spec.simulation.grid
        return min(self.spec.shots.rows) * grid.spacing, (grid.shape[1] // 2) * grid.spacing

    def draw(self, family: str, seed: int) -> np.ndarray:
        """Draw a model.

        Args:
            family: Name of its family.
            seed: Seed of its random numbers.

        Returns:
            Velocity `(nz, nx)` [m/s].
        """
        made = self.spec.mixture.families[self.families.index(family)]
        return np.asarray(made(jax.random.key(seed), self.spec.simulation.grid), np.float32)

    def read(self, name: str, content: str) -> tuple[np.ndarray, str]:
        """Read a model that a browser sent, onto the grid.

        Args:
            name: Name of its file, of which the suffix counts.
            content: The file in base64.

        Returns:
            Velocity `(nz, nx)` [m/s], and a description of the window.

        Raises:
            InputError: If it is too large or no model, or too fast for the solver.
        """
        try:
            data = b64decode(content, validate=True)
        except binascii.Error as error:
            raise InputError(f"{Path(name).name} did not arrive whole ({error}). Send it again.") from error
        _refuse_large(Path(name).name, len(data))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"model{Path(name).suffix.lower()}"  # never a path of the sender's
            file.write_bytes(data)
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:  # compressed zeros may be a thousand times what was sent
                    unpacked = sum(member.file_size for member in archive.infolist())
                _refuse_large(Path(name).name, unpacked)
            try:
                velocity, where = to_grid(read_velocity(file), self.spec.simulation.grid)
            except InputError as error:
                raise InputError(str(error).replace(str(file), Path(name).name)) from None
        self.check(velocity, self.middle)
        return np.asarray(velocity, np.float32), where

    def check(self, velocity: Float[np.ndarray, "nz nx"], source: tuple[float, float]) -> None:
        """Refuse what the solver cannot simulate.

        Args:
            velocity: Velocity `(nz, nx)` [m/s].
            source: Position (z, x) [m].

        Raises:
            InputError: If it cannot.
        """
        survey = self.spec.survey(np.array([source], np.float32))
        check_inputs(velocity, survey, self.spec.simulation, self.spec.density(velocity))

    def shoot(self, velocity: Float[np.ndarray, "nz nx"], source: tuple[float, float]) -> Shot:
        """Compute a shot by every method.

        Args:
            velocity: Velocity `(nz, nx)` [m/s].
            source: Position (z, x) [m].

        Returns:
            The shot.

        Raises:
            InputError: If the solver cannot simulate it.
        """
        self.check(velocity, source)
        inputs = self.task.shot_inputs(jnp.asarray(velocity), jnp.array([source], jnp.float32))
        fields, seconds = {}, {}
        with self._turn:
            for name, method in self.methods.items():
                begin = time.perf_counter()
                fields[name] = np.asarray(jax.block_until_ready(method(inputs)))[0]
                seconds[name] = time.perf_counter() - begin
        size = max(float(np.linalg.norm(fields[SOLVER])), np.finfo(float).tiny)
        errors = {name: float(np.linalg.norm(field - fields[SOLVER])) / size for name, field in fields.items()}
        return Shot(fields, seconds, errors, None if self.known is None else self.known.distance(velocity))

    def invert(
        self,
        velocity: Float[np.ndarray, "nz nx"],
        on_progress: Callable[[int, dict[str, float]], None] = lambda iteration, values: None,
    ) -> tuple[np.ndarray, Result]:
        """Invert a few shots through a model, from that model smoothed, with the solver.

        Args:
            velocity: Velocity `(nz, nx)` [m/s].
            on_progress: See `surrogate.inversion.descent.invert`; it may raise `StopInversion`.

        Returns:
            The start `(nz, nx)` [m/s] and the result.
        """
        grid = self.spec.simulation.grid
        sources = jnp.asarray(spread_sources(grid, SHOTS, self.middle[0]))
        kind = self.task.data_kinds[0]
        solver = physics(self.task, self.spec.simulation, sources, kind)
        start = np.asarray(gaussian_smooth(jnp.asarray(velocity), SMOOTHING))
        config = inversion_settings(Case(velocity, np.asarray(sources)), kind, ITERATIONS)
        observed: Array = jax.jit(solver.__call__)(jnp.asarray(velocity))
        known: dict[str, Any] = {"truth": velocity, "memory_budget": MEMORY}
        with self._inversion:  # of all pages: each may take the memory of its plan
            return start, invert(solver, observed, start, config, on_progress=on_progress, **known)


def _refuse_large(name: str, size: int) -> None:
    if size > LARGEST_FILE:
        raise InputError(
            f"{name} has {size / 1e6:.0f} MB, but the page takes files of at most {LARGEST_FILE / 1e6:g} MB, unpacked "
            "too. Cut a window out of it first."
        )
