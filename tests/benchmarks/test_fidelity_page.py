"""The page of gradients along an inversion: medians and the worst, of each operator and of the coarse solver."""

import json

from benchmarks.fidelity_page import write_page


def place(median: float, worst: float) -> dict:
    """Cosines of one place along the path; the coarse solver's are half as large."""
    methods = {"surrogate": (median, worst), "coarse_solver": (median / 2, worst / 2)}
    return {name: {"cosine": {"median": a, "worst": b}} for name, (a, b) in methods.items()}


def test_the_page_has_medians_and_the_worst_of_the_models(tmp_path):
    path = {"start": place(0.99, 0.98), "after 20": place(0.9, 0.8), "after 60": place(0.75, 0.125)}
    kinds = {kind: {"path": path, "alone": [0.5, 1.0, 0.75]} for kind in ("wavefield", "gather")}
    finer = {kind: {"path": dict.fromkeys(path, place(0.999, 0.99)), "alone": [1.0] * 3} for kind in kinds}
    card = {
        "jax": "0",
        "machine": {"cores_used": 2, "processor": "P"},
        **{"models": 3, "shots": 5, "places": [20, 60], "learning_rate": 10.0},
        "coarse_solver": {
            "2": {"wavefield": [0.25, 0.5], "gather": [0.125]},
            "1.5": {"wavefield": [0.75, 1.0], "gather": [0.625]},
        },
        "rows": [
            {"name": "jacobian", "ratio": 2.0, "jacobian": 0.5, "validation": 0.03, "kinds": kinds},
            {"name": "fine", "ratio": 1.5, "jacobian": 0.0, "validation": 0.01, "kinds": finer},
        ],
    }
    (tmp_path / "fidelity-cpu.json").write_text(json.dumps(card), encoding="utf-8")
    text = write_page(tmp_path, tmp_path).read_text(encoding="utf-8")
    ours = "| 0.990 (0.980) | 0.900 (0.800) | 0.750 (0.125) | 0.750 (0.500) |"
    assert f"| FNO, coarse, with Jacobian loss | 0.0300 {ours}" in text
    assert "| FNO, finer cells | 0.0100 | 0.999 (0.990)" in text and "on cells 1.5 times as large" in text
    coarse = "| coarse solver, cells 2 times as large |  | 0.495 (0.490) | 0.450 (0.400) | 0.375 (0.062) |"
    assert f"{coarse} 0.375 (0.250) |" in text and f"{coarse} 0.125 (0.125) |" in text
    coarse = "| coarse solver, cells 1.5 times as large |  | 0.499 (0.495) | 0.499 (0.495) | 0.499 (0.495) |"
    assert f"{coarse} 0.875 (0.750) |" in text and f"{coarse} 0.625 (0.625) |" in text
