"""Read what an evaluation is asked for, check it once, and compare it with an evaluation that was made before."""

import hashlib
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_gen.common.files import read_json
from data_gen.common.ranges import check_fields
from data_gen.dataset.config import DataConfig
from data_gen.dataset.manifest import config_of, fingerprint, read_manifest
from surrogate.config import EvaluateConfig, TrainConfig
from surrogate.runs.folder import read_run
from surrogate.runs.load import best_step, last_step
from surrogate.runs.model_file import read_real
from surrogate.runs.other_data import check_test_split, read_other
from surrogate.runs.other_model import model_shots
from surrogate.runs.provenance import find_dataset
from surrogate.training.batches import check_dataset

# Keys of what is measured.
MEASURES = ("batch_size", "repeats", "speedup_samples", "gradient_samples", "inversion_samples")


class UnfinishedWarning(UserWarning):
    """Warn that an evaluated run has not come to its end."""


class Request(NamedTuple):
    """Hold what an evaluation is asked for.

    Attributes:
        run: Config of the run.
        other: Config of another data set; None: there is none.
        model: Velocity model from a file, and the description of its window; None: there is none.
        evaluated: Values that identify the evaluated weights, the file and the other data set.
    """

    run: TrainConfig
    other: DataConfig | None
    model: tuple[np.ndarray, str] | None
    evaluated: dict[str, Any]


def read_request(config: EvaluateConfig) -> Request:
    """Read and check everything that an evaluation needs, before anything is computed or written.

    Args:
        config: Config of the evaluation.

    Returns:
        The request.

    Raises:
        InputError: The run, a data set or the model file cannot be used.
    """
    check_fields(config, "")
    check_fields(config.real, "real")
    run = read_run(config.run)
    run.data.path = config.data.path or find_dataset(config.run, run.data.path)
    spec = run.data.create()
    check_dataset(run.data, verify=run.training.verify, training=False)
    trained_with, run.data.test = run.data.test, config_of(read_manifest(run.data.path), run.data.path).test
    check_test_split(run.data)
    other = None if config.other is None else read_other(config.other, run)
    model = None if config.real.path is None else read_real(config.real, spec)
    if model is not None:
        model_shots(run.task.create(spec), model[0])  # a task that has no answer for it is refused
    steps = last_step(config.run) or run.training.steps
    if steps < run.training.steps:
        text = f"{config.run} is at step {steps} of {run.training.steps}: its best weights so far are evaluated."
        warnings.warn(text, UnfinishedWarning, stacklevel=3)
    evaluated = {
        "step": best_step(config.run),
        "trained": steps,
        "file": None if model is None else hashlib.sha256(model[0].tobytes()).hexdigest(),
        "other": None if other is None else fingerprint(other),
    }
    if run.data.test != trained_with:  # a data set of the same recipe with more or fewer samples
        evaluated["test"] = run.data.test
    return Request(run, other, model, evaluated)


def earlier_answer(config: EvaluateConfig, evaluated: dict[str, Any]) -> dict[str, Any] | None:
    """Find the metrics of an earlier evaluation that answers a request, wherever its run, data and files were then.

    Args:
        config: Config of the evaluation.
        evaluated: Identity of what is evaluated, as in `Request`.

    Returns:
        The metrics, which may also answer about a model or data that were not asked for; None if there are none.
    """
    file = Path(config.run) / "metrics.json"
    whole = file.exists() and (file.parent / "errors_test.csv").exists()  # earlier versions wrote no errors of examples
    done = read_json(file) if whole else {}
    asked = {name: getattr(config, name) for name in MEASURES}
    wanted = {"file": config.real.path is not None, "other": config.other is not None}

    def decisive(values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if wanted.get(name, True)}

    same = {name: done.get("config", {}).get(name) for name in asked} == asked
    return done if same and decisive(done.get("evaluated", {})) == decisive(evaluated) else None
