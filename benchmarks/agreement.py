"""Check that two solvers give the same answer, before they are timed and with the same calls.

Every peer steps the same discrete equation inside the grid, and every peer's source is scaled to ours (see the peers'
modules), so what may differ is rounding and the absorbing layer. The record is therefore compared twice:

- where no layer can have touched it, before the fastest wave has been to the nearest layer and back, only rounding
  is left: `steps` additions in float32, each good to 6e-8, are 6e-5 at worst for 1000 steps. A source off by one part
  in a thousand, one step of delay or another stencil fail here.
- over its whole length, within what the two layers may reflect differently: see `Peer.tolerance`.

The gradient is that of half the gathers' sum of squares with respect to velocity, and gathers every sample; it is
judged away from the walls by the same tolerance, and by its direction.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import FASTEST, SPACING, TIME_STEP, Case, receivers, sources

ROUNDING = 1e-4
RIM = 5  # Cells along each wall that the gradient is not compared in: a layer's model is its wall's.


@dataclass(frozen=True)
class Judgment:
    """Named errors, each with the largest one accepted."""

    errors: dict[str, float]
    limits: dict[str, float]

    @property
    def agrees(self) -> bool:
        """Whether every error is within its limit; one that is not a number is not."""
        return all(error <= self.limits[name] for name, error in self.errors.items())

    def __str__(self) -> str:
        return ", ".join(f"{name} {error:.1e} (<= {self.limits[name]:.0e})" for name, error in self.errors.items())


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """|found - expected| / |expected| in the L2 norm; nan where nothing was expected, or nothing to compare."""
    found, expected = found.astype(float), expected.astype(float)
    scale = np.linalg.norm(expected)
    return float(np.linalg.norm(found - expected) / scale) if scale > 0 else float("nan")


def undisturbed(case: Case) -> np.ndarray:
    """Samples `(gathers, steps, receivers)` before the fastest wave can return from the nearest layer.

    The way by a wall is the straight way from the source's mirror image behind it.
    """
    shape = (case.gathers, case.steps, case.side)
    if case.width == 0:
        return np.ones(shape, bool)
    ways = []
    for axis in (0, 1):
        start, end = sources(case)[:, None, axis], receivers(case)[None, :, axis]
        across = sources(case)[:, None, 1 - axis] - receivers(case)[None, :, 1 - axis]
        ways += [np.hypot(start + end + 2, across), np.hypot(2 * case.side - start - end, across)]
    back = np.min(ways, axis=0) * SPACING / FASTEST
    times = np.arange(case.steps) * TIME_STEP
    return np.broadcast_to(times[None, :, None] < back[:, None, :], shape)


def judge_gathers(case: Case, found: np.ndarray, expected: np.ndarray, tolerance: float) -> Judgment:
    """Compare gathers `(gathers, steps, receivers)` with ours."""
    early = undisturbed(case)
    errors = {
        "undisturbed": relative_error(found[early], expected[early]),
        "whole": relative_error(found, expected),
    }
    return Judgment(errors, {"undisturbed": ROUNDING, "whole": tolerance})


def judge_gradient(found: np.ndarray, expected: np.ndarray, tolerance: float) -> Judgment:
    """Compare gradients `(models, side, side)` with ours; `turn` is 1 - cosine of the angle between the two."""
    inside = (slice(None), slice(RIM, -RIM), slice(RIM, -RIM))
    found, expected = found[inside].astype(float), expected[inside].astype(float)
    cosine = np.sum(found * expected) / (np.linalg.norm(found) * np.linalg.norm(expected))
    errors = {"gradient": relative_error(found, expected), "turn": float(1 - cosine)}
    return Judgment(errors, {"gradient": tolerance, "turn": tolerance**2})
