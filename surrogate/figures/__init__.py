"""Figures: functions from arrays to matplotlib figures, drawn without a display."""

from surrogate.figures.drawing import LARGE, Figure, save, to_png
from surrogate.figures.fields import gathers, models, overview, snapshots
from surrogate.figures.lines import curves, equal_error, per_snapshot, training

__all__ = [
    "LARGE",
    "Figure",
    "curves",
    "equal_error",
    "gathers",
    "models",
    "overview",
    "per_snapshot",
    "save",
    "snapshots",
    "to_png",
    "training",
]
