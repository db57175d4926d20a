"""Evaluate a run on the test split of another data set: of other models, or on another grid of the same domain."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_gen.common.errors import InputError
from data_gen.common.files import differences
from data_gen.dataset.config import DataConfig
from data_gen.dataset.manifest import config_of, read_manifest
from data_gen.dataset.verification import verify
from surrogate.config import TrainConfig
from surrogate.protocols import Method
from surrogate.runs.error_tables import error_tables, example_errors, write_examples
from surrogate.runs.transfer import check_same_domain, same_grid, waves_of
from surrogate.training.batches import ordered_batches


def read_other(path: str, run: TrainConfig) -> DataConfig:
    """Read the config of another data set, and check that a run can be evaluated on its test split.

    Args:
        path: Folder of the data set.
        run: Config of the run.

    Returns:
        The config of the data set.

    Raises:
        InputError: There is no data set; or its simulation, or what it stores, differs from the run's; or, on another
            grid, its waves or its domain differ from the run's.
    """
    other = config_of(read_manifest(path), path)
    task = run.task.create(run.data.create())
    kept = ["gather_every"]
    if "source" not in task.inputs:
        kept += ["sources", "placement", "source_depths"]  # the operator does not read them: it has learned them

    def decisive(config: DataConfig) -> dict[str, Any]:
        values = {name: value for name, value in config.physics().items() if name != "families"}
        return values | waves_of(config) | {name: getattr(config, name) for name in kept}

    ours, theirs = decisive(run.data), decisive(other)
    if task.other_grids and not same_grid(run.data, other):
        check_same_domain(run, other)
    elif ours != theirs:
        raise InputError(
            f"The data set at {path} has another simulation than the run ({differences(ours, theirs)}), so the run "
            "cannot be evaluated on it. Generate one that differs in its families, sources or seed only."
        )
    run.task.create(other.create())  # refuses data without the records that the task needs, or with other wavelets
    check_test_split(other)
    verify(path, checksums=run.training.verify)
    return other


def check_test_split(data: DataConfig) -> None:
    """Refuse to evaluate on a data set without a test split, which only an import can leave out.

    Args:
        data: Config of the data set.

    Raises:
        InputError: There is none.
    """
    if not data.test:
        raise InputError(
            f"The data set at {data.path} has no test split to evaluate on. Import the files again, to another folder, "
            "with --test N."
        )


def evaluate_other(
    other: DataConfig,
    run: TrainConfig,
    methods: dict[str, Method],
    batch_size: int,
    out: Path,
    on_examples: Callable[[int], None],
) -> dict[str, Any]:
    """Compute and write the errors on the test split of another data set.

    Args:
        other: Config of the data set.
        run: Config of the run.
        methods: Methods on the grid of the data set.
        batch_size: Number of examples that are predicted at once.
        out: Folder of the run, for the errors of each example.
        on_examples: Function that is called with the number of examples so far.

    Returns:
        A description of the data set, and the errors of each method.
    """
    task = run.task.create(other.create()).for_evaluation()
    examples = example_errors(task, methods, ordered_batches(other.path, "test", batch_size, task), on_examples)
    write_examples(out / "errors_other.csv", examples, task.examples)
    tables = error_tables(examples)
    return {
        "path": Path(other.path).name,
        "grid": f"{other.nz} x {other.nx} cells of {other.spacing:g} m",
        "families": list(task.spec.mixture.names),
        "test_samples": other.test * task.examples,
        **tables.pop("surrogate"),
        **tables,
    }
