"""Figures: functions from arrays to matplotlib figures, drawn without a display.

Matplotlib is imported when the first figure is drawn, so that models load without it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # for annotations: the class itself would import matplotlib

FIELD, VELOCITY = "RdBu_r", "viridis"
LARGE, SMALL = 8, 6  # points: labels and titles, ticks
DPI = 130
LAYOUT = "constrained"  # finds the place of every label: more than half of the time to draw


def _figure(width: float, height: float) -> Figure:
    """Create an empty figure of a size in inches."""
    from matplotlib.figure import Figure as MatplotlibFigure

    return MatplotlibFigure(figsize=(width, height), layout=LAYOUT)


def _image(axes, values: np.ndarray, title: str, extent, colors: str, low: float, high: float):
    image = axes.imshow(values, cmap=colors, vmin=low, vmax=high, extent=extent, interpolation="nearest")
    axes.set_title(title.replace("_", " "), fontsize=LARGE)
    axes.tick_params(labelsize=SMALL)
    return image


def _color_bar(figure, image, axes, label: str, **options) -> None:
    bar = figure.colorbar(image, ax=axes, pad=0.02, **options)
    bar.formatter.set_powerlimits((-2, 4))
    bar.set_label(label, fontsize=LARGE)
    bar.ax.tick_params(labelsize=SMALL)
    bar.ax.yaxis.offsetText.set_fontsize(SMALL)
    bar.ax.xaxis.offsetText.set_fontsize(SMALL)


def _axis_labels(axes: np.ndarray, vertical: str = "depth [m]") -> None:
    """Label the outer axes of a grid of panels."""
    for ax in axes[-1]:
        ax.set_xlabel("x [m]", fontsize=LARGE)
    for ax in axes[:, 0]:
        ax.set_ylabel(vertical, fontsize=LARGE)


def _extent(shape: tuple[int, ...], spacing: float) -> tuple[float, float, float, float]:
    nz, nx = shape[-2:]
    return 0.0, nx * spacing, nz * spacing, 0.0


def snapshots(
    target: np.ndarray, predictions: Mapping[str, np.ndarray], times: Sequence[float], spacing: float = 1.0
) -> Figure:
    """Draw up to about four snapshots, each prediction of them, and five times its error.

    Each column has one color scale: the 99.5th percentile of the solver's field at that time.

    Args:
        target: Wavefields of the solver `(n_snapshots, nz, nx)`.
        predictions: Predicted wavefields of the same shape, by the name of the method.
        times: Time of each snapshot [s].
        spacing: Cell size [m].

    Returns:
        The figure: methods and errors by row, snapshots by column.
    """
    shown = range(0, len(times), max(1, len(times) // 4))
    rows = [("solver", target)]
    for name, field in predictions.items():
        rows += [(name, field), (f"5 x ({name} - solver)", 5 * (field - target))]
    figure = _figure(2.2 * len(shown), 2.0 * len(rows) + 0.4)
    axes = figure.subplots(len(rows), len(shown), squeeze=False, sharex=True, sharey=True)
    for column, i in enumerate(shown):
        scale, image = float(np.percentile(np.abs(target[i]), 99.5)), None
        for row, (name, field) in enumerate(rows):
            title = f"{name}, {1e3 * times[i]:.0f} ms"
            image = _image(axes[row, column], field[i], title, _extent(target.shape, spacing), FIELD, -scale, scale)
        _color_bar(
            figure, image, list(axes[:, column]), "pressure", location="bottom", aspect=30, ticks=[-scale, 0, scale]
        )
    _axis_labels(axes)
    return figure


def overview(velocity: np.ndarray, target: np.ndarray, predictions: Mapping[str, np.ndarray], spacing: float) -> Figure:
    """Draw a velocity model, the solver's field, the first prediction, and five times the error of every prediction.

    All fields have one color scale: the 99.5th percentile of the solver's field.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        target: Field of the solver `(nz, nx)`.
        predictions: Predicted fields of the same shape, by the name of the method.
        spacing: Cell size [m].

    Returns:
        The figure: one row.
    """
    scale, extent = float(np.percentile(np.abs(target), 99.5)), _extent(target.shape, spacing)
    first, field = next(iter(predictions.items()))
    panels = {"solver": target, first: field}
    panels |= {f"5 x ({name} - solver)": 5 * (values - target) for name, values in predictions.items()}
    figure = _figure(2.3 * (1 + len(panels)) + 1.0, 2.8)
    axes = figure.subplots(1, 1 + len(panels), sharey=True)
    low, high = float(velocity.min()), float(velocity.max())
    image = _image(axes[0], velocity, "velocity", extent, VELOCITY, low, high)
    _color_bar(figure, image, axes[0], "velocity [m/s]", shrink=0.8)
    for ax, (name, panel) in zip(axes[1:], panels.items(), strict=True):
        image = _image(ax, panel, name, extent, FIELD, -scale, scale)
    _color_bar(figure, image, list(axes[1:]), "pressure", shrink=0.8)
    _axis_labels(axes[None])
    return figure


def gathers(
    velocity: np.ndarray, target: np.ndarray, predictions: Mapping[str, np.ndarray], extent: tuple[float, float]
) -> Figure:
    """Draw a velocity model, the solver's gather, each prediction and five times its error.

    All gathers have one color scale: the 99th percentile of the solver's gather.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        target: Gather of the solver `(nt, n_receivers)`.
        predictions: Predicted gathers of the same shape, by the name of the method.
        extent: Length of the line of receivers [m] and of the record [s].

    Returns:
        The figure: one row.
    """
    scale, (width, duration) = float(np.percentile(np.abs(target), 99)), extent
    panels = {"solver": target}
    for name, values in predictions.items():
        panels |= {name: values, f"5 x ({name} - solver)": 5 * (values - target)}
    figure = _figure(2.1 * (1 + len(panels)) + 1.0, 3.2)
    axes = figure.subplots(1, 1 + len(panels))
    low, high = float(velocity.min()), float(velocity.max())
    nz, nx = velocity.shape
    image = _image(axes[0], velocity, "velocity", (0.0, width, width * nz / nx, 0.0), VELOCITY, low, high)
    _color_bar(figure, image, axes[0], "velocity [m/s]", shrink=0.5)
    for ax, (name, panel) in zip(axes[1:], panels.items(), strict=True):
        image = _image(ax, panel, name, (0.0, width, duration, 0.0), FIELD, -scale, scale)
        ax.set_aspect("auto")
        ax.tick_params(labelleft=ax is axes[1])
    _axis_labels(axes[None, :1])
    _axis_labels(axes[None, 1:], "time [s]")
    _color_bar(figure, image, list(axes[1:]), "pressure")
    return figure


def models(panels: Mapping[str, np.ndarray], spacing: float, gradient: np.ndarray | None = None) -> Figure:
    """Draw velocity models on one color scale, and a gradient on a scale of its own.

    Args:
        panels: Velocity models `(nz, nx)` [m/s] by name.
        spacing: Cell size [m].
        gradient: Gradient of the misfit with respect to the velocity `(nz, nx)`; None for no panel.

    Returns:
        The figure: one row.
    """
    count = len(panels) + (gradient is not None)
    figure = _figure(2.6 * count + 1.0, 2.8)
    axes = figure.subplots(1, count, squeeze=False, sharey=True)[0]
    low = min(float(p.min()) for p in panels.values())
    high = max(float(p.max()) for p in panels.values())
    image = None
    for ax, (name, panel) in zip(axes, panels.items(), strict=False):
        image = _image(ax, panel, name, _extent(panel.shape, spacing), VELOCITY, low, high)
    if image is not None:
        _color_bar(figure, image, list(axes[: len(panels)]), "velocity [m/s]", shrink=0.8)
    if gradient is not None:
        scale = float(np.percentile(np.abs(gradient), 99))
        image = _image(axes[-1], gradient, "first gradient", _extent(gradient.shape, spacing), FIELD, -scale, scale)
        _color_bar(figure, image, axes[-1], "misfit per m/s", shrink=0.8)
    _axis_labels(axes[None])
    return figure


def curves(series: Mapping[str, tuple[np.ndarray, np.ndarray]], x_label: str, y_label: str) -> Figure:
    """Draw lines on a logarithmic vertical axis; missing values are bridged.

    Args:
        series: Values x and y `(n,)` of each line, by the name of the line.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.

    Returns:
        The figure.
    """
    figure = _figure(5.2, 3.2)
    axes = figure.subplots()
    for name, (x, y) in series.items():
        known = np.isfinite(y)
        axes.semilogy(x[known], y[known], label=name.replace("_", " "), linewidth=1.3)
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

    figure = _figure(6.4, 4.0)
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


def survey(velocity: np.ndarray, sources: np.ndarray, receivers: np.ndarray, spacing: float) -> Figure:
    """Draw where sources and receivers lie in a velocity model.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        sources: Positions (z, x) of the sources from the first cell on `(n, 2)` [m].
        receivers: Positions of the receivers, likewise.
        spacing: Cell size [m].

    Returns:
        The figure.
    """
    figure = _figure(6.4, 3.2)
    axes = figure.subplots()
    low, high = float(velocity.min()), float(velocity.max())
    image = _image(axes, velocity, "sources and receivers", _extent(velocity.shape, spacing), VELOCITY, low, high)
    for points, marker, name in ((receivers, "v", "receivers"), (sources, "*", "sources")):
        z, x = points.reshape(-1, 2).T + spacing / 2
        size = 6 if marker == "*" else 3
        axes.plot(
            x, z, marker, color="white", markeredgecolor="black", markeredgewidth=0.5, markersize=size, label=name
        )
    axes.legend(fontsize=SMALL)
    _color_bar(figure, image, axes, "velocity [m/s]", shrink=0.8)
    _axis_labels(np.array([[axes]]))
    return figure


def trace_maps(panels: Mapping[str, tuple[np.ndarray, float, float]], colors: str = FIELD) -> Figure:
    """Draw quantities of traces by shot and receiver; traces without a value stay white.

    Args:
        panels: Values `(n_shots, n_receivers)`, NaN for none, with the lowest and the highest one of the color scale,
            by their names.
        colors: Color map.

    Returns:
        The figure: one row.
    """
    figure = _figure(3.4 * len(panels) + 0.4, 3.0)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (name, (values, low, high)) in zip(axes, panels.items(), strict=True):
        shots, receivers = values.shape
        image = _image(ax, values, name, (-0.5, receivers - 0.5, shots - 0.5, -0.5), colors, low, high)
        ax.set_aspect("auto")
        ax.set_xlabel("receiver", fontsize=LARGE)
        ax.set_ylabel("shot", fontsize=LARGE)
        _color_bar(figure, image, ax, name)
    return figure


def first_waves(
    sides: Mapping[str, np.ndarray], onsets: Mapping[str, np.ndarray], times: tuple[float, float]
) -> Figure:
    """Draw the gathers of one shot side by side, each on its own scale, with the onsets of all in each.

    Args:
        sides: Gathers `(nt, n_receivers)` by name.
        onsets: Onsets `(n_receivers,)` [s] by the same names, NaN for none.
        times: Time of the first and of the last sample [s].

    Returns:
        The figure: one row.
    """
    figure = _figure(3.4 * len(sides) + 0.4, 3.6)
    axes = figure.subplots(1, len(sides), squeeze=False, sharey=True)[0]
    for ax, (name, gather) in zip(axes, sides.items(), strict=True):
        scale, receivers = float(np.percentile(np.abs(gather), 99)) or 1.0, gather.shape[1]
        _image(ax, gather, name, (-0.5, receivers - 0.5, times[1], times[0]), FIELD, -scale, scale)
        ax.set_aspect("auto")
        for (other, picked), color in zip(onsets.items(), ("black", "tab:green"), strict=False):
            ax.plot(np.arange(receivers), picked, ".", color=color, markersize=3, label=f"onset {other}")
        ax.set_xlabel("receiver", fontsize=LARGE)
    axes[0].set_ylabel("time [s]", fontsize=LARGE)
    axes[0].legend(fontsize=SMALL)
    return figure


def illumination(values: np.ndarray, spacing: float) -> Figure:
    """Draw the illumination of the cells in decibels.

    Args:
        values: Illumination relative to its largest value `(nz, nx)`.
        spacing: Cell size [m].

    Returns:
        The figure.
    """
    figure = _figure(6.4, 3.2)
    axes = figure.subplots()
    decibels = 10 * np.log10(np.maximum(values, 1e-12))
    image = _image(axes, decibels, "illumination by the sources", _extent(values.shape, spacing), VELOCITY, -40.0, 0.0)
    _color_bar(figure, image, axes, "energy [dB]", shrink=0.8)
    _axis_labels(np.array([[axes]]))
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as a PNG file, and create its folder.

    Args:
        figure: Figure to write.
        path: Path of the file.

    Returns:
        The same path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path
