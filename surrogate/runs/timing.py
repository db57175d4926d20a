"""Time several methods on one batch, in turns, so that a drift of the machine's speed hits all of them alike."""

import time
from functools import partial
from typing import Any

import jax
import numpy as np

from surrogate.protocols import Batch, Method


def time_per_sample(methods: dict[str, Method], batch: Batch, batch_size: int, repeats: int) -> dict[str, Any]:
    """Measure the seconds that compiled methods take per sample.

    Args:
        methods: Functions from a batch to predictions, by name.
        batch: Examples to predict.
        batch_size: Number of the examples.
        repeats: Number of rounds, in each of which every method runs once.

    Returns:
        Median, smallest and largest seconds per sample of each method.
    """
    calls = {name: partial(method, batch) for name, method in methods.items()}
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            seconds[name].append((time.perf_counter() - start) / batch_size)
    return {name: {"median": float(np.median(s)), "min": min(s), "max": max(s)} for name, s in seconds.items()}
