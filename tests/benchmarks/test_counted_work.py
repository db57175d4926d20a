"""Counts of work: those of known programs and of a time loop, and their ratios on the page."""

import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks.counted_work import flops, of_loop, of_program
from benchmarks.counted_work_page import write_page
from data_gen.solver.engines.choose import runs_natively
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation


def test_a_product_of_matrices():
    """2 n^3 operations, at least two matrices of traffic; a product that follows another is launched after it."""
    a = jax.random.normal(jax.random.key(0), (64, 64))
    once, twice = (of_program(lambda x, k=k: jnp.linalg.matrix_power(x, k), (a,)) for k in (2, 4))
    assert once["arithmetic"] == pytest.approx(2 * 64**3, rel=0.01)
    assert once["traffic"] >= 2 * 4 * 64**2
    assert twice["arithmetic"] == pytest.approx(2 * once["arithmetic"], rel=0.01)
    assert twice["launches"] == once["launches"] + 1


def test_a_time_loop_counts_cells_steps_and_shots():
    """The operations of the stencil of order 8: 12 an axis, 2 at the center, 4 of the leap-frog."""
    simulation = Simulation(
        Grid((40, 30), 10.0), TimeAxis(101, 1e-3), 3000.0, 15.0, widths=(0, 10, 10, 10), medium="samples", order=8
    )
    if not runs_natively(simulation, constant_density=True):
        pytest.skip("there is no compiled C++ here")
    one, three = of_loop(simulation, 1), of_loop(simulation, 3)
    cells = 50 * 50 * one["launches"]
    assert flops(8) == 30
    assert one["arithmetic"] == 30 * cells and one["traffic"] == 16 * cells
    assert three == {"launches": one["launches"], "traffic": 3 * 16 * cells, "arithmetic": 3 * 30 * cells}


def test_the_page_has_the_ratios(tmp_path):
    def counts(value: float) -> dict[str, float]:
        return dict.fromkeys(("launches", "traffic", "arithmetic"), value)

    row = {"name": "one", "shape": [64, 32], "shots": 5, "error": 0.0125}
    row |= {"solver": counts(3e9), "encoding": counts(2e9), "prediction": counts(4e9), "settings": []}
    (tmp_path / "counted-work-cpu.json").write_text(json.dumps({"rows": [row]}), encoding="utf-8")
    text = write_page(tmp_path, tmp_path).read_text(encoding="utf-8")
    assert "## one" in text and "64 x 32, 5 shots, error 0.0125." in text
    assert "| traffic [GB] | 3 | 2 | 4 | 0.75 | 1.50 |" in text
