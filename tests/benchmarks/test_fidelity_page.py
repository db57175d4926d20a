"""The page of gradients along an inversion: medians and the worst, of each operator and of the coarse solver."""

import json

from benchmarks.fidelity_page import write_page


def place(median: float, worst: float) -> dict:
    """Cosines of one place along the path."""
    methods = {"surrogate": (median, worst), "coarse_solver": (0.5, 0.25)}
    return {name: {"cosine": {"median": a, "worst": b}} for name, (a, b) in methods.items()}


def test_the_page_has_medians_and_the_worst_of_the_models(tmp_path):
    path = {"start": place(0.99, 0.98), "after 20": place(0.9, 0.8), "after 60": place(0.75, 0.125)}
    kinds = {kind: {"path": path, "alone": [0.5, 1.0, 0.75]} for kind in ("wavefield", "gather")}
    card = {
        "jax": "0",
        "machine": {"cores_used": 2, "processor": "P"},
        **{"models": 3, "shots": 5, "places": [20, 60], "learning_rate": 10.0},
        "coarse_solver": {"wavefield": [0.25, 0.5], "gather": [0.125]},
        "rows": [{"name": "jacobian", "jacobian": 0.5, "validation": 0.03, "kinds": kinds}],
    }
    (tmp_path / "fidelity-cpu.json").write_text(json.dumps(card), encoding="utf-8")
    text = write_page(tmp_path, tmp_path).read_text(encoding="utf-8")
    ours = "| 0.990 (0.980) | 0.900 (0.800) | 0.750 (0.125) | 0.750 (0.500) |"
    assert f"| FNO, coarse, with Jacobian loss | 0.0300 {ours}" in text
    coarse = "| coarse solver |  | 0.500 (0.250) | 0.500 (0.250) | 0.500 (0.250) |"
    assert f"{coarse} 0.375 (0.250) |" in text and f"{coarse} 0.125 (0.125) |" in text
