"""Divide samples into splits, so that each split has its share of every file and folder.

The samples stand in one sequence, file after file and folder after folder. It is cut into as many equal parts as a
split has samples, and one sample is drawn of each part. A folder with a share p of all samples then has a share p of
the split, give or take one sample. A draw is a hash of (seed, split, part): it depends on no library's generator.
"""

import hashlib

import numpy as np

from data_gen.common.errors import InputError


def divide(count: int, validation: int, test: int, seed: int | None) -> dict[str, np.ndarray]:
    """Divide samples into splits.

    Args:
        count: Number of samples.
        validation: Number of validation samples.
        test: Number of test samples.
        seed: Seed of the draw; None divides in order: training, validation, test.

    Returns:
        For each split, the indices of its samples in increasing order.

    Raises:
        InputError: If a number is negative or no sample is left for training.
    """
    if min(validation, test) < 0 or validation + test >= count:
        raise InputError(
            f"There are {count} samples: --validation {validation} and --test {test} must be 0 or more and leave at "
            "least one for training."
        )
    everything = np.arange(count)
    if seed is None:
        train, second, third = np.split(everything, [count - validation - test, count - test])
        return {"train": train, "validation": second, "test": third}
    third = _draw(everything, test, f"{seed} test")
    rest = np.setdiff1d(everything, third)
    second = _draw(rest, validation, f"{seed} validation")
    return {"train": np.setdiff1d(rest, second), "validation": second, "test": third}


def _draw(candidates: np.ndarray, count: int, key: str) -> np.ndarray:
    """Draw one of each of `count` parts of the candidates."""
    edges = [part * len(candidates) // max(1, count) for part in range(count + 1)]
    hashes = (hashlib.sha256(f"{key} {part}".encode()).digest() for part in range(count))
    draws = [int.from_bytes(digest[:8], "big") for digest in hashes]
    places = [first + draw % (last - first) for first, last, draw in zip(edges, edges[1:], draws, strict=False)]
    return candidates[np.array(places, int)]
