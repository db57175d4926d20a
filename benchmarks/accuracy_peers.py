"""The peers of `benchmarks.accuracy`: in which ways they simulate its problems, and how their gathers are compared."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy_cases import SPACING, TIME_STEP, WIDTH, Problem

PEERS = {"deepwave": "Deepwave", "devito": "Devito"}


@dataclass(frozen=True)
class PeerCase:
    """Describe how a peer simulates a problem.

    refinement: how often cells are repeated along an axis.
    parts: its time steps for each 1 ms; records are taken at all of them.
    corrected: with its own correction of temporal dispersion.
    width: its absorbing layers in cells of the model.
    """

    order: int
    refinement: int
    parts: int
    corrected: bool = False
    medium: str = "rough"
    side: int = 128
    width: int = WIDTH

    @property
    def name(self) -> str:
        how = ", its time correction" if self.corrected else ""
        how += "" if self.width == WIDTH else f", layers of {self.width * SPACING:.0f} m"
        return f"{self.spacing:.3g} m, {1 / self.parts:.3g} ms, order {self.order}{how}"

    @property
    def problem(self) -> Problem:
        return Problem(self.medium, self.side)

    @property
    def spacing(self) -> float:
        return SPACING / self.refinement

    @property
    def step(self) -> float:
        return TIME_STEP / self.parts

    @property
    def steps(self) -> int:
        return (self.problem.time.nt - 1) * self.parts + 1

    @property
    def cells_of_layers(self) -> int:
        return self.width * self.refinement

    @property
    def velocity(self) -> np.ndarray:
        return np.kron(self.problem.velocity, np.ones((self.refinement,) * 2)).astype(np.float32)

    def cells(self, points: np.ndarray) -> np.ndarray:
        """The places of points, cells of the model, in cells of the peer's grid."""
        return points * self.refinement + (self.refinement - 1) / 2

    def wavelet(self, steps: int) -> np.ndarray:
        """The wavelet at the peer's time steps."""
        shifted = np.arange(steps) * self.step - 1.2 / 15.0
        exponent = (np.pi * 15.0 * shifted) ** 2
        return (1 - 2 * exponent) * np.exp(-exponent)


PEER_CASES: dict[str, tuple[PeerCase, ...]] = {
    "deepwave": tuple(
        PeerCase(8, refinement, parts, corrected)
        for refinement, parts in ((1, 1), (1, 2), (3, 3))
        for corrected in (False, True)
    ),
    # Its sponge of 200 m sends back a third of the records; one of 800 m, 3 %.
    "devito": (PeerCase(8, 1, 1), PeerCase(8, 1, 1, width=80), PeerCase(8, 2, 4, width=80)),
}


def peer_errors(
    gathers: np.ndarray, case: PeerCase, wanted: np.ndarray, relative: Callable[[np.ndarray, np.ndarray], float]
) -> dict[str, float]:
    """The error of a peer's gathers `(shots, steps, receivers)`."""
    return {"gathers": relative(gathers[:, :: case.parts], wanted)}
