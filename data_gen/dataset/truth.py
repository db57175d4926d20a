"""State the error of a data set's records against the wave equation.

The first samples of the test split are compared, as they are stored, with converged simulations of their stored models
(data_gen/solver/reference.py). The errors are relative L2 norms, one for each shot: of the solver's grid and time step,
and of half precision where records are stored in it. They depend on the records alone, so that anybody can measure them
again: `wave truth PATH`.

Cells and receivers nearer than NEAR cells to the source are left out. The field of a point is infinite there, and
finite on a grid by as much as its cells are large: while the source fires, these few cells would decide the error.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from data_gen.common.errors import DatasetError
from data_gen.dataset.manifest import config_of, shards_of
from data_gen.dataset.recording import decode
from data_gen.dataset.sample import DataSpec
from data_gen.dataset.shards import read_shard
from data_gen.solver.reference import WaveErrors, converged, relative_errors
from data_gen.solver.simulator import Records, simulate

TRUTH = "truth_error"  # key of the manifest
NEAR = 4.5  # cells
SPLIT = "test"
DIGITS = 3


def _first_records(path: Path, manifest: Mapping[str, Any], samples: int) -> Iterator[Mapping[str, Any]]:
    """Read the first records of the test split."""
    for shard in shards_of(manifest):
        if shard.split == SPLIT and shard.start < samples:
            if not (path / shard.name).is_file():
                raise DatasetError(f"Shard {path / shard.name} is missing. Run the command that made it again.")
            yield from list(read_shard(path / shard.name, manifest["fields"]))[: samples - shard.start]


def record_errors(record: Mapping[str, Any], spec: DataSpec) -> WaveErrors:
    """Compare a stored record with a converged simulation of its model.

    Args:
        record: Values by field.
        spec: Description of the data set.

    Returns:
        Relative L2 errors, shot by shot.
    """
    kinds, shots = spec.recording.kinds, len(record["sources"])
    survey = spec.survey(record["sources"], record["wavelet"], receivers="gathers" in kinds)
    reference = simulate(record["velocity"], survey, converged(spec.simulation), density=record.get("density"))
    reference = reference._replace(gathers=reference.gathers[:, :: spec.recording.gather_every])
    stored: dict[str, Any] = {kind: decode(record, kind) for kind in kinds}
    if "harmonic" in stored:
        stored["harmonic"] = stored["harmonic"][:, :, 0] + 1j * stored["harmonic"][:, :, 1]
    stored = dict.fromkeys(Records._fields, np.zeros((shots, 0))) | stored
    found = Records(*(stored[kind] for kind in Records._fields))
    grid = spec.simulation.grid
    far = far_from(grid.centers, record["sources"], NEAR * grid.spacing)[:, None]
    heard = far_from(np.asarray(survey.receivers), record["sources"], NEAR * grid.spacing)[:, None]
    return relative_errors(
        *(
            Records(
                *(part * mask if part.size else part for part, mask in zip(records, (heard, far, far), strict=True))
            )
            for records in (found, jax.device_get(reference))
        )
    )


def far_from(points: np.ndarray, sources: np.ndarray, radius: float) -> np.ndarray:
    """Mark the points that are not near a source.

    Args:
        points: Positions `(..., 2)` [m].
        sources: Positions `(n_sources, 2)` [m].
        radius: Distance below which a point is near [m].

    Returns:
        True for points that are not near, for each source `(n_sources, ...)`.
    """
    offsets = points - sources.reshape(-1, *(1,) * (points.ndim - 1), 2)
    return np.linalg.norm(offsets, axis=-1) >= radius


def measure_truth(path: str | Path, manifest: Mapping[str, Any], samples: int) -> dict[str, Any]:
    """Measure the error of a data set's records against the wave equation.

    Args:
        path: Folder of the data set.
        manifest: Its manifest, which may be unfinished.
        samples: Number of samples to compare.

    Returns:
        Median and worst relative L2 error over all shots for each kind of record, with the samples and the reference.

    Raises:
        DatasetError: If the data set was imported, or its first test samples are missing.
    """
    if manifest["source"] != "generated":
        raise DatasetError(
            f"The data set at {path} was {manifest['source']}: its records came from files and have no error against "
            "the wave equation that could be measured."
        )
    spec = config_of(manifest, path).create()
    found = [record_errors(record, spec) for record in _first_records(Path(path), manifest, samples)]
    errors = {kind: np.concatenate([getattr(one, kind) for one in found]) for kind in WaveErrors._fields}
    # Kinds that are not recorded have no numbers, nor has a shot whose record is zero.
    heard = {kind: values[np.isfinite(values)] for kind, values in errors.items()}
    reference = converged(spec.simulation)
    return {
        "split": SPLIT,
        "samples": len(found),
        "shots": sum(len(one.gathers) for one in found),
        "reference": {
            "internal_spacing": reference.solved_spacing,
            "order": reference.order,
            "time_step": _rounded(reference.step_length),
            "time_correction": reference.time_correction,
            "medium": reference.medium,
        },
        "relative_l2": {
            kind: {"median": _rounded(np.median(values)), "worst": _rounded(values.max())}
            for kind, values in heard.items()
            if len(values)
        },
    }


def _rounded(value: Any) -> float:
    return float(f"{float(value):.{DIGITS}g}")


def truth_in_words(manifest: Mapping[str, Any]) -> str:
    """Describe the error of a data set's records.

    Args:
        manifest: Manifest of the data set.

    Returns:
        One line for the terminal.
    """
    if TRUTH not in manifest:
        hint = "; `wave truth PATH` measures it" if manifest["source"] == "generated" else ""
        return f"error of the records against the wave equation: not stated{hint}"
    return error_in_words(manifest[TRUTH])


def error_in_words(stated: Mapping[str, Any]) -> str:
    """Describe errors against the wave equation.

    Args:
        stated: Result of `measure_truth`.

    Returns:
        One line for the terminal.
    """
    errors = ", ".join(
        f"{kind} {100 * error['median']:.2g} % (worst {100 * error['worst']:.2g} %)"
        for kind, error in stated["relative_l2"].items()
    )
    return (
        f"error of the records against the wave equation: {errors}; relative L2, median of {stated['shots']} shots in "
        f"{stated['samples']} samples of {stated['split']}"
    )
