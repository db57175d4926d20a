"""Gathers: the velocity and the source's position to the pressure at the receivers, over the stored times of a shot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from data_gen.common.errors import InputError
from data_gen.dataset.recording import decode
from data_gen.dataset.sample import DataSpec
from data_gen.solver.numerics.resampling import upsample
from data_gen.solver.problem.simulation import HIGHEST_FREQUENCY
from surrogate import figures as plots
from surrogate.encodings.gather import (
    CoarseGather,
    DirectWave,
    HomogeneousGather,
    coarse_gather_simulation,
    stored_steps,
    stored_times,
)
from surrogate.figures import Figure
from surrogate.metrics import errors as metrics
from surrogate.metrics.ssim import ssim
from surrogate.protocols import Batch, Encoding, Method
from surrogate.tasks.common import check_one_wavelet, check_shots, recorded, spatial_cycles


@dataclass(frozen=True)
class Gather:
    """See `Task`. Raises `InputError` for data without gathers, or that the coarse solver could not stand beside."""

    spec: DataSpec

    name: ClassVar[str] = "gather"
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")
    target: ClassVar[str] = "gathers"

    def __post_init__(self):
        if "gathers" not in self.spec.recording.kinds:
            raise InputError(
                "A gather surrogate learns gathers, but this data set has none: its data.records must hold gathers."
            )
        check_one_wavelet(self.spec)
        coarse_gather_simulation(self.spec)

    @property
    def outputs(self) -> int:
        """The pressure."""
        return 1

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of the simulation's time axis that are predicted."""
        return stored_steps(self.spec)

    @property
    def shape(self) -> tuple[int, int]:
        """Stored times and receivers."""
        return len(self.steps), len(self.spec.receivers)

    @property
    def cycles(self) -> tuple[float, float]:
        """f_max T in time; along the receivers f_max L / v_min."""
        time = self.spec.simulation.time
        highest = HIGHEST_FREQUENCY * self.spec.simulation.peak_frequency
        return highest * time.nt * time.dt, spatial_cycles(self.spec)[1]

    @property
    def examples(self) -> int:
        """One for each shot."""
        return self.spec.shots.count

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """See `Task`: velocity `(nz, nx)` [m/s], source `(2,)` [m], gathers `(1, nt_stored, n_receivers)`; and family,
        an index into the mixture, which no model reads."""
        return {
            "velocity": record["velocity"],
            "source": record["sources"][index],
            "gathers": decode(record, "gathers", index)[None],
            "family": np.asarray(record["family"], np.int32),
        }

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """See `Task` and `read`."""
        drawn = self.spec.draw(key)
        source = drawn.sources[index]
        return {
            "velocity": drawn.velocity,
            "source": source,
            "gathers": recorded(self.spec, drawn.velocity, source[None], drawn.wavelet),
            "family": drawn.family.astype(jnp.int32),
        }

    def check(self, batch: Batch) -> None:
        """Raise `InputError` for velocities or sources that the solver would refuse."""
        check_shots(batch, self.spec)

    def encoding(self, name: str, *, radius: float, velocity: float) -> Encoding:
        """source_map, background or coarse; see gather_encoding.py. The direct wave is as wide as the wavelet: a
        `radius` is not needed."""
        makers = {
            "source_map": lambda: DirectWave(self.spec),
            "background": lambda: HomogeneousGather(self.spec, velocity),
            "coarse": lambda: CoarseGather(self.spec),
        }
        if name not in makers:
            raise InputError(f"encoding.name must be {', '.join(makers)} for gathers, but is {name!r}.")
        return makers[name]()

    def methods(self) -> dict[str, Method]:
        """The coarse solver, interpolated to the stored times and the receivers, and the solver; compiled."""
        coarse = CoarseGather(self.spec)

        @jax.jit
        def coarse_gathers(velocity, source):
            return jax.vmap(lambda v, s: coarse(v, s).baseline)(velocity, source)

        solve = jax.jit(jax.vmap(lambda v, s: recorded(self.spec, v, s[None])))
        return {
            "coarse_solver": lambda batch: coarse_gathers(batch["velocity"], batch["source"]),
            "solver": lambda batch: solve(jnp.asarray(batch["velocity"]), jnp.asarray(batch["source"])),
        }

    def errors(self, prediction: jax.Array, batch: Batch) -> dict[str, Any]:
        """See `Task`: over all, the waveform SSIM, and the mean absolute error in units of the gather's rms."""
        truth = jnp.asarray(batch["gathers"])
        rms = jnp.sqrt(jnp.mean(truth**2, axis=(1, 2, 3)))
        return {
            "relative_l2": metrics.relative_l2(prediction, truth),
            "ssim": waveform_ssim(prediction[:, 0], truth[:, 0], self.spec.recording.gather_every),
            "mae": jnp.mean(jnp.abs(prediction - truth), axis=(1, 2, 3)) / rms,
        }

    def groups(self, batch: Batch) -> dict[str, list[str]]:
        """See `Grouped`: by family, where it is known."""
        if "family" not in batch:
            return {}
        return {"family": [self.spec.mixture.names[int(index)] for index in np.asarray(batch["family"])]}

    def figures(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> dict[str, Figure]:
        """See `Task`."""
        width = self.spec.simulation.grid.extent[1]
        shown = {name: gather[0] for name, gather in predictions.items()}
        duration = float(stored_times(self.spec)[-1])
        return {"fields": plots.gathers(example["velocity"], example["gathers"][0], shown, (width, duration))}


def waveform_ssim(
    prediction: Float[Array, "batch nt_stored n_receivers"],
    truth: Float[Array, "batch nt_stored n_receivers"],
    every: int,
) -> Float[Array, " batch"]:
    """SSIM of gathers at all time steps, of which every `every`-th is given: a / (2 rms) + 1/2, range 1.

    As in the published evaluation of GFI (arXiv 2410.11247), but that rms is of each true gather, theirs the deviation
    over a data set.
    """
    scale = 2 * jnp.sqrt(jnp.mean(truth**2, axis=(1, 2), keepdims=True))

    def image(gather: jax.Array) -> jax.Array:
        # Gathers are stored well above their Nyquist rate: what lies between the samples is known.
        dense = upsample(jnp.swapaxes(gather / scale, 1, 2), every)
        return jnp.swapaxes(dense, 1, 2) + 0.5

    return ssim(image(prediction), image(truth))
