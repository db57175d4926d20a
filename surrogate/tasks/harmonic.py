"""Predict time-harmonic fields: the velocity and the source's position to the complex pressure at all frequencies.

The fields are those of a source of unit spectrum, G = P / W(f): what is stored (engines/field_sums.py) without the
wavelet's amplitude and phase, so that all frequencies are alike in size and nothing has to be learned of the wavelet.
An operator predicts all of them at once, as the solver makes all of them in one simulation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, Key

from data_gen.dataset.recording import decode
from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import simulate
from surrogate import figures
from surrogate.encodings.coarse_solver import RATIO
from surrogate.encodings.harmonic import HarmonicCoarse, of_unit_source, spectrum
from surrogate.figures import Figure
from surrogate.metrics.errors import band_errors, relative_l2
from surrogate.protocols import Batch, Equation, Method
from surrogate.tasks.base import GridTask, ShotInputs, TaskConfig
from surrogate.tasks.common import check_one_wavelet, check_recorded, family_of, shot_methods
from surrogate.tasks.signature import source_entry, velocity_entry


@dataclass(frozen=True)
class Harmonic(ShotInputs, GridTask):
    """Predict fields at all frequencies; see `Task`. Raises `InputError` for data without, or with several wavelets.

    Attributes:
        spec: Description of the data set.
    """

    spec: DataSpec

    name: ClassVar[str] = "harmonic"
    target: ClassVar[str] = "harmonic"
    equation: ClassVar[Equation | None] = "helmholtz"

    def __post_init__(self):
        check_recorded(self.name, "harmonic", self.spec)
        check_one_wavelet(self.spec)

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Frequencies of the data [Hz]."""
        return self.spec.simulation.frequencies

    @cached_property
    def _spectrum(self) -> Complex[np.ndarray, " n_frequencies"]:
        return spectrum(self.spec)

    @property
    def outputs(self) -> int:
        """Real and imaginary part of each frequency."""
        return 2 * len(self.frequencies)

    @property
    def cycles(self) -> tuple[float, float]:
        """Wavenumbers k_max = f L / v_min at the highest of the frequencies."""
        (nz, nx), spacing = self.shape, self.spec.simulation.grid.spacing
        per_meter = max(self.frequencies) / self.spec.slowest
        return per_meter * nz * spacing, per_meter * nx * spacing

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """See `Task.read`: velocity `(nz, nx)` [m/s], source `(2,)` [m], harmonic `(2 n_frequencies, nz, nx)`."""
        real, imaginary = np.moveaxis(decode(record, "harmonic", index), 1, 0)
        unit = (real + 1j * imaginary) * (1 / self._spectrum)[:, None, None]
        parts = np.stack([unit.real, unit.imag], axis=1).astype(np.float32)
        return {
            "velocity": record["velocity"],
            "source": record["sources"][index],
            "harmonic": parts.reshape(-1, *parts.shape[2:]),
            **family_of(record),
        }

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """See `Task.make` and `read`."""
        drawn = self.spec.draw(key)
        source = drawn.sources[index]
        return {
            "velocity": drawn.velocity,
            "source": source,
            "harmonic": self.solve(drawn.velocity, source[None], self.spec.simulation)[0],
            "family": drawn.family.astype(jnp.int32),
        }

    def solve(
        self, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"], simulation: Simulation
    ) -> Float[Array, "n outputs nz nx"]:
        """See `SolvedTask.solve`."""
        simulation = replace(simulation, snapshot_steps=())
        survey = self.spec.survey(sources, receivers=False)
        fields = simulate(velocity, survey, simulation, density=self.spec.density(velocity)).harmonic
        return of_unit_source(fields, self.spec)

    def methods(self, ratio: float = RATIO) -> dict[str, Method]:
        """See `Task.methods`: the coarse solver and the solver; compiled.

        The coarse solver is left out where no whole number of its cells fits between walls.
        """
        coarse = HarmonicCoarse(self.spec, ratio)
        return shot_methods(self, None if coarse.solver.reason_against else coarse)

    def errors(self, prediction: Float[Array, "batch outputs nz nx"], batch: Batch) -> dict[str, Any]:
        """See `Task.errors`: of the complex fields, over all, at each frequency and by band of wavenumbers."""
        target = jnp.asarray(batch["harmonic"])
        return {
            "relative_l2": relative_l2(prediction, target),
            "frequencies": {
                f"{frequency:g} Hz": relative_l2(prediction[:, 2 * k : 2 * k + 2], target[:, 2 * k : 2 * k + 2])
                for k, frequency in enumerate(self.frequencies)
            },
            "bands": band_errors(prediction, target),
        }

    def figures(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> dict[str, Figure]:
        """See `Task.figures`: the real parts; the overview is of the highest frequency."""
        spacing, highest = self.spec.simulation.grid.spacing, int(np.argmax(self.frequencies))
        real = {name: field[::2] for name, field in predictions.items()}
        target = example["harmonic"][::2]
        shown = {name: field[highest] for name, field in real.items()}
        return {
            "a_overview": figures.overview(example["velocity"], target[highest], shown, spacing),
            "fields": figures.snapshots(target, real, [f"{f:g} Hz" for f in self.frequencies], spacing),
        }

    def signature(self) -> dict[str, dict[str, Any]]:
        """See `Task.signature`."""
        parts = "real and imaginary part of the transform with exp(-2 pi i f t), frequency by frequency"
        return {
            "velocity": velocity_entry(self.spec),
            "source": source_entry(self.spec),
            "harmonic": {
                "axes": ["batch", parts, "z", "x"],
                "unit": "pressure, for a source of unit spectrum",
                "frequencies": {"unit": "Hz", "values": list(self.frequencies)},
            },
        }


@dataclass
class HarmonicConfig(TaskConfig):
    """Predict the complex fields of a source at each frequency of the data.

    Attributes:
        name: Name of the task; chosen with `task=harmonic`.
    """

    name: str = Harmonic.name

    def create(self, spec: DataSpec) -> Harmonic:
        """See `TaskConfig.create`."""
        return Harmonic(spec)
