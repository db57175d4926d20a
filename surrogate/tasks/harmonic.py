"""Time-harmonic fields: the velocity, the source's position and a frequency to the complex pressure on the grid.

The field is that of a source of unit spectrum, G = P / W(f): what is stored (engines/fourier_sums.py) without the
wavelet's amplitude and phase, so that all frequencies are alike in size and nothing has to be learnt of the wavelet.
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
from data_gen.solver.simulator import simulate
from surrogate import figures as plots
from surrogate.encodings.coarse_solver import coarse_simulation
from surrogate.encodings.harmonic import (
    HarmonicBackground,
    HarmonicCoarse,
    HarmonicSourceMap,
    nearest,
    spectrum,
    unit_source,
)
from surrogate.figures import Figure
from surrogate.metrics import errors as metrics
from surrogate.protocols import Batch, Encoding, Method
from surrogate.tasks.common import OnGrid, check_one_wavelet, check_shots


@dataclass(frozen=True)
class Harmonic(OnGrid):
    """See `Task`. Raises `InputError` for data without time-harmonic fields, or that no encoding could serve."""

    spec: DataSpec

    name: ClassVar[str] = "harmonic"
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source", "frequency")
    target: ClassVar[str] = "harmonic"

    def __post_init__(self):
        if "harmonic" not in self.spec.recording.kinds:
            raise InputError(
                "A harmonic surrogate learns time-harmonic fields, but this data set has none: its data.records must "
                "hold harmonic, and data.frequencies name them."
            )
        check_one_wavelet(self.spec)
        coarse_simulation(replace(self.spec.simulation, snapshot_steps=()))

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Of the data [Hz]."""
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
        """k_max = f L / v_min at the highest of the frequencies."""
        (nz, nx), spacing = self.shape, self.spec.simulation.grid.spacing
        per_metre = max(self.frequencies) / self.spec.slowest
        return per_metre * nz * spacing, per_metre * nx * spacing

    @property
    def examples(self) -> int:
        """One for each shot and frequency, the frequency fastest."""
        return self.spec.shots.count * len(self.frequencies)

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """See `Task`: velocity `(nz, nx)` [m/s], source `(2,)` [m], frequency [Hz], harmonic `(2, nz, nx)`."""
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
        """See `Task` and `read`."""
        drawn = self.spec.draw(key)
        shot, f = jnp.divmod(index, len(self.frequencies))
        frequency, source = jnp.asarray(self.frequencies, jnp.float32)[f], drawn.sources[shot]
        fields = self._solve(drawn.velocity, source, drawn.wavelet)
        return {"velocity": drawn.velocity, "source": source, "frequency": frequency, "harmonic": fields[f]}

    def _solve(self, velocity, source, wavelet=None) -> Float[Array, "n_frequencies 2 nz nx"]:
        simulation = replace(self.spec.simulation, snapshot_steps=())
        survey = self.spec.survey(source[None], wavelet, receivers=False)
        fields = simulate(velocity, survey, simulation, density=self.spec.density(velocity)).harmonic[0]
        return unit_source(jnp.stack([fields.real, fields.imag], axis=1), self._spectrum)

    def check(self, batch: Batch) -> None:
        """Raise `InputError` for velocities or sources that the solver would refuse, or frequencies not the data's."""
        check_shots(batch, self.spec)
        asked = np.asarray(batch["frequency"], float)
        known = np.isclose(asked[:, None], np.array(self.frequencies), rtol=1e-4).any(axis=1)
        if not known.all():
            raise InputError(
                f"A harmonic surrogate knows the frequencies of its data, {self.frequencies} Hz, but was asked for "
                f"{asked[~known][0]:g} Hz. Ask for one of them, or train on data with that one in data.frequencies."
            )

    def encoding(self, name: str, *, radius: float, velocity: float) -> Encoding:
        """source_map, background or coarse; see harmonic_encoding.py."""
        makers = {
            "source_map": lambda: HarmonicSourceMap(self.spec, radius),
            "background": lambda: HarmonicBackground(self.spec, velocity),
            "coarse": lambda: HarmonicCoarse(self.spec),
        }
        if name not in makers:
            raise InputError(f"encoding.name must be {', '.join(makers)} for harmonic fields, but is {name!r}.")
        return makers[name]()

    def methods(self) -> dict[str, Method]:
        """The coarse solver, interpolated to the grid, and the solver; compiled. Both make all frequencies at once, so
        that each of their examples costs what all frequencies of a shot do."""
        coarse = HarmonicCoarse(self.spec)

        @jax.jit
        def coarse_fields(*inputs):
            return jax.vmap(lambda *one: coarse(*one).baseline)(*inputs)

        @jax.jit
        def fields(*inputs):
            return jax.vmap(lambda v, s, f: self._solve(v, s)[nearest(f, self.spec)])(*inputs)

        def arrays(batch: Batch) -> list[jax.Array]:
            return [jnp.asarray(batch[name]) for name in self.inputs]

        return {
            "coarse_solver": lambda batch: coarse_fields(*arrays(batch)),
            "solver": lambda batch: fields(*arrays(batch)),
        }

    def errors(self, prediction: jax.Array, batch: Batch) -> dict[str, Any]:
        """See `Task`: of the complex field, over all and by band of wavenumbers."""
        truth = jnp.asarray(batch["harmonic"])
        return {
            "relative_l2": metrics.relative_l2(prediction, truth),
            "bands": metrics.band_errors(prediction, truth),
        }

    def groups(self, batch: Batch) -> dict[str, list[str]]:
        """See `Grouped`: by frequency."""
        return {"frequency": [f"{float(f):g} Hz" for f in np.asarray(batch["frequency"])]}

    def figures(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> dict[str, Figure]:
        """See `Task`: real parts."""
        spacing, real = self.spec.simulation.grid.spacing, {name: field[0] for name, field in predictions.items()}
        return {"fields": plots.overview(example["velocity"], example["harmonic"][0], real, spacing)}
