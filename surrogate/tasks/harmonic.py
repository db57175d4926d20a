"""Predict time-harmonic fields: the velocity, the source's position and a frequency to the complex pressure.

The field is that of a source of unit spectrum, G = P / W(f): what is stored (engines/field_sums.py) without the
wavelet's amplitude and phase, so that all frequencies are alike in size and nothing has to be learned of the wavelet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, Key

from data_gen.common.errors import InputError
from data_gen.dataset.recording import decode
from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import simulate
from surrogate.encodings.harmonic import HarmonicCoarse, nearest, spectrum, unit_source
from surrogate.metrics.errors import band_errors, relative_l2
from surrogate.protocols import Batch, Encoded, Encoding, Equation, Method
from surrogate.tasks.base import GridTask, ShotInputs, TaskConfig
from surrogate.tasks.common import check_one_wavelet, check_recorded
from surrogate.tasks.signature import source_entry, velocity_entry


@dataclass(frozen=True)
class Harmonic(ShotInputs, GridTask):
    """Predict fields at a frequency; see `Task`. Raises `InputError` for data without, or with several wavelets.

    Attributes:
        spec: Description of the data set.
    """

    spec: DataSpec

    name: ClassVar[str] = "harmonic"
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source", "frequency")
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
        """Real and imaginary part."""
        return 2

    @property
    def cycles(self) -> tuple[float, float]:
        """Wavenumbers k_max = f L / v_min at the highest of the frequencies."""
        (nz, nx), spacing = self.shape, self.spec.simulation.grid.spacing
        per_meter = max(self.frequencies) / self.spec.slowest
        return per_meter * nz * spacing, per_meter * nx * spacing

    @property
    def examples(self) -> int:
        """One for each shot and frequency, the frequency fastest."""
        return self.spec.shots.count * len(self.frequencies)

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """See `Task.read`: velocity `(nz, nx)` [m/s], source `(2,)` [m], frequency [Hz], harmonic `(2, nz, nx)`."""
        shot, f = divmod(index, len(self.frequencies))
        real, imaginary = decode(record, "harmonic", shot)[f]
        inverse = np.complex64(1 / self._spectrum[f])
        unit = (real + 1j * imaginary).astype(np.complex64) * inverse
        return {
            "velocity": record["velocity"],
            "source": record["sources"][shot],
            "frequency": np.asarray(self.frequencies[f], np.float32),
            "harmonic": np.stack([unit.real, unit.imag]),
        }

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """See `Task.make` and `read`."""
        drawn = self.spec.draw(key)
        shot, f = jnp.divmod(index, len(self.frequencies))
        frequency, source = jnp.asarray(self.frequencies, jnp.float32)[f], drawn.sources[shot]
        fields = self._solve(drawn.velocity, source[None], self.spec.simulation, drawn.wavelet)[0]
        return {"velocity": drawn.velocity, "source": source, "frequency": frequency, "harmonic": fields[f]}

    def _solve(self, velocity, sources, simulation, wavelet=None) -> Float[Array, "n_sources n_frequencies 2 nz nx"]:
        simulation = replace(simulation, snapshot_steps=())
        survey = self.spec.survey(sources, wavelet, receivers=False)
        fields = simulate(velocity, survey, simulation, density=self.spec.density(velocity)).harmonic
        inverse = np.broadcast_to(1 / self._spectrum, fields.shape[:2])
        return unit_source(jnp.stack([fields.real, fields.imag], axis=2), inverse)

    def solve(
        self, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"], simulation: Simulation
    ) -> Float[Array, "examples 2 nz nx"]:
        """See `SolvedTask.solve`: each shot at each frequency, the frequency fastest."""
        fields = self._solve(velocity, sources, simulation)
        return fields.reshape(-1, *fields.shape[2:])

    def check(self, batch: Batch) -> None:
        """See `Task.check`: velocities or sources that the solver would refuse, or frequencies not the data's."""
        super().check(batch)
        asked = np.asarray(batch["frequency"], float)
        known = np.isclose(asked[:, None], np.array(self.frequencies), rtol=1e-4).any(axis=1)
        if not known.all():
            raise InputError(
                f"A harmonic surrogate knows the frequencies of its data, {self.frequencies} Hz, but was asked for "
                f"{asked[~known][0]:g} Hz. Ask for one of them, or train on data with that one in data.frequencies."
            )

    def methods(self) -> dict[str, Method]:
        """Return the coarse solver and the solver; compiled.

        Both make all frequencies at once, so that each of their examples costs as much as all frequencies of a shot.
        The coarse solver is left out where no whole number of its cells fits between walls.
        """
        coarse = HarmonicCoarse(self.spec)

        @jax.jit
        def coarse_fields(*inputs):
            return jax.vmap(lambda *one: coarse(*one).baseline)(*inputs)

        @jax.jit
        def fields(*inputs):
            return jax.vmap(lambda v, s, f: self.solve(v, s[None], self.spec.simulation)[nearest(f, self.spec)])(
                *inputs
            )

        def arrays(batch: Batch) -> list[jax.Array]:
            return [jnp.asarray(batch[name]) for name in self.inputs]

        methods = {"solver": lambda batch: fields(*arrays(batch))}
        if coarse.solver.reason_against:
            return methods
        return {"coarse_solver": lambda batch: coarse_fields(*arrays(batch))} | methods

    def errors(self, prediction: Float[Array, "batch 2 nz nx"], batch: Batch) -> dict[str, Any]:
        """See `Task.errors`: of the complex field, over all and by band of wavenumbers."""
        target = jnp.asarray(batch["harmonic"])
        return {
            "relative_l2": relative_l2(prediction, target),
            "bands": band_errors(prediction, target),
        }

    def groups(self, batch: Batch) -> dict[str, list[str]]:
        """See `Task.groups`: by frequency."""
        return {"frequency": [f"{float(f):g} Hz" for f in np.asarray(batch["frequency"])]}

    def shot_inputs(self, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"]) -> dict[str, jax.Array]:
        """See `ShotTask.shot_inputs`: each shot at each frequency, the frequency fastest."""
        frequencies = jnp.asarray(self.frequencies, jnp.float32)
        shots = super().shot_inputs(velocity, jnp.repeat(jnp.asarray(sources), len(frequencies), axis=0))
        return shots | {"frequency": jnp.tile(frequencies, len(sources))}

    def encode_shots(
        self, encoding: Encoding, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"]
    ) -> Encoded:
        """See `ShotTask.encode_shots`: what a shot's frequencies share, such as the coarse field, is made once."""
        velocity = jnp.asarray(velocity)
        sources, frequencies = (jnp.asarray(values, velocity.dtype) for values in (sources, self.frequencies))
        of_shot = jax.vmap(encoding, (None, None, 0))
        encoded = jax.vmap(of_shot, (None, 0, None))(velocity, sources, frequencies)
        return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:]), encoded)

    def signature(self) -> dict[str, dict[str, Any]]:
        """See `Task.signature`."""
        parts = "real and imaginary part of the transform with exp(-2 pi i f t)"
        return {
            "velocity": velocity_entry(self.spec),
            "source": source_entry(self.spec),
            "frequency": {"axes": ["batch"], "unit": "Hz", "values": list(self.frequencies)},
            "harmonic": {"axes": ["batch", parts, "z", "x"], "unit": "pressure, for a source of unit spectrum"},
        }


@dataclass
class HarmonicConfig(TaskConfig):
    """Predict the complex field of a source that sounds at one frequency.

    Attributes:
        name: Name of the task; chosen with `task=harmonic`.
    """

    name: str = Harmonic.name

    def create(self, spec: DataSpec) -> Harmonic:
        """See `TaskConfig.create`."""
        return Harmonic(spec)
