"""Draw what all figures share, without a display: panels, color bars, labels, and files.

A file holds the numbers of its lines, too, as JSON in the PNG's text: pages print them as tables, and anyone can draw
the figure again. Matplotlib is imported when the first figure is drawn, so that models load without it.
"""

import io
import json
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
SERIES = "Series"  # key of a PNG's text
POINTS, LINES = 60, 24  # of a figure whose numbers are kept


def empty_figure(width: float, height: float) -> Figure:
    """Create an empty figure.

    Args:
        width: Width [inches].
        height: Height [inches].

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure as MatplotlibFigure

    return MatplotlibFigure(figsize=(width, height), layout=LAYOUT)


def image_panel(axes, values: np.ndarray, title: str, extent, colors: str, low: float, high: float):
    """Show an array in a panel.

    Args:
        axes: Axes of the panel.
        values: Array `(n_rows, n_columns)`, the first row on top; NaN is left white.
        title: Title; underscores become spaces.
        extent: Ends of the axes: left, right, bottom and top.
        colors: Name of the color map.
        low: Value of its first color.
        high: Value of its last color.

    Returns:
        The image, which a color bar describes.
    """
    image = axes.imshow(values, cmap=colors, vmin=low, vmax=high, extent=extent, interpolation="nearest")
    axes.set_title(title.replace("_", " "), fontsize=LARGE)
    axes.tick_params(labelsize=SMALL)
    return image


def color_bar(figure, image, axes, label: str, **options) -> None:
    """Add a color bar.

    Args:
        figure: The figure.
        image: Image that it describes.
        axes: Panel, or list of panels, at whose side it stands.
        label: Its label with a unit.
        **options: Further arguments of `Figure.colorbar`.
    """
    bar = figure.colorbar(image, ax=axes, pad=0.02, **options)
    bar.formatter.set_powerlimits((-2, 4))
    bar.set_label(label, fontsize=LARGE)
    bar.ax.tick_params(labelsize=SMALL)
    bar.ax.yaxis.offsetText.set_fontsize(SMALL)
    bar.ax.xaxis.offsetText.set_fontsize(SMALL)


def axis_labels(axes: np.ndarray, vertical: str = "depth [m]") -> None:
    """Label the outer axes of a grid of panels.

    Args:
        axes: Axes of the panels `(n_rows, n_columns)`.
        vertical: Label of the vertical axes; the horizontal ones are x.
    """
    for ax in axes[-1]:
        ax.set_xlabel("x [m]", fontsize=LARGE)
    for ax in axes[:, 0]:
        ax.set_ylabel(vertical, fontsize=LARGE)


def extent_of(shape: tuple[int, ...], spacing: float) -> tuple[float, float, float, float]:
    """Compute the ends of a model's axes.

    Args:
        shape: Shape of the model, `(nz, nx)` last.
        spacing: Cell size [m].

    Returns:
        Left, right, bottom and top [m].
    """
    nz, nx = shape[-2:]
    return 0.0, nx * spacing, nz * spacing, 0.0


def spread(count: int, most: int) -> np.ndarray:
    """Choose entries of a list evenly, the first and the last among them.

    Args:
        count: Number of entries.
        most: Largest number to choose.

    Returns:
        Their indices, ascending.
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def line_series(figure: Figure) -> list[dict[str, Any]]:
    """Read the numbers of the lines that a figure shows.

    Args:
        figure: The figure.

    Returns:
        JSON values of each line, at most LINES: its `name`, the labels `x` and `y` of its axes, its `points`, at most
        POINTS of them, evenly chosen, and their number (`of`).
    """
    found = []
    for axes in figure.axes:
        for line in axes.get_lines():
            points = np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float)
            points = points[np.isfinite(points).all(axis=1)]
            if line.get_transform() != axes.transData or not len(points):
                continue  # a mark across the panel, or nothing
            chosen = spread(len(points), POINTS)
            label = str(line.get_label())
            found.append(
                {
                    "name": axes.get_ylabel() if label.startswith("_") else label,
                    "x": axes.get_xlabel() or figure.axes[-1].get_xlabel(),
                    "y": axes.get_ylabel(),
                    "points": [[float(f"{value:.6g}") for value in point] for point in points[chosen]],
                    "of": len(points),
                }
            )
    return found[:LINES]


def read_series(png: bytes) -> list[dict[str, Any]]:
    """Read the numbers that the file of a figure holds.

    Args:
        png: Content of the file.

    Returns:
        What `line_series` returned; nothing for a picture without lines, or of somewhere else.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(png)) as image:
            found = json.loads(image.info.get(SERIES, "[]"))
        return [{"name": s["name"], "x": s["x"], "y": s["y"], "points": s["points"], "of": s["of"]} for s in found]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as a PNG file, and create its folder.

    Args:
        figure: Figure to write.
        path: Path of the file.

    Returns:
        The same path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_png(figure))
    return path


def to_png(figure: Figure) -> bytes:
    """Encode a figure as PNG.

    Args:
        figure: The figure.

    Returns:
        The content of a PNG file.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={SERIES: json.dumps(line_series(figure))})
    return buffer.getvalue()
