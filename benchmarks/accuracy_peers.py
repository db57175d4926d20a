"""The peers of `benchmarks.accuracy`: in which ways they simulate its problems, and how their gathers are compared."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy_cases import SPACING, TIME_STEP, Problem

PEERS = {"deepwave": "Deepwave", "devito": "Devito"}


@dataclass(frozen=True)
class PeerCase:
    """Describe how a peer simulates a problem.

    refinement: how often cells are repeated along an axis.
    parts: its time steps for each 1 ms; records are taken at all of them.
    corrected: with its own correction of temporal dispersion.
    """

    order: int
    refinement: int
    parts: int
    corrected: bool = False
    medium: str = "rough"
    side: int = 128

    @property
    def name(self) -> str:
        how = ", its time correction" if self.corrected else ""
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
    def velocity(self) -> np.ndarray:
        return np.kron(self.problem.velocity, np.ones((self.refinement,) * 2)).astype(np.float32)

    def cells(self, points: np.ndarray) -> np.ndarray:
        """The places of points, cells of the model, in cells of the peer's grid."""
        return points * self.refinement + (self.refinement - 1) / 2

    @property
    def wavelet(self) -> np.ndarray:
        """The wavelet at the peer's time steps."""
        shifted = np.arange(self.steps) * self.step - 1.2 / 15.0
        exponent = (np.pi * 15.0 * shifted) ** 2
        return (1 - 2 * exponent) * np.exp(-exponent)


PEER_CASES: dict[str, tuple[PeerCase, ...]] = {
    "deepwave": tuple(
        PeerCase(8, refinement, parts, corrected)
        for refinement, parts in ((1, 1), (1, 2), (3, 3))
        for corrected in (False, True)
    ),
    "devito": (PeerCase(8, 1, 1), PeerCase(8, 2, 4)),
}


def peer_errors(
    gathers: np.ndarray, case: PeerCase, wanted: np.ndarray, relative: Callable[[np.ndarray, np.ndarray], float]
) -> dict[str, float]:
    """The error of a peer's gathers `(shots, steps, receivers)`."""
    return {"gathers": relative(gathers[:, :: case.parts], wanted)}
