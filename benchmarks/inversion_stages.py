"""Stages of an inversion, as every contender gets them; needs no library, so that any process can import it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Describe a stage: data and wavelets up to a frequency [Hz], solver cells [m], and the iterations of L-BFGS."""

    highest_frequency: float
    spacing: float
    iterations: int
