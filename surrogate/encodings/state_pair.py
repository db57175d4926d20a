"""Two snapshots as they are, and the recurrence at one frequency as the baseline; see tasks/propagator.py."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from data_gen.dataset.sample import DataSpec
from surrogate.protocols import Encoded


@dataclass(frozen=True)
class StatePair:
    """The velocity and both pressures; the baseline is the recurrence at the wavelet's peak frequency."""

    spec: DataSpec

    media = 1
    channels = 2

    def __call__(self, velocity: Float[Array, "nz nx"], state: Float[Array, "2 nz nx"]) -> Encoded:
        """See `Encoding`."""
        steps, simulation = self.spec.simulation.snapshot_steps, self.spec.simulation
        interval = (steps[1] - steps[0]) * simulation.time.dt
        factor = 2 * float(np.cos(2 * np.pi * simulation.peak_frequency * interval))
        baseline = factor * state[1:] - state[:1]
        return Encoded(velocity[None], state, baseline)
