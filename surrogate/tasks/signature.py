"""Describe the arrays of tasks for users who have them but none of this code: axes, unit, coordinates, ranges.

`range` and `values` are those of the data that a surrogate was trained on, and is good for. `times` [s], `sources` and
`receivers` [m] are the coordinates along the axes of those names.
"""

from typing import Any

from data_gen.dataset.sample import DataSpec

Entry = dict[str, Any]
POSITION = "(z, x) from the center of the first cell"
SNAPSHOTS = ("batch", "times", "z", "x")


def velocity_entry(spec: DataSpec, axes: tuple[str, ...] = ("batch", "z", "x")) -> Entry:
    """Describe velocity models.

    Args:
        spec: Description of the data set.
        axes: Names of the axes.

    Returns:
        JSON values.
    """
    return {"axes": list(axes), "unit": "m/s", "range": [spec.slowest, spec.mixture.max_velocity]}


def source_entry(spec: DataSpec) -> Entry:
    """Describe the positions of sources.

    Args:
        spec: Description of the data set.

    Returns:
        JSON values.
    """
    grid, (first, last) = spec.simulation.grid, spec.shots.rows
    low, high = [first * grid.spacing, 0.0], [last * grid.spacing, grid.extent[1]]
    return {"axes": ["batch", POSITION], "unit": "m", "range": [low, high]}


def pressure_entry(axes: tuple[str, ...], **coordinates: Any) -> Entry:
    """Describe the pressure of a source whose wavelet has unit peak.

    Args:
        axes: Names of the axes.
        **coordinates: Coordinates along the axes of these names, as JSON values.

    Returns:
        JSON values.
    """
    return {"axes": list(axes), "unit": "pressure, for a source of unit peak", **coordinates}
