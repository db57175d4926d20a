"""Track a run: curves are written to `metrics.jsonl` in its folder, and to W&B (offline unless configured).

This is the only module that imports wandb. The local file is the record, and W&B is a view of it. A failure of either
never ends a run: if a record cannot be written, because the package, an account or room on the disk is missing, one
warning is given and the record is left out.

Offline nothing is sent, and W&B writes in the run's folder only. `wandb sync` of a second record of a run replaces the
first, so a run has one record: after a resume or a rollback a new one takes the place of the old, and begins with the
curves of `metrics.jsonl` and the figures of `wandb/figures`.
"""

import json
import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_gen.common.files import read_json, read_rows, temporary_name, write_json
from data_gen.common.ranges import check_fields, ranged
from surrogate.figures import Figure

# Files of artifacts are taken from where they are: W&B would leave a copy of each in the user's home folder.
IN_PLACE: dict[str, Any] = {"policy": "immutable", "skip_cache": True}


@dataclass
class TrackingConfig:
    """Set where the curves of a run are recorded, in addition to `metrics.jsonl` in its folder.

    Attributes:
        mode: Mode of W&B, which is offline, online or disabled.
        project: Name of the project in W&B.
    """

    mode: str = ranged("offline", ("offline", "online", "disabled"))
    project: str = "wave-surrogate"

    def __post_init__(self):
        check_fields(self, "tracking")


class TrackingWarning(UserWarning):
    """Warn that a run continues without some of its records."""


def offline_record(run: Path | str) -> Path | None:
    """Find the offline W&B record of a run, for `wandb sync`.

    Args:
        run: Folder of the run.

    Returns:
        The folder of the record, or None.
    """
    return max(Path(run).glob("wandb/offline-run-*"), default=None)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables that are not set, for a while."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


class Curves:
    """Write `metrics.jsonl`: one row of JSON for each measurement.

    Args:
        file: Path of the file.
    """

    def __init__(self, file: Path):
        self._file, self._end, self._warned = file, file.stat().st_size if file.exists() else 0, False

    def rows(self) -> list[dict[str, Any]]:
        """Read all rows."""
        return [row for _, row in read_rows(self._file)]

    def rewind(self, step: int, *, resumed: bool) -> None:
        """Drop the rows that were written after a checkpoint: they will be written again.

        Rollbacks to that checkpoint are recorded at its step, but happened after it: a resumed run repeats them.

        Args:
            step: Step of the checkpoint.
            resumed: Whether the run was resumed, or else rolled back.
        """
        if not self._file.exists():
            return
        kept = [row for row, r in read_rows(self._file) if (r["step"], "rollback" in r) <= (step, not resumed)]
        temporary = temporary_name(self._file)
        try:
            temporary.write_text("".join(f"{row}\n" for row in kept), encoding="utf-8")
            temporary.replace(self._file)
        except OSError as error:
            self._warn(error)
        finally:
            temporary.unlink(missing_ok=True)
        self._end = self._file.stat().st_size

    def append(self, row: dict[str, Any]) -> None:
        """Add a row.

        Args:
            row: JSON values, `step` among them.
        """
        line = (json.dumps(row) + "\n").encode()
        try:
            with self._file.open("ab") as file:
                file.truncate(self._end)  # a full disk may have left half a row
                file.write(line)
            self._end += len(line)
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            text = f"{self._file} cannot be written ({error}). The run continues; rows will be missing there."
            warnings.warn(text, TrackingWarning, stacklevel=2)


class Tracker:
    """Record one run; rows that a killed run wrote after its last checkpoint are dropped.

    Args:
        run: Folder of the run.
        settings: Settings of the tracking.
        config: Config of the run, as plain values.
        step: Step of the last checkpoint.
    """

    def __init__(self, run: Path, settings: TrackingConfig, config: dict[str, Any], step: int):
        self._curves = Curves(run / "metrics.jsonl")
        self._wandb: Any = None
        self._curves.rewind(step, resumed=True)
        self._folder, self._online = run, settings.mode == "online"
        self._settings, self._config = settings, config
        self._dataset: Callable[[Any, Any], None] | None = None
        if settings.mode != "disabled":
            self._attempt(lambda: self._open(step))

    def _open(self, step: int) -> None:
        """Open a record that is complete up to a step: where W&B does not have the earlier part, it is logged again."""
        if not self._online:
            os.environ["WANDB_ERROR_REPORTING"] = "false"  # W&B reports to its server offline, too
        import wandb  # here, since a run needs neither the package nor the seconds it takes to load

        identity = self._folder / "tracking.json"
        if not identity.exists():
            write_json(identity, {"id": secrets.token_hex(4)})
        name, folder = read_json(identity)["id"], self._folder / "wandb"
        if not self._online:
            for older in folder.glob(f"offline-run-*-{name}"):
                shutil.rmtree(older)
        with _environment(WANDB_CACHE_DIR=str(folder), WANDB_DATA_DIR=str(folder), WANDB_SILENT="true"):
            self._wandb = wandb.init(
                project=self._settings.project,
                name=self._folder.name,
                id=name,
                resume="allow" if self._online else None,
                mode=self._settings.mode,  # pyright: ignore[reportArgumentType]
                dir=self._folder,
                config=self._config,
                settings=wandb.Settings(silent=True, console="off"),
            )
        figures = {file: int(file.parent.name) for file in (folder / "figures").glob("*/*.png")}
        for file in [file for file, at in figures.items() if at > step]:
            del figures[file]
            file.unlink()
        if self._wandb.resumed:
            return
        rows = [(row.pop("step"), row) for row in self._curves.rows()]
        rows += [(at, {file.stem: wandb.Image(str(file))}) for file, at in figures.items()]
        for at, row in sorted(rows, key=lambda entry: entry[0]):
            self._wandb.log(row, step=at)
        if self._dataset is not None:
            self._dataset(wandb, self._wandb)

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do something with W&B; after any failure W&B is not tried again."""
        try:
            action()
        except Exception as error:  # from wandb, the network, the disk or the import
            self._wandb = None
            failure = f"{type(error).__name__}: {error}"
            text = f"W&B has failed ({failure}). The run continues without it; metrics.jsonl is kept."
            warnings.warn(text, TrackingWarning, stacklevel=3)

    def _on_wandb(self, action: Callable[[Any, Any], object]) -> None:
        """Do something with W&B and its run, if there is one."""
        if (run := self._wandb) is not None:
            import wandb

            self._attempt(lambda: action(wandb, run))

    def log(self, step: int, metrics: dict[str, Any]) -> None:
        """Record scalars.

        Args:
            step: Number of steps so far.
            metrics: Scalars by name.
        """
        self._curves.append({"step": step, **metrics})
        self._on_wandb(lambda _, run: run.log(metrics, step=step))

    def rewind(self, step: int) -> None:
        """Return to a checkpoint; online W&B cannot return, and ignores steps that it has seen.

        Args:
            step: Step of the checkpoint.
        """
        self._curves.rewind(step, resumed=False)
        if not self._online:

            def reopen(_, run) -> None:
                run.finish()
                self._open(step)

            self._on_wandb(reopen)

    def figure(self, step: int, name: str, figure: Callable[[], Figure]) -> None:
        """Record a figure in W&B and in `wandb/figures`; without W&B it is not drawn.

        Args:
            step: Number of steps so far.
            name: Name of the figure.
            figure: Function that draws the figure.
        """

        def record(wandb, run) -> None:
            file = self._folder / "wandb" / "figures" / str(step) / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            figure().savefig(file, dpi=110)
            run.log({name: wandb.Image(str(file))}, step=step)

        self._on_wandb(record)

    def dataset(self, entry: dict[str, Any], manifest: Path) -> None:
        """Record which data set the run uses: its manifest, never its data.

        Args:
            entry: Entry `dataset` of the provenance.
            manifest: Path of the manifest.
        """

        def record(wandb, run) -> None:
            artifact = wandb.Artifact(f"dataset-{entry['digest']}", type="dataset", metadata=entry)
            artifact.add_file(str(manifest), **IN_PLACE)
            # W&B knows no used artifacts offline: the artifact is logged then, and the model's metadata name it.
            (run.use_artifact if self._online else run.log_artifact)(artifact)

        self._dataset = record
        self._on_wandb(record)

    def model(self, files: list[Path], metadata: dict[str, Any]) -> None:
        """Record the trained model.

        Args:
            files: Files and folders of the run.
            metadata: JSON values that describe the model.
        """

        def record(wandb, run) -> None:
            artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=metadata)
            # File by file: W&B prints a line for a folder, into the progress bar.
            for path in files:
                for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                    if file.is_file():
                        artifact.add_file(str(file), name=str(file.relative_to(self._folder)), **IN_PLACE)
            run.log_artifact(artifact, aliases=["best"])

        self._on_wandb(record)

    def close(self) -> None:
        """Flush and end the records."""
        self._on_wandb(lambda _, run: run.finish())


class NullTracker(Tracker):
    """Record nothing, in all processes but the first."""

    def __init__(self):
        self._wandb = None

    def log(self, step: int, metrics: dict[str, Any]) -> None:
        """See `Tracker.log`."""

    def rewind(self, step: int) -> None:
        """See `Tracker.rewind`."""
