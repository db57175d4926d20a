"""The page of trainings on one family that are tried on others: matrix, penalties, and what predicts them."""

import json

import numpy as np

from benchmarks.families_page import matrix, penalties, write_page

FAMILIES = ("flat", "rough", "salt")


def row(kind: str, name: str, errors: dict[str, float]) -> dict:
    """A training whose two test models of a family err by a number and by twice that."""
    found = {
        family: {
            "errors": [error, 2 * error],
            "coarse_solver": [0.1, 0.2],
            "corrections": [0.05, 0.04],
            "distances": [0.5, 3.0] if family == name else [5.0, 9.0],
        }
        for family, error in errors.items()
    }
    return {"kind": kind, "name": name, "families": found}


def rows(kind: str) -> list[dict]:
    """Specialists of two families, and a generalist."""
    flat = row(kind, "flat", {"flat": 0.02, "rough": 0.08, "salt": 0.12})
    rough = row(kind, "rough", {"flat": 0.03, "rough": 0.04, "salt": 0.09})
    return [flat, rough, row(kind, "all_ten", {"flat": 0.025, "rough": 0.05, "salt": 0.06})]


def test_matrix_and_penalties():
    """Means over the models; a penalty is over the error of the specialist, or of the generalist, never its own."""
    names, families, means = matrix(rows("gather"))
    assert names == ["flat", "rough", "all_ten", "coarse solver"] and families == list(FAMILIES)
    np.testing.assert_allclose(means[0], [0.03, 0.12, 0.18])
    np.testing.assert_allclose(means[-1], 0.15)
    distances, ratios = penalties(rows("gather"))
    np.testing.assert_allclose(ratios[:4], [2, 2, 2, 2])
    np.testing.assert_allclose(ratios[4:8], [1.5, 1.5, 1.5, 1.5])
    np.testing.assert_allclose(ratios[8:], [1.25, 1.25, 1.25, 1.25])
    np.testing.assert_allclose(distances, [5.0, 9.0] * 6)


def test_the_page(tmp_path):
    card = {
        "jax": "0",
        "machine": {"cores_used": 2, "processor": "P"},
        "setup": {"train": 4, "test": 2, "shots": 2, "steps": 5, "batch": 1},
        "far": 2.0,
        "rows": rows("wavefield") + rows("gather"),
    }
    (tmp_path / "families-cpu.json").write_text(json.dumps(card), encoding="utf-8")
    text = write_page(tmp_path, tmp_path).read_text(encoding="utf-8")
    assert "| flat | **3.00** | 12.00 | 18.00 |" in text and "| coarse solver | 15.00 | 15.00 | 15.00 |" in text
    # Away from home: 0.045 / 0.03 and 0.12 / 0.06.
    assert "errs by 1.75 times" in text and "largest 2.00" in text
    # Of 9 pairs, those of `flat` on salt err by 0.18 against 0.15.
    assert "1 of 9 pairs err more than the coarse solver" in text
    assert "| 4 to 8 | 6 | 1.50 | 2.00 | 2.00 |" in text and "| 0 to 1 |" not in text
    assert (tmp_path / "_static" / "families-cpu.png").stat().st_size > 10_000
