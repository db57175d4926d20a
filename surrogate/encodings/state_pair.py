"""Encode two snapshots as they are; the baseline is the recurrence at one frequency. See tasks/propagator.py."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Array, Float

from data_gen.dataset.sample import DataSpec
from surrogate.encodings.schemas import EncodingConfig, NoneConfig
from surrogate.protocols import Encoded


@dataclass(frozen=True)
class StatePair:
    """Show the velocity and both pressures; the baseline is the recurrence at the wavelet's peak frequency.

    Attributes:
        spec: Description of the data set.
    """

    spec: DataSpec

    settings: ClassVar[type[EncodingConfig]] = NoneConfig
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "state")
    target: ClassVar[str] = "snapshots"
    media = 1
    channels = 2

    @classmethod
    def create(cls, spec: DataSpec, config: NoneConfig) -> "StatePair":
        """See `RegisteredEncoding.create`."""
        return cls(spec)

    def __call__(self, velocity: Float[Array, "nz nx"], state: Float[Array, "2 nz nx"]) -> Encoded:
        """Encode one example.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            state: Two consecutive snapshots `(2, nz, nx)`, the earlier one first.

        Returns:
            Input of the operator, and the field that it corrects.
        """
        steps, simulation = self.spec.simulation.snapshot_steps, self.spec.simulation
        interval = (steps[1] - steps[0]) * simulation.time.dt
        factor = 2 * float(np.cos(2 * np.pi * simulation.peak_frequency * interval))
        baseline = factor * state[1:] - state[:1]
        return Encoded(velocity[None], state, baseline)
