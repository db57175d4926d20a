"""Draw what a diagnosis of an inversion finds: the survey, first waves, maps of traces and the illumination."""

from collections.abc import Mapping

import numpy as np

from surrogate.figures.drawing import (
    FIELD,
    LARGE,
    SMALL,
    VELOCITY,
    Figure,
    axis_labels,
    color_bar,
    empty_figure,
    extent_of,
    image_panel,
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
    figure = empty_figure(6.4, 3.2)
    axes = figure.subplots()
    low, high = float(velocity.min()), float(velocity.max())
    image = image_panel(
        axes, velocity, "sources and receivers", extent_of(velocity.shape, spacing), VELOCITY, low, high
    )
    for points, marker, name in ((receivers, "v", "receivers"), (sources, "*", "sources")):
        z, x = points.reshape(-1, 2).T + spacing / 2
        size = 6 if marker == "*" else 3
        axes.plot(
            x, z, marker, color="white", markeredgecolor="black", markeredgewidth=0.5, markersize=size, label=name
        )
    axes.legend(fontsize=SMALL)
    color_bar(figure, image, axes, "velocity [m/s]", shrink=0.8)
    axis_labels(np.array([[axes]]))
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
    figure = empty_figure(3.4 * len(panels) + 0.4, 3.0)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (name, (values, low, high)) in zip(axes, panels.items(), strict=True):
        shots, receivers = values.shape
        image = image_panel(ax, values, name, (-0.5, receivers - 0.5, shots - 0.5, -0.5), colors, low, high)
        ax.set_aspect("auto")
        ax.set_xlabel("receiver", fontsize=LARGE)
        ax.set_ylabel("shot", fontsize=LARGE)
        color_bar(figure, image, ax, name)
    return figure


def first_waves(
    sides: Mapping[str, np.ndarray], breaks: Mapping[str, np.ndarray], times: tuple[float, float]
) -> Figure:
    """Draw the gathers of one shot side by side, each on its own scale, with the first breaks of all in each.

    Args:
        sides: Gathers `(nt, n_receivers)` by name.
        breaks: First breaks `(n_receivers,)` [s] by the same names, NaN for none.
        times: Time of the first and of the last sample [s].

    Returns:
        The figure: one row.
    """
    figure = empty_figure(3.4 * len(sides) + 0.4, 3.6)
    axes = figure.subplots(1, len(sides), squeeze=False, sharey=True)[0]
    for ax, (name, gather) in zip(axes, sides.items(), strict=True):
        scale, receivers = float(np.percentile(np.abs(gather), 99)) or 1.0, gather.shape[1]
        image_panel(ax, gather, name, (-0.5, receivers - 0.5, times[1], times[0]), FIELD, -scale, scale)
        ax.set_aspect("auto")
        for (other, picked), color in zip(breaks.items(), ("black", "tab:green"), strict=False):
            ax.plot(np.arange(receivers), picked, ".", color=color, markersize=3, label=f"first break {other}")
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
    figure = empty_figure(6.4, 3.2)
    axes = figure.subplots()
    decibels = 10 * np.log10(np.maximum(values, 1e-12))
    image = image_panel(
        axes, decibels, "illumination by the sources", extent_of(values.shape, spacing), VELOCITY, -40.0, 0.0
    )
    color_bar(figure, image, axes, "energy [dB]", shrink=0.8)
    axis_labels(np.array([[axes]]))
    return figure
