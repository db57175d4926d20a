"""What the arrays of a task are, for whoever has them but none of our code: axes, units, coordinates, ranges."""

from typing import Any

from surrogate.encodings.gather import stored_times
from surrogate.protocols import Task

POSITION = "(z, x) from the centre of the first cell"


def meanings(task: Task) -> dict[str, dict[str, Any]]:
    """Of each input and of the target, as JSON values. range, values: of the data it was trained on, and is good for.

    times [s], sources and receivers [m]: the coordinates along the axes of those names.
    """
    spec, times = task.spec, task.spec.simulation.snapshot_times.tolist()
    grid, (first, last) = spec.simulation.grid, spec.shots.rows
    velocity = {"unit": "m/s", "range": [spec.slowest, spec.mixture.max_velocity]}
    pressure = {"unit": "pressure, for a source of unit peak"}
    known = {
        "velocity": {"axes": ["batch", "z", "x"], **velocity},
        "velocities": {"axes": ["batch", "output", "z", "x"], **velocity},
        "source": {
            "axes": ["batch", POSITION],
            "unit": "m",
            "range": [[first * grid.spacing, 0.0], [last * grid.spacing, grid.extent[1]]],
        },
        "frequency": {"axes": ["batch"], "unit": "Hz", "values": list(spec.simulation.frequencies)},
        "state": {"axes": ["batch", "times", "z", "x"], **pressure, "times": times[:2]},
        "snapshots": {"axes": ["batch", "times", "z", "x"], **pressure, "times": times},
        "harmonic": {
            "axes": ["batch", "real and imaginary part of the transform with exp(-2 pi i f t)", "z", "x"],
            "unit": "pressure, for a source of unit spectrum",
        },
        "gathers": {
            "axes": ["batch", "output", "times", "receivers"],
            **pressure,
            "times": stored_times(spec).tolist(),
            "receivers": spec.receivers.tolist(),
        },
    }
    if "state" in task.inputs:
        known["snapshots"]["times"] = times[2:]
    if "gathers" in task.inputs:
        line = [[first * grid.spacing, column * grid.spacing] for column in spec.shots.columns(grid).tolist()]
        known["gathers"] |= {"axes": ["batch", "sources", "times", "receivers"], "sources": line}
    return {name: known[name] for name in (*task.inputs, task.target)}
