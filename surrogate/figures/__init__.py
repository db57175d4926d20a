"""Figures: functions from arrays to matplotlib figures, drawn without a display."""

from surrogate.figures.drawing import LARGE, Figure, save, to_png
from surrogate.figures.fields import gathers, models, overview, snapshots
from surrogate.figures.lines import curves, equal_error, inversion_times, per_snapshot, s_in_words, training

__all__ = [
    "LARGE",
    "Figure",
    "curves",
    "equal_error",
    "gathers",
    "inversion_times",
    "models",
    "overview",
    "per_snapshot",
    "s_in_words",
    "save",
    "snapshots",
    "to_png",
    "training",
]
