"""Experiment tracking: curves into `metrics.jsonl` beside the run, and into W&B (offline unless configured).

The only importer of wandb. The local file is the record; W&B is a view of it.
"""

import io
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import wandb
from matplotlib.figure import Figure

from data_gen.dataset import read_json, write_json
from data_gen.errors import InputError


@dataclass
class TrackingConfig:
    """mode: offline, online or disabled. project: W&B's."""

    mode: str = "offline"
    project: str = "wave-surrogate"

    def __post_init__(self):
        if self.mode not in ("offline", "online", "disabled"):
            raise InputError(f"tracking.mode must be offline, online or disabled, but is {self.mode!r}.")


class Tracker:
    """Writes metrics of one run; reopening at `step` drops what a killed run wrote after its last checkpoint."""

    def __init__(self, run: Path, settings: TrackingConfig, config: dict[str, Any], step: int):
        self._file = run / "metrics.jsonl"
        if self._file.exists():
            rows = self._file.read_text().splitlines()
            kept = [row for row in rows if row.endswith("}") and json.loads(row)["step"] <= step]
            temporary = self._file.with_suffix(".tmp")
            temporary.write_text("".join(f"{row}\n" for row in kept))
            temporary.replace(self._file)
        identity = run / "tracking.json"
        if not identity.exists():
            write_json(identity, {"id": secrets.token_hex(4)})
        self._run = wandb.init(
            project=settings.project,
            name=run.name,
            id=read_json(identity)["id"],
            resume="allow" if settings.mode == "online" else None,
            mode=settings.mode,  # pyright: ignore[reportArgumentType]
            dir=run,
            config=config,
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Record scalars at a step."""
        with self._file.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._run.log(metrics, step=step)

    def figure(self, step: int, name: str, figure: Figure) -> None:
        """Record a picture at a step (W&B only)."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        self._run.log({name: wandb.Image(PIL.Image.open(buffer))}, step=step)

    def close(self) -> None:
        """Flush and end the run."""
        self._run.finish()


class Silent:
    """Records nothing: what the processes beside the first have for a `Tracker`."""

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """See `Tracker`."""

    def figure(self, step: int, name: str, figure: Figure) -> None:
        """See `Tracker`."""

    def close(self) -> None:
        """See `Tracker`."""
