"""The page of errors against data, parameters and steps: a law that is there is found, and each row is in its place."""

import json

import pytest

from benchmarks.scaling_page import power_law, rows_along, write_page

BASE = {"models": 1000, "width": 32, "steps": 200, "seed": 0}


def row(kind="coarse", **changed):
    """A row whose error falls by the square root of the models, and not at all with the rest."""
    numbers = BASE | changed
    error = 0.04 * (numbers["models"] / 1000) ** -0.5
    return {"kind": kind, **numbers, "parameters": numbers["width"] ** 2, "error": error, "coarse_solver": 0.05}


def rows(kind):
    changes = [{"models": 4000}, {}, {"models": 250}, {"width": 8}, {"steps": 50}, {"seed": 1}]
    return [row(kind, **changed) for changed in [*changes, {"width": 64, "steps": 400}]]


def test_a_power_law_is_found():
    exponent, factor, off = power_law([1.0, 10.0, 100.0], [3.0, 0.3, 0.03])
    assert (exponent, factor, off) == pytest.approx((1.0, 3.0, 1.0))
    # The middle one of three points moved by e^0.3: the line takes a third of that, and two thirds are left.
    assert power_law([1.0, 10.0, 100.0], [3.0, 0.3 * 2.718281828**0.3, 0.03])[2] == pytest.approx(2.718281828**0.2)


def test_rows_along_an_axis_differ_in_nothing_else():
    assert [found["models"] for found in rows_along(rows("coarse"), BASE, "models")] == [250, 1000, 4000]
    assert [found["parameters"] for found in rows_along(rows("coarse"), BASE, "parameters")] == [64, 1024]
    assert [found["seed"] for found in rows_along(rows("coarse"), BASE, "seed")] == [0, 1]


def test_the_page(tmp_path):
    machine = {"cores_used": 1, "processor": "a processor"}
    card = {"machine": machine, "jax": "0", "base": BASE, "test": 9, "batch": 8}
    card["rows"] = rows("coarse") + rows("source_map")
    (tmp_path / "scaling-cpu.json").write_text(json.dumps(card))
    text = write_page(tmp_path, tmp_path / "docs").read_text()
    # c = 1/2: tenfold data, error times 10^-1/2; the last step, of four times the data, halves it.
    assert text.count("| training models | 250 to 4,000 | 0.08, 0.04, 0.02 | 0.50 | 0% | 0.32 | 4 x: -50% |") == 2
    assert text.count("| parameters | 64 to 1,024 | 0.04, 0.04 | ") == 2
    assert (tmp_path / "docs/_static/scaling-cpu.png").stat().st_size > 10_000
