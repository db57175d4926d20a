"""Figures: functions from arrays to matplotlib figures, drawn without a display."""

from surrogate.figures.drawing import LARGE, Figure, read_series, save, to_png
from surrogate.figures.fields import gathers, models, movie, overview, snapshots
from surrogate.figures.lines import curves, equal_error, inversion_times, per_snapshot, s_in_words, training

__all__ = [
    "LARGE",
    "Figure",
    "curves",
    "equal_error",
    "gathers",
    "inversion_times",
    "models",
    "movie",
    "overview",
    "per_snapshot",
    "read_series",
    "s_in_words",
    "save",
    "snapshots",
    "to_png",
    "training",
]
