"""Draw wavefields, gathers and velocity models beside predictions of them."""

from collections.abc import Mapping, Sequence

import numpy as np

from surrogate.figures.drawing import (
    FIELD,
    LARGE,
    VELOCITY,
    Figure,
    axis_labels,
    color_bar,
    empty_figure,
    extent_of,
    image_panel,
    spread,
    to_png,
)

FRAMES = 24  # of a movie
FAINTEST = 0.02  # scale of a frame when the waves have left, over that of the strongest one


def snapshots(
    target: np.ndarray, predictions: Mapping[str, np.ndarray], labels: Sequence[str], spacing: float = 1.0
) -> Figure:
    """Draw up to about four fields, each prediction of them, and five times its error.

    Each column has one color scale: the 99.5th percentile of the solver's field.

    Args:
        target: Fields of the solver `(n, nz, nx)`.
        predictions: Predicted fields of the same shape, by the name of the method.
        labels: Name of each field, such as its time.
        spacing: Cell size [m].

    Returns:
        The figure: methods and errors by row, fields by column.
    """
    shown = range(0, len(labels), max(1, len(labels) // 4))
    rows = [("solver", target)]
    for name, field in predictions.items():
        rows += [(name, field), (f"5 x ({name} - solver)", 5 * (field - target))]
    figure = empty_figure(2.2 * len(shown), 2.0 * len(rows) + 0.4)
    axes = figure.subplots(len(rows), len(shown), squeeze=False, sharex=True, sharey=True)
    for column, i in enumerate(shown):
        scale, image = float(np.percentile(np.abs(target[i]), 99.5)), None
        for row, (name, field) in enumerate(rows):
            title = f"{name}, {labels[i]}"
            image = image_panel(
                axes[row, column], field[i], title, extent_of(target.shape, spacing), FIELD, -scale, scale
            )
        color_bar(
            figure, image, list(axes[:, column]), "pressure", location="bottom", aspect=30, ticks=[-scale, 0, scale]
        )
    axis_labels(axes)
    return figure


def movie(
    velocity: np.ndarray,
    target: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    times: Sequence[float],
    spacing: float,
) -> list[bytes]:
    """Draw a velocity model, the solver's field, each prediction and five times its error, at one time after the other.

    All fields of a time have one color scale: the 99.5th percentile of the solver's field then, but no less than
    FAINTEST of its largest at any time.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        target: Wavefields of the solver `(n_snapshots, nz, nx)`.
        predictions: Predicted wavefields of the same shape, by the name of the method.
        times: Time of each snapshot [s].
        spacing: Cell size [m].

    Returns:
        PNG files, at most FRAMES: fields above, the velocity and the errors below.
    """
    shown = spread(len(times), FRAMES)
    largest, extent = np.percentile(np.abs(target), 99.5, axis=(1, 2)), extent_of(target.shape, spacing)
    scales = [float(scale) for scale in np.maximum(largest, FAINTEST * largest.max())]
    fields = {"solver": target, **predictions}
    errors = {f"5 x ({name} - solver)": 5 * (field - target) for name, field in predictions.items()}
    figure = empty_figure(2.1 * len(fields) + 0.9, 4.4)
    axes = figure.subplots(2, len(fields), sharex=True, sharey=True)
    low, high = float(velocity.min()), float(velocity.max())
    image = image_panel(axes[1, 0], velocity, "velocity", extent, VELOCITY, low, high)
    color_bar(figure, image, axes[1, 0], "velocity [m/s]", location="bottom", aspect=30)
    moving = {}
    for ax, (name, field) in zip([*axes[0], *axes[1, 1:]], (fields | errors).items(), strict=True):
        moving[name] = image_panel(ax, field[shown[0]], name, extent, FIELD, -scales[shown[0]], scales[shown[0]])
    color_bar(figure, moving["solver"], list(axes[:, -1]), "pressure", aspect=40)
    axis_labels(axes)
    files = []
    for i in shown:
        figure.suptitle(f"{1e3 * times[i]:.4g} ms", fontsize=LARGE)
        for name, field in (fields | errors).items():
            moving[name].set_data(field[i])
            moving[name].set_clim(-scales[i], scales[i])
        if not files:
            figure.draw_without_rendering()  # arranges the panels once
            figure.set_layout_engine("none")
        files.append(to_png(figure))
    return files


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
    scale, extent = float(np.percentile(np.abs(target), 99.5)), extent_of(target.shape, spacing)
    first, field = next(iter(predictions.items()))
    panels = {"solver": target, first: field}
    panels |= {f"5 x ({name} - solver)": 5 * (values - target) for name, values in predictions.items()}
    figure = empty_figure(2.3 * (1 + len(panels)) + 1.0, 2.8)
    axes = figure.subplots(1, 1 + len(panels), sharey=True)
    low, high = float(velocity.min()), float(velocity.max())
    image = image_panel(axes[0], velocity, "velocity", extent, VELOCITY, low, high)
    color_bar(figure, image, axes[0], "velocity [m/s]", shrink=0.8)
    for ax, (name, panel) in zip(axes[1:], panels.items(), strict=True):
        image = image_panel(ax, panel, name, extent, FIELD, -scale, scale)
    color_bar(figure, image, list(axes[1:]), "pressure", shrink=0.8)
    axis_labels(axes[None])
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
    figure = empty_figure(2.1 * (1 + len(panels)) + 1.0, 3.2)
    axes = figure.subplots(1, 1 + len(panels))
    low, high = float(velocity.min()), float(velocity.max())
    nz, nx = velocity.shape
    image = image_panel(axes[0], velocity, "velocity", (0.0, width, width * nz / nx, 0.0), VELOCITY, low, high)
    color_bar(figure, image, axes[0], "velocity [m/s]", shrink=0.5)
    for ax, (name, panel) in zip(axes[1:], panels.items(), strict=True):
        image = image_panel(ax, panel, name, (0.0, width, duration, 0.0), FIELD, -scale, scale)
        ax.set_aspect("auto")
        ax.tick_params(labelleft=ax is axes[1])
    axis_labels(axes[None, :1])
    axis_labels(axes[None, 1:], "time [s]")
    color_bar(figure, image, list(axes[1:]), "pressure")
    return figure


def models(panels: Mapping[str, np.ndarray], spacing: float) -> Figure:
    """Draw velocity models on one color scale.

    Args:
        panels: Velocity models `(nz, nx)` [m/s] by name.
        spacing: Cell size [m].

    Returns:
        The figure: one row.
    """
    figure = empty_figure(2.6 * len(panels) + 1.0, 2.8)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    velocity_panels(figure, axes[0], panels, spacing)
    axis_labels(axes)
    return figure


def velocity_panels(
    figure: Figure,
    axes: np.ndarray,
    panels: Mapping[str, np.ndarray],
    spacing: float,
    label: str = "velocity [m/s]",
    **options,
) -> None:
    """Show velocity models in a row of panels, on one color scale.

    Args:
        figure: The figure.
        axes: Axes of the panels, at least as many as models.
        panels: Velocity models `(nz, nx)` [m/s] by name.
        spacing: Cell size [m].
        label: Quantity and unit, where these are models of another one.
        **options: Further arguments of `Figure.colorbar`.
    """
    low = min(float(p.min()) for p in panels.values())
    high = max(float(p.max()) for p in panels.values())
    images = [
        image_panel(ax, panel, name, extent_of(panel.shape, spacing), VELOCITY, low, high)
        for ax, (name, panel) in zip(axes, panels.items(), strict=False)
    ]
    color_bar(figure, images[0], list(axes[: len(panels)]), label, **({"shrink": 0.8} | options))
