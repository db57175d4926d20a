"""Experiment tracking: curves into `metrics.jsonl` beside the run, and into W&B (offline unless configured).

The only importer of wandb. The local file is the record; W&B is a view of it, and neither is worth a run: what cannot
be written, for want of the package, of an account or of room on the disk, is warned of once and left out.
"""

import io
import json
import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image

from data_gen.common.errors import InputError
from data_gen.common.files import read_json, write_json
from surrogate.figures import Figure


@dataclass
class TrackingConfig:
    """mode: offline, online or disabled. project: W&B's."""

    mode: str = "offline"
    project: str = "wave-surrogate"

    def __post_init__(self):
        if self.mode not in ("offline", "online", "disabled"):
            raise InputError(f"tracking.mode must be offline, online or disabled, but is {self.mode!r}.")


class TrackingWarning(UserWarning):
    """A run goes on without some of its records."""


def _rows(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows that are JSON, and what they say: of others a full disk or a power cut may have left less."""
    for row in text.splitlines():
        with suppress(json.JSONDecodeError):
            yield row, json.loads(row)


class Curves:
    """`metrics.jsonl`: one row of JSON for each time something was measured."""

    def __init__(self, file: Path):
        self._file, self._end, self._warned = file, file.stat().st_size if file.exists() else 0, False

    def rewind(self, step: int, *, resumed: bool) -> None:
        """Drop what was written after the checkpoint of `step`: it will be written again.

        Rollbacks to that checkpoint are noted at its step, but happened after it: a run resumed there meets them again.
        """
        if not self._file.exists():
            return
        rows = _rows(self._file.read_text())
        kept = [row for row, r in rows if (r["step"], "rollback" in r) <= (step, not resumed)]
        try:
            temporary = self._file.with_suffix(".tmp")
            temporary.write_text("".join(f"{row}\n" for row in kept))
            temporary.replace(self._file)
        except OSError as error:
            self._warn(error)
        self._end = self._file.stat().st_size

    def append(self, row: dict[str, Any]) -> None:
        """Add a row."""
        line = (json.dumps(row) + "\n").encode()
        try:
            with self._file.open("ab") as file:
                file.truncate(self._end)  # the half of a row that a full disk may have left
                file.write(line)
            self._end += len(line)
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            text = f"{self._file} cannot be written ({error}). The run goes on; rows will be missing there."
            warnings.warn(text, TrackingWarning, stacklevel=2)


class Tracker:
    """Records one run; reopening at `step` drops what a killed run wrote after its last checkpoint."""

    def __init__(self, run: Path, settings: TrackingConfig, config: dict[str, Any], step: int):
        self._curves = Curves(run / "metrics.jsonl")
        self._wandb: Any = None
        self._curves.rewind(step, resumed=True)
        self._folder, self._online = run, settings.mode == "online"
        if settings.mode != "disabled":
            self._attempt(lambda: self._open(settings, config))

    def _open(self, settings: TrackingConfig, config: dict[str, Any]) -> None:
        import wandb  # here, since a run needs neither the package nor the seconds it takes to load

        identity = self._folder / "tracking.json"
        if not identity.exists():
            write_json(identity, {"id": secrets.token_hex(4)})
        self._wandb = wandb.init(
            project=settings.project,
            name=self._folder.name,
            id=read_json(identity)["id"],
            resume="allow" if self._online else None,
            mode=settings.mode,  # pyright: ignore[reportArgumentType]
            dir=self._folder,
            config=config,
            settings=wandb.Settings(silent=True, console="off"),
        )

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do something with W&B; whatever goes wrong there, it is the last time that it is tried."""
        try:
            action()
        except Exception as error:  # wandb's own, the network's, the disk's, or of the import
            self._wandb = None
            text = f"W&B has failed ({type(error).__name__}: {error}). The run goes on without; metrics.jsonl is kept."
            warnings.warn(text, TrackingWarning, stacklevel=3)

    def _on_wandb(self, action: Callable[[Any, Any], object]) -> None:
        """Do something with the package and its run, if they are there."""
        if (run := self._wandb) is not None:
            import wandb

            self._attempt(lambda: action(wandb, run))

    def log(self, step: int, metrics: dict[str, Any]) -> None:
        """Record scalars at a step."""
        self._curves.append({"step": step, **metrics})
        self._on_wandb(lambda _, run: run.log(metrics, step=step))

    def rewind(self, step: int) -> None:
        """Go back to the checkpoint of a step; W&B, which cannot, ignores steps that it has seen."""
        self._curves.rewind(step, resumed=False)

    def figure(self, step: int, name: str, figure: Callable[[], Figure]) -> None:
        """Record a picture at a step (W&B only, so drawn only for it)."""

        def record(wandb, run) -> None:
            buffer = io.BytesIO()
            figure().savefig(buffer, format="png", dpi=110)
            run.log({name: wandb.Image(PIL.Image.open(buffer))}, step=step)

        self._on_wandb(record)

    def dataset(self, entry: dict[str, Any], manifest: Path) -> None:
        """Record which data set the run uses: its manifest, never its data. entry: of the provenance."""

        def record(wandb, run) -> None:
            artifact = wandb.Artifact(f"dataset-{entry['digest']}", type="dataset", metadata=entry)
            artifact.add_file(str(manifest))
            # Offline W&B knows no used artifacts: it is logged then, and the model's metadata name it.
            (run.use_artifact if self._online else run.log_artifact)(artifact)

        self._on_wandb(record)

    def model(self, files: list[Path], metadata: dict[str, Any]) -> None:
        """Record the trained model: files and folders of the run's, by their paths in it."""

        def record(wandb, run) -> None:
            artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=metadata)
            for path in files:
                name = str(path.relative_to(self._folder))
                artifact.add_dir(str(path), name=name) if path.is_dir() else artifact.add_file(str(path), name=name)
            run.log_artifact(artifact, aliases=["best"])

        self._on_wandb(record)

    def close(self) -> None:
        """Flush and end the run."""
        self._on_wandb(lambda _, run: run.finish())


class NullTracker(Tracker):
    """Records nothing: what the processes beside the first have."""

    def __init__(self):
        self._wandb = None

    def log(self, step: int, metrics: dict[str, Any]) -> None:
        """See `Tracker`."""

    def rewind(self, step: int) -> None:
        """See `Tracker`."""
