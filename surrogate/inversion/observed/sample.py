"""Take a sample of a data set for observed data; its true model is known."""

from pathlib import Path

import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.frame import Frame
from data_gen.dataset.generation import data_source
from data_gen.dataset.manifest import config_of, read_manifest
from data_gen.dataset.recorded import RecordedSpec
from data_gen.dataset.recording import decode
from surrogate.inversion.observed.record import KnownModel, Observed


def read_sample(path: Path, split: str, index: int) -> Observed:
    """Read the gathers of a sample, with its survey and its true model.

    Args:
        path: Folder of the data set, generated or imported.
        split: Split of the sample: train, validation or test.
        index: Index of the sample in its split.

    Returns:
        The gathers, as they were stored.

    Raises:
        InputError: If there is no such sample, or it has no gathers or positions.
    """
    config = config_of(read_manifest(path), path)
    spec = config.create()
    samples = data_source(path, split)
    if not 0 <= index < len(samples):
        raise InputError(
            f"The split {split} of {path} has the samples 0 to {len(samples) - 1}, but inversion.index is {index}."
        )
    record = samples[index]
    if "gathers" not in record:
        raise InputError(f"The samples of {path} have no gathers: add gathers to data.records, and generate it again.")
    if isinstance(spec, RecordedSpec):
        assert config.recorded is not None
        sources, receivers = config.recorded.source_positions, config.recorded.receiver_positions
        wavelet = spec.wavelet if spec.knows_wavelet else None
    else:
        sources, receivers = record["sources"], record["receivers"]
        wavelet = np.asarray(record["wavelet"], float)[:: config.gather_every]
    if sources is None or receivers is None:
        raise InputError(
            f"{path} was imported without the positions of its sources and receivers. Import the files again, to "
            "another folder, with --sources and --receivers."
        )
    gathers = decode(record, "gathers")
    known = KnownModel(
        np.asarray(record["velocity"], np.float32), config.spacing, spec.gardner, config.free_surface, wavelet
    )
    notes = (f"sample {index} of the split {split}, whose true model is known",)
    return Observed(
        gathers,
        np.ones((len(gathers), 1, gathers.shape[-1]), np.float32),
        np.asarray(sources, float)[:, None],
        np.asarray(receivers, float),
        config.dt * config.gather_every,
        0.0,
        Frame(),
        notes,
        known,
    )
