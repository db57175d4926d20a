"""Share what several tasks do: the snapshots of a shot, the gathers that the solver records, and refusals."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.dataset.recorded import RecordedSpec
from data_gen.dataset.sample import SPLITS, DataSpec
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import simulate
from surrogate import figures
from surrogate.encodings.coarse_solver import RATIO
from surrogate.encodings.wavefield import Coarse
from surrogate.figures import Figure
from surrogate.metrics.errors import band_errors, relative_l2, relative_l2_per_snapshot
from surrogate.protocols import Batch, Encoding, Equation, Method, Task
from surrogate.tasks.base import GridTask


class SnapshotTask(GridTask):
    """Predict the snapshots of a shot that follow the first `given` ones."""

    target: ClassVar[str] = "snapshots"
    equation: ClassVar[Equation | None] = "wave"
    given: ClassVar[int] = 0

    @property
    def predicted_times(self) -> list[float]:
        """Times of the predicted snapshots [s]."""
        return self.spec.simulation.snapshot_times[self.given :].tolist()

    def methods(self, ratio: float = RATIO) -> dict[str, Method]:
        """See `Task.methods`: the coarse solver and the solver, both from the source on; compiled.

        The coarse solver is left out where no whole number of its cells fits between walls.
        """
        coarse = Coarse(self.spec, ratio)
        return shot_methods(self, None if coarse.solver.reason_against else coarse, self.given)

    def solve(
        self, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"], simulation: Simulation
    ) -> Float[Array, "n n_snapshots nz nx"]:
        """See `SolvedTask.solve`."""
        survey = self.spec.survey(sources, receivers=False)
        simulation = replace(simulation, frequencies=())
        records = simulate(velocity, survey, simulation, density=self.spec.density(velocity))
        return records.snapshots[:, self.given :]

    def errors(self, prediction: Float[Array, "batch n_snapshots nz nx"], batch: Batch) -> dict[str, Any]:
        """See `Task.errors`: over all, at each snapshot, by band of wavenumbers, and at the receivers."""
        rows, columns = self.spec.receiver_cells
        target = jnp.asarray(batch["snapshots"])
        return {
            "relative_l2": relative_l2(prediction, target),
            "per_snapshot": relative_l2_per_snapshot(prediction, target),
            "bands": band_errors(prediction, target),
            "gather_misfit": relative_l2(prediction[:, :, rows, columns], target[:, :, rows, columns]),
        }

    def figures(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> dict[str, Figure]:
        """See `Task.figures`; of whole shots. The overview is half-way, or at the end of a rollout."""
        spacing, times = self.spec.simulation.grid.spacing, self.predicted_times
        target, at = example["snapshots"], -1 if self.given else len(times) // 2
        shown = {name: field[at] for name, field in predictions.items()}
        return {
            "a_overview": figures.overview(example["velocity"], target[at], shown, spacing),
            "fields": figures.snapshots(target, predictions, [f"{1e3 * t:.0f} ms" for t in times], spacing),
        }

    def movie(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> list[bytes]:
        """Draw one example and its predictions, snapshot by snapshot.

        Args:
            example: Arrays of one example, without a batch axis.
            predictions: Prediction of each method, without a batch axis.

        Returns:
            PNG files, in the order of their times.
        """
        spacing = self.spec.simulation.grid.spacing
        return figures.movie(example["velocity"], example["snapshots"], predictions, self.predicted_times, spacing)


def shot_methods(task: Any, coarse: Encoding | None, given: int = 0) -> dict[str, Method]:
    """Make the methods that a surrogate of shots is compared with; compiled.

    Args:
        task: A `SolvedTask`, or one with its method `solve`.
        coarse: Encoding whose baseline is the coarse solver's; None where that cannot simulate the data.
        given: Number of outputs of the baseline that come before those of the prediction.

    Returns:
        The coarse solver, if there is one, and the solver.
    """

    def of_batch(one: Callable[[jax.Array, jax.Array], jax.Array]) -> Method:
        many = jax.jit(jax.vmap(one))
        return lambda batch: many(jnp.asarray(batch["velocity"]), jnp.asarray(batch["source"]))

    methods = {"solver": of_batch(lambda v, s: task.solve(v, s[None], task.spec.simulation)[0])}
    if coarse is None:
        return methods
    return {"coarse_solver": of_batch(lambda v, s: coarse(v, s).baseline[given:])} | methods


def recorded_gathers(
    spec: DataSpec,
    velocity: Float[Array, "nz nx"],
    sources: Float[Array, "n_shots 2"],
    wavelet: Float[Array, " nt"] | None = None,
    simulation: Simulation | None = None,
) -> Float[Array, "n_shots nt_stored n_receivers"]:
    """Record the gathers of shots through a model with the solver, at the stored steps.

    Args:
        spec: Description of the data set.
        velocity: Velocity model `(nz, nx)` [m/s].
        sources: Positions `(n_shots, 2)` [m].
        wavelet: Time function `(nt,)` of every source; None for the nominal one of the data set.
        simulation: Simulation of the same records; None for that of the data set.

    Returns:
        Gathers `(n_shots, nt_stored, n_receivers)`.
    """
    simulation = replace(simulation or spec.simulation, snapshot_steps=(), frequencies=())
    records = simulate(velocity, spec.survey(sources, wavelet), simulation, density=spec.density(velocity))
    return records.gathers[:, :: spec.recording.gather_every]


# Tasks by the kind of records that they learn from.
TASKS_OF = {"snapshots": ("wavefield", "propagator"), "gathers": ("gather", "inverse"), "harmonic": ("harmonic",)}


def check_recorded(task: str, kind: str, spec: DataSpec) -> None:
    """Check that a data set has the records that a task learns from.

    Args:
        task: Name of the task.
        kind: Kind of records that it needs.
        spec: Description of the data set.

    Raises:
        InputError: There are none; the message names the tasks for the records that there are.
    """
    if kind not in spec.recording.kinds:
        fitting = [f"task={name}" for found in spec.recording.kinds for name in TASKS_OF.get(found, ())]
        other = f" For the records that there are, choose {' or '.join(fitting)}." if fitting else ""
        remedy = "imported data hold gathers only" if spec.imported else f"its data.records must hold {kind}"
        raise InputError(f"The task {task} learns from {kind}, but this data set has none: {remedy}.{other}")


def family_of(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read the family of a record.

    Args:
        record: Decoded record of the data set.

    Returns:
        Entry `family`, an index into the mixture; empty for imported data.
    """
    return {"family": np.asarray(record["family"], np.int32)} if "family" in record else {}


def example(task: Task) -> dict[str, Any]:
    """Make one example of a task without reading a data set; pure.

    Args:
        task: The task.

    Returns:
        Arrays by name: of the first validation sample, or, of imported data, of noise in the same shapes and ranges.
    """
    spec = task.spec
    if isinstance(spec, RecordedSpec):
        return task.read(spec.stand_in(), 0)
    return task.make(spec.key(SPLITS.index("validation"), 0), jnp.zeros((), int))


def check_one_wavelet(spec: DataSpec) -> None:
    """Refuse data in which each sample has a wavelet of its own, which no model reads.

    Args:
        spec: Description of the data set.

    Raises:
        InputError: If the wavelets differ.
    """
    if not spec.shots.one_wavelet:
        raise InputError(
            "A surrogate reads the model and the source's position, not its wavelet, so all samples must have "
            "the same: set data.peak_frequency_spread=0."
        )
