"""Draw curves: of a training, of an inversion, and errors over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surrogate.figures.drawing import LARGE, SMALL, Figure, empty_figure


def curves(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]], x_label: str, y_label: str, marks: Sequence[float] = ()
) -> Figure:
    """Draw lines on a logarithmic vertical axis; missing values are bridged.

    Args:
        series: Values x and y `(n,)` of each line, by the name of the line.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        marks: Values x at which something new begins, drawn as dotted lines.

    Returns:
        The figure.
    """
    figure = empty_figure(5.2, 3.2)
    axes = figure.subplots()
    for name, (x, y) in series.items():
        known = np.isfinite(y)
        axes.semilogy(x[known], y[known], label=name.replace("_", " "), linewidth=1.3)
    for x in marks:
        axes.axvline(x, color="gray", linestyle=":", linewidth=1.0)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    return figure


def training(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the curves of a training: loss and validation with its best value, and the learning rate.

    Args:
        rows: Rows of `metrics.jsonl`, each with `step` and some of `loss`, `validation` and `learning_rate`.

    Returns:
        The figure: two panels, one above the other.
    """

    def curve(name: str) -> tuple[np.ndarray, np.ndarray]:
        pairs = [(row["step"], row[name]) for row in rows if name in row and np.isfinite(row[name])]
        return np.array([step for step, _ in pairs]), np.array([value for _, value in pairs])

    figure = empty_figure(6.4, 4.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    steps, losses = curve("loss")
    top.semilogy(steps, losses, label="loss", linewidth=0.8, color="tab:blue")
    steps, errors = curve("validation")
    if len(errors):
        best = int(np.argmin(errors))
        top.semilogy(steps, errors, "o-", label="validation", markersize=2.5, linewidth=1.3, color="tab:orange")
        named = f"best validation, {errors[best]:.4f} at step {steps[best]}"
        top.semilogy(steps[best], errors[best], "*", label=named, markersize=10, color="tab:red")
    steps, rates = curve("learning_rate")
    bottom.plot(steps, rates, linewidth=1.3, color="tab:green")
    bottom.set_xlabel("step", fontsize=LARGE)
    bottom.set_ylabel("learning rate", fontsize=LARGE)
    bottom.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    bottom.yaxis.offsetText.set_fontsize(SMALL)
    bottom.xaxis.get_major_locator().set_params(integer=True)
    for axes in (top, bottom):
        axes.grid(alpha=0.3, which="both")
        axes.tick_params(labelsize=SMALL, which="both")
    top.legend(fontsize=LARGE)
    return figure


def per_snapshot(errors: Mapping[str, Sequence[float]], times: Sequence[float]) -> Figure:
    """Draw the mean relative error at each snapshot time, one line per method.

    Args:
        errors: Mean relative L2 error of each snapshot, by the name of the method.
        times: Time of each snapshot [s].

    Returns:
        The figure.
    """
    milliseconds = 1e3 * np.asarray(times)
    return curves(
        {name: (milliseconds, np.asarray(values)) for name, values in errors.items()}, "time [ms]", "relative L2 error"
    )


def equal_error(contests: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Draw the error of the solver's settings and of surrogates over their time, both axes logarithmic.

    Args:
        contests: Error, seconds and `settings` of each surrogate (surrogate/runs/speedup.py), by its name. Times are
            shown relative to the last setting, the solver of the data, which each contest has timed itself.
        title: Title of the panel.

    Returns:
        The figure.
    """
    figure = empty_figure(5.2, 3.6)
    axes = figure.subplots()
    for number, (name, contest) in enumerate(contests.items()):
        unit = contest["settings"][-1]["seconds"]
        times = [setting["seconds"] / unit for setting in contest["settings"]]
        errors = [setting["error"] for setting in contest["settings"]]
        axes.loglog(times, errors, "o-", color="gray", markersize=3, linewidth=1, label=None if number else "solver")
        if not number:
            for setting, time, error in zip(contest["settings"], times, errors, strict=True):
                axes.annotate(
                    f"{setting['spacing']:.3g} m", (time, error), (3, 3), textcoords="offset points", fontsize=SMALL
                )
        axes.loglog(
            contest["seconds"] / unit, contest["error"], "*", markersize=11, label=f"{name}, S = {contest['S']:.2g}"
        )
    axes.margins(x=0.1)  # room for the label of the last point
    _dress(axes, "time per shot / that of the data's solver", "relative L2 error against the wave equation", title)
    return figure


def inversion_times(contests: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Draw the model errors of inversions over their time, and those of operators that invert, both axes logarithmic.

    Args:
        contests: Measurements of `inverse_speedup` (surrogate/runs/inverse_speedup.py) of each operator, by its name.
        title: Title of the panel.

    Returns:
        The figure.
    """
    figure = empty_figure(5.2, 3.6)
    axes = figure.subplots()
    for number, (name, contest) in enumerate(contests.items()):
        for gray, way in zip(np.linspace(0.75, 0.2, len(contest["inversions"])), contest["inversions"], strict=True):
            for which, path in enumerate(way["paths"]):
                label = f"inversions on {way['spacing']:.3g} m" if number == which == 0 else None
                axes.loglog(path["seconds"], path["errors"], color=str(gray), linewidth=1, label=label)
        label = f"{name}, S {s_in_words(contest)}"
        axes.loglog([contest["seconds"]] * len(contest["errors"]), contest["errors"], "*", markersize=9, label=label)
    _dress(axes, "time per model [s]", "relative L2 error of the model", title)
    return figure


def _dress(axes: Any, x_label: str, y_label: str, title: str) -> None:
    """Label the axes of an error over time, with a grid and a legend."""
    axes.set_xlabel(x_label, fontsize=LARGE)
    axes.set_ylabel(y_label, fontsize=LARGE)
    axes.set_title(title, fontsize=LARGE)
    axes.grid(alpha=0.3, which="both")
    axes.tick_params(labelsize=SMALL, which="both")
    axes.legend(fontsize=SMALL)


def s_in_words(contest: Mapping[str, Any]) -> str:
    """Write S of an operator that inverts, which is a lower bound where an inversion has not had its error.

    Args:
        contest: Measurements of `inverse_speedup`.

    Returns:
        The number with its sign.
    """
    sign = "=" if contest["reached"] == len(contest["errors"]) else "≥"
    return f"{sign} {contest['S']:.2g}"
