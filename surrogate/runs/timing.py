"""Say how long a training took, and time several methods on one batch.

The methods take turns, so that a drift of the machine's speed hits all of them alike.
"""

import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from data_gen.common.files import read_json, read_rows
from surrogate.protocols import Batch, Method
from surrogate.runs.packed import CARD


def training_seconds(run: Path, batch_size: int) -> float:
    """Compute how long a training took, from its curves; of an unpacked surrogate, read it from the card.

    Args:
        run: Folder of the run.
        batch_size: Number of examples in a step.

    Returns:
        The time [s].
    """
    if (run / CARD).is_file():
        return read_json(run / CARD)["training_seconds"]
    seconds, before = 0.0, 0
    rows = [row for _, row in read_rows(run / "metrics.jsonl") if row.get("samples_per_s")]
    for row in sorted(rows, key=lambda row: row["step"]):
        seconds += (row["step"] - before) * batch_size / row["samples_per_s"]
        before = row["step"]
    return seconds


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
