"""What a contender spent until it was as good as L-BFGS: counted by cells, and only where misfits compare."""

from types import SimpleNamespace
from typing import Any

from benchmarks.corrected import reached

SHOTS = 2


def runner(name, *entries) -> Any:
    keys = ("stage", "used", "low", "seconds", "misfit", "error")
    return SimpleNamespace(name=name, history=[dict(zip(keys, entry, strict=True)) for entry in entries])


def test_a_cheap_model_is_counted_apart():
    """A gradient of both shots counts 6; `low` are those by the cheap model."""
    led = runner("corrected", (0, 6, 0, 1.0, 1.0, 0.10), (0, 14, 60, 2.0, 0.1, 0.05))
    assert reached(led, SHOTS, "misfit", 0.1) == {"fine": 14 / 6, "low": 10.0, "seconds": 2.0}
    assert reached(led, SHOTS, "error", 0.1) == {"fine": 1.0, "low": 0.0, "seconds": 1.0}
    assert reached(led, SHOTS, "error", 0.01) is None


def test_a_stage_on_coarser_cells_is_no_stage_of_the_cells():
    """Its simulations are those of coarser cells, and its misfit, of data with their errors, is none of the cells."""
    staged = runner(
        "coarse_first",
        (0, 6, 0, 1.0, 0.05, 0.10),
        (0, 60, 0, 2.0, 0.01, 0.06),
        (1, 66, 0, 3.0, 0.08, 0.06),
        (1, 72, 0, 4.0, 0.04, 0.05),
    )
    assert reached(staged, SHOTS, "misfit", 0.05) == {"fine": 2.0, "low": 10.0, "seconds": 4.0}
    assert reached(staged, SHOTS, "error", 0.06) == {"fine": 0.0, "low": 10.0, "seconds": 2.0}
    assert reached(runner("coarse_first", (0, 6, 0, 1.0, 0.05, 0.10)), SHOTS, "misfit", 0.05) is None
