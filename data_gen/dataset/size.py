"""Predict what a data set will take before it is made: room on disk, and memory for the batches under way."""

import math
import shutil
from pathlib import Path

import numpy as np

from data_gen.common.files import existing_folder
from data_gen.dataset.config import DataConfig
from data_gen.dataset.records import Fields, fields_of
from data_gen.dataset.sample import DataSpec
from data_gen.solver.memory_plan import peak_bytes


def record_bytes(fields: Fields) -> int:
    """Compute the size of one record, which is stored without compression.

    Args:
        fields: Shape and dtype of every field by name.

    Returns:
        The size [bytes].
    """
    return sum(math.prod(field["shape"]) * np.dtype(field["dtype"]).itemsize for field in fields.values())


def batch_bytes(spec: DataSpec, batch_size: int) -> int:
    """Predict the memory that the simulation of a batch of samples takes.

    Args:
        spec: Description of the data set.
        batch_size: Number of samples simulated together.

    Returns:
        The memory [bytes]; the derivatives along each direction, if recorded, take as much as the simulation.
    """
    receivers = len(spec.receivers) if "gathers" in spec.recording.kinds else 0
    shots = batch_size * spec.shots.count
    peak = peak_bytes(spec.simulation, shots, receivers, constant_density=not spec.gardner)
    return peak * (1 + ("tangents" in spec.recording.kinds) * spec.recording.directions)


def expected_size(config: DataConfig) -> str:
    """Describe what a data set will take.

    Args:
        config: Config of the data set.

    Returns:
        One line for the terminal.
    """
    spec, samples = config.create(), config.train + config.validation + config.test
    each = record_bytes(fields_of(spec))
    free = shutil.disk_usage(existing_folder(Path(config.path))).free
    memory = batch_bytes(spec, config.batch_size)
    return (
        f"{config.path}: {samples} samples of {_size(each)}, about {_size(samples * each)} on disk ({_size(free)} "
        f"free); simulating a batch of {config.batch_size} takes about {_size(memory)} in addition to the process"
    )


def _size(size: int) -> str:
    """Write a size to three digits."""
    power = min(3, max(1, int(math.log10(max(size, 1)) // 3)))
    return f"{float(f'{size / 1e3**power:.3g}'):g} {('kB', 'MB', 'GB')[power - 1]}"
