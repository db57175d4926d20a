"""Propagate: the velocity and the pressure at two snapshot times to the pressure at those that follow.

    p_{n+1} = f(velocity, p_{n-1}, p_n),    p_n = p(n D)    with one interval D between all snapshots

Where nothing fires and nothing is absorbed, p_tt = -A p has the recurrence p_{n+1} = 2 cos(D sqrt(A)) p_n - p_{n-1},
exact for an interval of any length: two snapshots are a complete state. The baseline puts the wavelet's peak frequency
f in the place of sqrt(A) / (2 pi), so the operator learns what the other frequencies, and the edges, add:

    p_{n+1} ~ 2 cos(2 pi f D) p_n - p_{n-1}

(The linear extrapolation 2 p_n - p_{n-1} is its limit for small D.) The model is rolled out; see rollout.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from data_gen.common.errors import InputError
from data_gen.common.ranges import check_fields, ranged
from data_gen.dataset.recording import decode
from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.checks import check_velocity
from surrogate.metrics.errors import relative_l2
from surrogate.models.rollout import Rollout
from surrogate.protocols import Batch, Encoding
from surrogate.tasks.base import TaskConfig
from surrogate.tasks.common import SnapshotTask, check_one_wavelet, check_recorded
from surrogate.tasks.signature import SNAPSHOTS, pressure_entry, velocity_entry

SILENT = 0.01  # fraction of the wavelet's peak


@dataclass(frozen=True)
class Propagator(SnapshotTask):
    """Predict the next snapshots; see `Task`.

    Raises `InputError` for data without three uniformly spaced snapshots of a silent source.

    Attributes:
        spec: Description of the data set.
        unroll: Steps of a training example.
        noise: Strength of the noise on the first state in training, relative to the state's root mean square.
        pushforward: Whether the gradient flows through single steps only.
        windowed: Whether examples are the windows that training sees, `unroll` steps from any snapshot on, or whole
            shots.
    """

    spec: DataSpec
    unroll: int = 4
    noise: float = 0.0
    pushforward: bool = False
    windowed: bool = True

    name: ClassVar[str] = "propagator"
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "state")
    given: ClassVar[int] = 2

    def __post_init__(self):
        check_recorded(self.name, "snapshots", self.spec)
        steps = self.spec.simulation.snapshot_steps
        if len(steps) < 3 or len(set(np.diff(steps).tolist())) > 1:
            raise InputError(
                "A propagator learns the step from two snapshots to the next, so a data set must have three or more, "
                f"all the same time apart, but the snapshot steps of this one are {list(steps)}. Set "
                "data.snapshot_times."
            )
        loudest = float(np.abs(self.spec.wavelet[steps[0] :]).max())
        if loudest > SILENT:
            raise InputError(
                "The next state follows from the last ones only where no source fires, but after the first snapshot, "
                f"at {self.spec.simulation.snapshot_times[0]:g} s, the wavelet still reaches {100 * loudest:.0f} % of "
                "its peak. Begin data.snapshot_times later: after 2.1 periods of the peak frequency."
            )
        if not 1 <= self.unroll <= self.steps or not 0 <= self.noise < 1:
            raise InputError(
                f"A propagator is unrolled over 1 to {self.steps} steps (two less than the snapshots there are) with a "
                f"noise from 0 to below 1, but task.unroll is {self.unroll} and task.noise {self.noise:g}."
            )
        check_one_wavelet(self.spec)

    @property
    def steps(self) -> int:
        """Steps of a whole shot."""
        return len(self.spec.simulation.snapshot_steps) - 2

    @property
    def ahead(self) -> int:
        """Steps of an example."""
        return self.unroll if self.windowed else self.steps

    @property
    def outputs(self) -> int:
        """One pressure, which a step predicts."""
        return 1

    @property
    def _starts(self) -> int:
        return self.steps - self.ahead + 1

    @property
    def examples(self) -> int:
        """One for each shot and each snapshot that enough others follow."""
        return self.spec.shots.count * self._starts

    def for_evaluation(self) -> "Propagator":
        """See `Task.for_evaluation`: examples are whole shots."""
        return replace(self, windowed=False)

    def model(self, encoding: Encoding, operator: nnx.Module, *, rngs: nnx.Rngs) -> Rollout:
        """See `Task.model`: the operator is rolled out."""
        return Rollout(
            self,
            encoding,
            operator,
            steps=self.steps,
            unroll=self.unroll,
            noise=self.noise,
            pushforward=self.pushforward,
            rngs=rngs,
        )

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """See `Task.read`: velocity `(nz, nx)` [m/s], source `(2,)` [m], state `(2, nz, nx)`, snapshots."""
        shot, start = divmod(index, self._starts)
        window = decode(record, "snapshots", shot)[start : start + 2 + self.ahead]
        return {
            "velocity": record["velocity"],
            "source": record["sources"][shot],
            "state": window[:2],
            "snapshots": window[2:],
        }

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """See `Task.make` and `read`."""
        drawn = self.spec.draw(key)
        source = drawn.sources[index // self._starts]
        fields = self.spec.fields(drawn.velocity, source[None], drawn.wavelet)[0]
        window = jax.lax.dynamic_slice_in_dim(fields, index % self._starts, 2 + self.ahead)
        return {"velocity": drawn.velocity, "source": source, "state": window[:2], "snapshots": window[2:]}

    def check(self, batch: Batch) -> None:
        """See `Task.check`: velocities that the solver would refuse, or a state that is not finite."""
        check_velocity(np.asarray(batch["velocity"]), "The batch of velocity models")
        state = np.asarray(batch["state"])
        if state.shape[1:] != (2, *self.shape) or not np.isfinite(state).all():
            raise InputError(
                f"The states that a propagator starts from must be finite pressures (batch, 2, {self.shape[0]}, "
                f"{self.shape[1]}), the earlier first, but are {state.shape} with {(~np.isfinite(state)).sum()} values "
                "that are not finite."
            )

    def errors(self, prediction: Float[Array, "batch n_snapshots nz nx"], batch: Batch) -> dict[str, Any]:
        """See `Task.errors`: over all, at each step of the rollout, of the first, by band, and at the receivers."""
        one_step = relative_l2(prediction[:, 0], jnp.asarray(batch["snapshots"])[:, 0])
        return super().errors(prediction, batch) | {"one_step": one_step}

    def signature(self) -> dict[str, dict[str, Any]]:
        """See `Task.signature`."""
        times = self.spec.simulation.snapshot_times.tolist()
        return {
            "velocity": velocity_entry(self.spec),
            "state": pressure_entry(SNAPSHOTS, times=times[:2]),
            "snapshots": pressure_entry(SNAPSHOTS, times=times[2:]),
        }


@dataclass
class PropagatorConfig(TaskConfig):
    """Predict the snapshots that follow two.

    Attributes:
        name: Name of the task; chosen with `task=propagator`.
        unroll: Steps over which the operator is unrolled in training.
        noise: Strength of the noise on the first state in training, relative to the state's root mean square; from 0
            to below 1.
        pushforward: Whether the gradient flows through single steps only, in place of all unrolled ones.
    """

    name: str = Propagator.name
    unroll: int = ranged(4, "[1, 1024]")
    noise: float = ranged(0.0, "[0, 1)")
    pushforward: bool = False

    def create(self, spec: DataSpec) -> Propagator:
        """See `TaskConfig.create`."""
        check_fields(self, "task")
        return Propagator(spec, self.unroll, self.noise, self.pushforward)
