"""Draw what an inversion changed: models, updates, and how observed data differ from those of start and estimate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surrogate.figures.drawing import (
    FIELD,
    LARGE,
    SMALL,
    Figure,
    axis_labels,
    color_bar,
    empty_figure,
    extent_of,
    image_panel,
)
from surrogate.figures.fields import velocity_panels

SIDES = ("start", "estimate")
COLORS = {"observed": "black", "start": "tab:orange", "estimate": "tab:blue"}
CLIP = 90  # percentile of amplitudes at which the gray of a gather ends: reflections are much weaker than direct waves
BELOW: Any = {"location": "bottom", "shrink": 0.8, "aspect": 35}  # color bars that leave the columns in line
BLOCKS = 12  # of traces, observed and predicted in turn
RASTER = 600  # columns and rows of an image of traces at uneven positions
SHOWN = (-1.0, 2.0)  # ratios beyond are drawn at the edge
FLOOR = 1e-3  # of the largest observed amplitude: the lowest one of a spectrum that is drawn


def inversion_models(
    panels: Mapping[str, np.ndarray],
    changes: Mapping[str, np.ndarray],
    gradient: np.ndarray,
    spacing: float,
    quantity: tuple[str, str] = ("velocity", "m/s"),
) -> Figure:
    """Draw models of velocity or density, and below them changes of the model and the first gradient.

    Models share one color scale, changes another; the gradient has its own, up to its 99th percentile.

    Args:
        panels: Models `(nz, nx)` by name.
        changes: Differences of models `(nz, nx)` by name.
        gradient: Gradient of the misfit with respect to the velocity or the relative density `(nz, nx)` [s/m].
        spacing: Cell size [m].
        quantity: Name and unit of the models.

    Returns:
        The figure: two rows.
    """
    columns = max(len(panels), len(changes) + 1)
    nz, nx = gradient.shape
    figure = empty_figure(2.6 * columns, 2 * (1.0 + 2.4 * float(np.clip(nz / nx, 0.3, 1.2))))
    axes = figure.subplots(2, columns, squeeze=False, sharex=True, sharey=True)
    name, unit = quantity
    velocity_panels(figure, axes[0], panels, spacing, f"{name} [{unit}]", **BELOW)
    _change_panels(figure, axes[1], changes, spacing, unit)
    last, scale = axes[1, len(changes)], float(np.percentile(np.abs(gradient), 99)) or 1.0
    image = image_panel(last, gradient, "first gradient", extent_of(gradient.shape, spacing), FIELD, -scale, scale)
    color_bar(figure, image, last, "misfit per m/s", **BELOW)
    for ax in (*axes[0, len(panels) :], *axes[1, len(changes) + 1 :]):
        ax.remove()
    axis_labels(axes)
    return figure


def updates(panels: Mapping[str, np.ndarray], spacing: float) -> Figure:
    """Draw changes of a model on one color scale, up to three in a row.

    Args:
        panels: Changes `(nz, nx)` [m/s] by name.
        spacing: Cell size [m].

    Returns:
        The figure.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    nz, nx = next(iter(panels.values())).shape
    figure = empty_figure(2.6 * columns, 0.7 + rows * (0.4 + 2.4 * float(np.clip(nz / nx, 0.3, 1.2))))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    _change_panels(figure, axes.ravel(), panels, spacing)
    for ax in axes.ravel()[len(panels) :]:
        ax.remove()
    axis_labels(axes)
    return figure


def misfits(by_shot: np.ndarray, sources: np.ndarray, by_offset: np.ndarray, edges: np.ndarray) -> Figure:
    """Draw the misfit of each shot and of each range of offsets, of start and estimate.

    Args:
        by_shot: Misfits by shot `(2, n_shots)`.
        sources: Positions (z, x) of the shots `(n_shots, 2)` [m].
        by_offset: Misfits by range of offsets `(2, n_bins)`.
        edges: Ends of the ranges `(n_bins + 1,)` [m].

    Returns:
        The figure: two panels.
    """
    figure = empty_figure(7.4, 2.8)
    left, right = figure.subplots(1, 2, sharey=True)
    name, positions = _line(sources)
    order, middles = np.argsort(positions), (edges[1:] + edges[:-1]) / 2
    for side, shot, offset in zip(SIDES, by_shot, by_offset, strict=True):
        style = {"label": side, "color": COLORS[side], "linewidth": 1.2, "markersize": 3}
        left.semilogy(positions[order], shot[order], "o-", **style)
        known = np.isfinite(offset)
        right.semilogy(middles[known], offset[known], "o-", **style)
    left.set_xlabel(f"source {name} [m]", fontsize=LARGE)
    right.set_xlabel("offset [m]", fontsize=LARGE)
    left.set_ylabel("misfit l2", fontsize=LARGE)
    _finish(left, right)
    return figure


def interleaved(gathers: np.ndarray, receivers: np.ndarray, dt: float, titles: Sequence[str]) -> Figure:
    """Draw gathers whose traces are in turn a few observed and a few predicted ones: events go on where both agree.

    Every trace, observed or predicted, is divided by the root mean square of the observed one at its place. A bar on
    top of the panel is black over observed traces, and colored over predicted ones.

    Args:
        gathers: Observed gathers and those of start and estimate `(3, n_shots, nt, n_receivers)`.
        receivers: Positions (z, x) of the receivers `(n_shots, n_receivers, 2)` [m].
        dt: Time between two samples [s].
        titles: Name of each shot.

    Returns:
        The figure: shots by row, start and estimate by column.
    """
    figure = empty_figure(7.6, 2.5 * len(titles) + 0.3)
    axes = figure.subplots(len(titles), 2, squeeze=False, sharex="row", sharey=True)
    duration = gathers.shape[2] * dt
    for row, title in enumerate(titles):
        name, positions = _line(receivers[row])
        order = np.argsort(positions)
        edges = _edges(positions[order])
        block = np.arange(len(order)) * min(BLOCKS, len(order)) // len(order)
        column, _ = _raster(edges, *edges[[0, -1]])
        observed = gathers[0, row][:, order]
        rms = np.sqrt(np.mean(observed**2, axis=0))
        gain = 1 / np.where(rms > 0, rms, np.inf)
        for ax, side, predicted in zip(axes[row], SIDES, gathers[1:, row], strict=True):
            traces = gain * np.where(block % 2 == 0, observed, predicted[:, order])
            scale = float(np.percentile(np.abs(gain * observed), CLIP)) or 1.0
            extent = (edges[0], edges[-1], duration, 0.0)
            image_panel(ax, traces[:, column], f"{title}, {side}", extent, "gray_r", -scale, scale)
            ax.set_aspect("auto")
            for i in range(block[-1] + 1):
                ends = edges[np.flatnonzero(block == i)[[0, -1]] + [0, 1]]
                color = COLORS["observed" if i % 2 == 0 else side]
                ax.plot(ends, [0, 0], color=color, linewidth=5, solid_capstyle="butt", clip_on=False, zorder=5)
            ax.set_xlim(edges[0], edges[-1])
            ax.set_xlabel(f"receiver {name} [m]", fontsize=LARGE)
        axes[row, 0].set_ylabel("time [s]", fontsize=LARGE)
    return figure


def delays(values: np.ndarray, sources: np.ndarray, receivers: np.ndarray) -> Figure:
    """Draw how much later the observed first breaks are than those of start and estimate.

    Both have one color scale, which ends at the 98th percentile of the start's delays.

    Args:
        values: Delays `(2, n_shots, n_receivers)` [s]; NaN where there is none.
        sources: Positions (z, x) of the shots `(n_shots, 2)` [m].
        receivers: Positions (z, x) of the receivers of each shot `(n_shots, n_receivers, 2)` [m].

    Returns:
        The figure: two panels, source by receiver position.
    """
    figure = empty_figure(7.6, 3.2)
    axes = figure.subplots(1, 2, sharey=True)
    source_name, across = _line(sources)
    receiver_name, along = _line(receivers)
    order = np.argsort(across)
    column_edges = _edges(across[order])
    columns, _ = _raster(column_edges, *column_edges[[0, -1]])
    spreads = [(np.argsort(row), _edges(np.sort(row))) for row in along]
    ends = float(min(edges[0] for _, edges in spreads)), float(max(edges[-1] for _, edges in spreads))
    start = np.abs(values[0][np.isfinite(values[0])])
    scale, image = 1e3 * (float(np.percentile(start, 98)) if len(start) else 0.0) or 1.0, None
    for ax, side, delay in zip(axes, SIDES, values, strict=True):
        strips = np.full((len(order), RASTER), np.nan)
        for shot, (ranks, edges) in enumerate(spreads):
            rows, inside = _raster(edges, *ends)
            strips[shot, inside] = 1e3 * delay[shot, ranks][rows[inside]]
        known = np.abs(1e3 * delay[np.isfinite(delay)])
        title = f"{side}: median {np.median(known):.3g} ms" if len(known) else side
        extent = (column_edges[0], column_edges[-1], ends[1], ends[0])
        image = image_panel(ax, strips[order][columns].T, title, extent, FIELD, -scale, scale)
        ax.set_facecolor("0.85")
        ax.set_aspect("auto")
        ax.set_xlabel(f"source {source_name} [m]", fontsize=LARGE)
    axes[0].set_ylabel(f"receiver {receiver_name} [m]", fontsize=LARGE)
    color_bar(figure, image, list(axes), "observed - predicted [ms]")
    return figure


def wavelets(before: np.ndarray, after: np.ndarray, dt: float) -> Figure:
    """Draw the wavelets before and after their estimation, each side divided by its largest amplitude.

    Args:
        before: Wavelets before `(n, nt)`.
        after: Wavelets after, likewise.
        dt: Time between two samples [s].

    Returns:
        The figure.
    """
    figure = empty_figure(7.4, 2.6)
    axes = figure.subplots()
    times, last = 1e3 * dt * np.arange(before.shape[-1]), 0
    for side, rows, color in (("before", before, COLORS["start"]), ("after", after, COLORS["estimate"])):
        largest = float(np.abs(rows).max()) or 1.0
        last = max(last, int(np.flatnonzero(np.abs(rows).max(axis=0) > 0.01 * largest)[-1]))
        lines = axes.plot(times, rows.T / largest, color=color, linewidth=1.2, alpha=1 / np.sqrt(len(rows)))
        lines[0].set_label(f"{side}, in units of {largest:.3g}")
    axes.set_xlim(0, times[min(len(times) - 1, round(1.1 * last) + 1)])
    axes.set_xlabel("time [ms]", fontsize=LARGE)
    axes.set_ylabel("amplitude", fontsize=LARGE)
    _finish(axes)
    return figure


def spectra(amplitudes: np.ndarray, frequencies: np.ndarray) -> Figure:
    """Draw the amplitude spectra of observed data and of those of start and estimate, relative to the observed peak.

    Args:
        amplitudes: Amplitudes `(3, n_frequencies)`.
        frequencies: Frequencies `(n_frequencies,)` [Hz].

    Returns:
        The figure.
    """
    figure = empty_figure(7.4, 2.6)
    axes = figure.subplots()
    relative = amplitudes / (float(amplitudes[0].max()) or 1.0)
    styles = ({"linewidth": 3.0, "alpha": 0.3}, {"linewidth": 1.2}, {"linewidth": 1.2, "linestyle": "--"})
    for name, curve, style in zip(("observed", *SIDES), relative, styles, strict=True):
        axes.semilogy(frequencies, curve, label=name, color=COLORS[name], **style)
    shown = np.flatnonzero((relative > 10 * FLOOR).any(axis=0))
    axes.set_xlim(0.0, min(1.3 * float(frequencies[shown[-1]]), float(frequencies[-1])) if len(shown) else None)
    axes.set_ylim(FLOOR, 2 * float(relative.max()))
    axes.set_xlabel("frequency [Hz]", fontsize=LARGE)
    axes.set_ylabel("amplitude, relative", fontsize=LARGE)
    _finish(axes)
    return figure


def model_errors(edges: np.ndarray, errors: np.ndarray, variation: np.ndarray) -> Figure:
    """Draw the errors of start and estimate by octave of wavelengths, long ones first.

    Args:
        edges: Ends of the octaves `(n + 1,)` [m], from short to long; the first is zero.
        errors: Root mean squares of both errors `(2, n)` [m/s].
        variation: Root mean squares of the true model `(n,)` [m/s].

    Returns:
        The figure.
    """
    figure = empty_figure(7.4, 2.6)
    axes = figure.subplots()
    drawn = np.concatenate([[edges[1] / 2], edges[1:]])
    axes.stairs(variation, drawn, label="true model", color="0.85", fill=True)
    for side, values in zip(SIDES, errors, strict=True):
        axes.stairs(values, drawn, label=f"error of the {side}", color=COLORS[side], linewidth=1.4, baseline=None)
    axes.set_xscale("log")
    axes.set_xlim(drawn[-1], drawn[0])
    axes.set_xticks(drawn, [f"{edge:.4g}" for edge in drawn])
    axes.minorticks_off()
    axes.set_xlabel("wavelength [m]", fontsize=LARGE)
    axes.set_ylabel("rms in the octave [m/s]", fontsize=LARGE)
    _finish(axes)
    return figure


def _change_panels(
    figure: Figure, axes: np.ndarray, panels: Mapping[str, np.ndarray], spacing: float, unit: str = "m/s"
) -> None:
    """Show changes of a model in a row of panels, on one scale that ends at the 99.5th percentile of all."""
    scale = float(np.percentile(np.abs(np.stack([*panels.values()])), 99.5)) or 1.0
    images = [
        image_panel(ax, panel, name, extent_of(panel.shape, spacing), FIELD, -scale, scale)
        for ax, (name, panel) in zip(axes, panels.items(), strict=False)
    ]
    color_bar(figure, images[0], list(axes[: len(panels)]), f"change [{unit}]", **BELOW)


def _finish(*panels) -> None:
    """Add a grid and a legend to panels of lines."""
    for axes in panels:
        axes.grid(alpha=0.3, which="both")
        axes.tick_params(labelsize=SMALL, which="both")
    panels[0].legend(fontsize=LARGE)


def _line(points: np.ndarray) -> tuple[str, np.ndarray]:
    """Choose the coordinate in which positions `(..., 2)` differ most, such as z in a well; return name and values."""
    spans = np.ptp(points.reshape(-1, 2), axis=0)
    axis = int(spans[0] > spans[1])
    return "xz"[axis], points[..., 1 - axis]


def _edges(positions: np.ndarray) -> np.ndarray:
    """Find the ends of the cells around ascending positions: midpoints, and as far on at both ends."""
    positions = np.asarray(positions, np.float64)
    if len(positions) == 1:
        return positions[0] + np.array([-1.0, 1.0])
    middles = (positions[1:] + positions[:-1]) / 2
    return np.concatenate([[2 * positions[0] - middles[0]], middles, [2 * positions[-1] - middles[-1]]])


def _raster(edges: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the cell at each of `RASTER` even positions between two ends, and which of them lie within any cell."""
    places = low + (high - low) * (np.arange(RASTER) + 0.5) / RASTER
    cells = np.searchsorted(edges, places, "right") - 1
    return np.clip(cells, 0, len(edges) - 2), (cells >= 0) & (cells < len(edges) - 1)


def trials(kind: np.ndarray, ratio: np.ndarray, radius: np.ndarray, fine: np.ndarray, low: np.ndarray) -> Figure:
    """Draw the trials of a corrected cheap model, in turn with steps of the misfit itself.

    Args:
        kind: Kind of each, a plain step (0), an accepted (1) or a rejected trial (2) `(n,)`.
        ratio: True fall of the misfit over the predicted one, NaN where there is none `(n,)`.
        radius: Radius of the trust region after it, infinite for none [m/s] `(n,)`.
        fine: Gradients of a shot by the solver up to it `(n,)`.
        low: Those by the cheap model `(n,)`.

    Returns:
        The figure: three panels, one below the other.
    """
    figure, number = empty_figure(6.4, 5.4), np.arange(1, len(kind) + 1)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(2, 1, 1))
    for value, label, marker, color in ((1, "accepted", "o", "tab:blue"), (2, "rejected", "x", "tab:red")):
        chosen = kind == value
        top.plot(number[chosen], np.clip(ratio[chosen], *SHOWN), marker, label=label, color=color, markersize=4)
    plain = number[kind == 0]
    top.plot(plain, np.zeros(len(plain)), "|", label="step of the solver", color="gray", markersize=8)
    for level in (0.25, 0.75):
        top.axhline(level, color="gray", linestyle=":", linewidth=0.8)
    top.set_ylabel("true fall / predicted", fontsize=SMALL)
    top.legend(fontsize=SMALL, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    finite = np.isfinite(radius)
    middle.semilogy(number[finite], radius[finite], drawstyle="steps-post", color="black", linewidth=1.0)
    middle.set_ylabel("radius [m/s]", fontsize=SMALL)
    bottom.plot(number, fine, label="solver", color="tab:blue", linewidth=1.3)
    bottom.plot(number, low, label="cheap model", color="tab:orange", linewidth=1.3)
    bottom.set_ylabel("gradients of a shot", fontsize=SMALL)
    bottom.set_xlabel("trials and steps", fontsize=SMALL)
    bottom.legend(fontsize=SMALL)
    for axes in (top, middle, bottom):
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=SMALL, which="both")
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure
