"""Figures: functions from arrays to matplotlib figures, drawn without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

FIELD, VELOCITY = "RdBu_r", "viridis"


def _image(axes, values: np.ndarray, title: str, extent, colours: str, low: float, high: float):
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=high, extent=extent, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.tick_params(labelsize=6)
    return image


def _extent(shape: tuple[int, ...], spacing: float) -> tuple[float, float, float, float]:
    nz, nx = shape[-2:]
    return 0.0, nx * spacing, nz * spacing, 0.0


def snapshots(
    truth: np.ndarray, predictions: Mapping[str, np.ndarray], times: Sequence[float], spacing: float = 1.0
) -> Figure:
    """True fields `(n_snapshots, nz, nx)`, each prediction of them, and five times its error, on one colour scale."""
    shown = range(0, len(times), max(1, len(times) // 4))
    rows = [("solver", truth)]
    for name, field in predictions.items():
        rows += [(name, field), (f"5 x ({name} - solver)", 5 * (field - truth))]
    figure = Figure(figsize=(2.2 * len(shown), 2.0 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(shown), squeeze=False, sharex=True, sharey=True)
    for column, i in enumerate(shown):
        scale = float(np.percentile(np.abs(truth[i]), 99.5))
        for row, (name, field) in enumerate(rows):
            title = f"{name}, {1e3 * times[i]:.0f} ms"
            _image(axes[row, column], field[i], title, _extent(truth.shape, spacing), FIELD, -scale, scale)
    figure.supxlabel("x [m]", fontsize=8)
    figure.supylabel("depth [m]", fontsize=8)
    return figure


def overview(velocity: np.ndarray, truth: np.ndarray, predictions: Mapping[str, np.ndarray], spacing: float) -> Figure:
    """One row: the model [m/s], its true field `(nz, nx)`, the first prediction, and five times each one's error."""
    scale, extent = float(np.percentile(np.abs(truth), 99.5)), _extent(truth.shape, spacing)
    first, field = next(iter(predictions.items()))
    panels = {"solver": truth, first: field}
    panels |= {f"5 x ({name} - solver)": 5 * (values - truth) for name, values in predictions.items()}
    figure = Figure(figsize=(2.3 * (1 + len(panels)), 2.4), layout="constrained")
    axes = figure.subplots(1, 1 + len(panels), sharey=True)
    _image(axes[0], velocity, "velocity", extent, VELOCITY, float(velocity.min()), float(velocity.max()))
    for ax, (name, panel) in zip(axes[1:], panels.items(), strict=True):
        _image(ax, panel, name, extent, FIELD, -scale, scale)
    figure.supxlabel("x [m]", fontsize=8)
    figure.supylabel("depth [m]", fontsize=8)
    return figure


def gathers(
    velocity: np.ndarray, truth: np.ndarray, predictions: Mapping[str, np.ndarray], extent: tuple[float, float]
) -> Figure:
    """One row: the model [m/s], its true gather `(nt, n_receivers)`, each prediction and five times its error.

    extent: length of the line of receivers [m], and of the record [s].
    """
    scale, (width, duration) = float(np.percentile(np.abs(truth), 99)), extent
    panels = {"solver": truth}
    for name, values in predictions.items():
        panels |= {name: values, f"5 x ({name} - solver)": 5 * (values - truth)}
    figure = Figure(figsize=(2.1 * (1 + len(panels)), 3.2), layout="constrained")
    axes = figure.subplots(1, 1 + len(panels))
    low, high = float(velocity.min()), float(velocity.max())
    nz, nx = velocity.shape
    _image(axes[0], velocity, "velocity", (0.0, width, width * nz / nx, 0.0), VELOCITY, low, high)
    axes[0].set_ylabel("depth [m]", fontsize=8)
    for ax, (name, panel) in zip(axes[1:], panels.items(), strict=True):
        _image(ax, panel, name, (0.0, width, duration, 0.0), FIELD, -scale, scale)
        ax.set_aspect("auto")
    axes[1].set_ylabel("time [s]", fontsize=8)
    figure.supxlabel("x [m]", fontsize=8)
    return figure


def models(panels: Mapping[str, np.ndarray], spacing: float, gradient: np.ndarray | None = None) -> Figure:
    """Velocity models `(nz, nx)` [m/s] on one colour scale, and a gradient on its own."""
    figure = Figure(figsize=(3.0 * (len(panels) + (gradient is not None)), 3.0), layout="constrained")
    axes = figure.subplots(1, len(panels) + (gradient is not None), squeeze=False)[0]
    low = min(float(p.min()) for p in panels.values())
    high = max(float(p.max()) for p in panels.values())
    image = None
    for ax, (name, panel) in zip(axes, panels.items(), strict=False):
        image = _image(ax, panel, name, _extent(panel.shape, spacing), VELOCITY, low, high)
    if image is not None:
        figure.colorbar(image, ax=list(axes[: len(panels)]), label="velocity [m/s]", shrink=0.8)
    if gradient is not None:
        scale = float(np.percentile(np.abs(gradient), 99))
        _image(axes[-1], gradient, "first gradient", _extent(gradient.shape, spacing), FIELD, -scale, scale)
    return figure


def curves(series: Mapping[str, tuple[np.ndarray, np.ndarray]], x_label: str, y_label: str) -> Figure:
    """Lines `{name: (x, y)}` on a logarithmic vertical axis; missing values are bridged."""
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, (x, y) in series.items():
        known = np.isfinite(y)
        axes.semilogy(x[known], y[known], label=name, linewidth=1.3)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    return figure


def per_snapshot(errors: Mapping[str, Sequence[float]], times: Sequence[float]) -> Figure:
    """Mean relative error at each snapshot time, one line per method."""
    milliseconds = 1e3 * np.asarray(times)
    return curves(
        {name: (milliseconds, np.asarray(values)) for name, values in errors.items()}, "time [ms]", "relative L2 error"
    )


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path
