"""The page of an inversion: drawn from its files alone, with what these have."""

import json
from itertools import combinations

import numpy as np
import pytest

from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.wavelets import ricker_waveform
from surrogate.figures import drawing
from surrogate.inversion.comparison import compare
from surrogate.report.inversions import inversion_figures, stages_of, stored_figures
from surrogate.report.page import write_report

NT, DT = 100, 4e-3
SOURCES = np.array([[10.0, 300.0], [10.0, 0.0], [10.0, 150.0]])  # not in order
SPREAD = np.stack([np.full(9, 10.0), 20.0 + 25.0 * np.arange(9) ** 1.2], axis=1)  # uneven
OF_DATA = ["misfits", "gathers", "first_breaks", "spectra"]
SUMMARY = {
    "model": "a model",
    "forward": "physics",
    "kind": "gather",
    "shots": 3,
    "iterations": 2,
    "misfit": {"start": 1.0, "end": 0.5, "fall": 0.5},
    "true_misfit": {"start": 1.0, "end": 0.5, "fall": 0.5},
    "model_error": None,
}


@pytest.fixture
def folder(tmp_path):
    """An inversion of shots whose spread moves with them, with a dead trace and no known model."""
    receivers = SOURCES[:, None] + SPREAD
    distances = np.linalg.norm(receivers - SOURCES[:, None], axis=-1)

    def gathers(velocity):
        times = DT * np.arange(NT)[:, None] - 0.1 - distances[:, None] / velocity
        return ricker_waveform((np.pi * 15.0 * times) ** 2)

    weights = np.ones((3, 1, 9))
    weights[1, 0, 4] = 0
    predictions = iter([gathers(2000.0), gathers(2450.0)])
    compared = compare(gathers(2500.0), predictions, make_survey(SOURCES, receivers, np.ones(NT)), DT, weights)
    np.savez(tmp_path / "comparison.npz", **compared._asdict())
    store(tmp_path)
    (tmp_path / "inversion.json").write_text(json.dumps(SUMMARY), encoding="utf-8")
    return tmp_path


def store(folder, **more):
    """Write `result.npz` of two iterations."""
    start = np.full((8, 12), 2000.0)
    misfit = np.array([1.0, 0.7, 0.5])
    result = {
        "start": start,
        "velocity": start + 400.0,
        "gradient": np.linspace(-1, 2, 96).reshape(8, 12),
        "misfit": misfit,
        "true_misfit": misfit,
        "model_error": np.full(3, np.nan),
        "spacing": 10.0,
    }
    np.savez(folder / "result.npz", **(result | more))


def names(folder):
    return [drawn.name for drawn in inversion_figures(folder)]


def test_what_is_known_is_drawn(folder):
    """The data always; stages if there were several, wavelets if they changed, errors if the true model is known."""
    assert names(folder) == OF_DATA
    models = np.full((2, 8, 12), 2400.0)
    store(folder, true=np.full((8, 12), 2500.0), stage=np.array([0, 0, 1]), stage_models=models)
    with np.load(folder / "comparison.npz") as arrays:
        np.savez(folder / "comparison.npz", **arrays, wavelets=np.ones((2, 1, 30)), wavelet_dt=DT)
    assert names(folder) == ["stages", "model_errors", *OF_DATA, "wavelets"]
    (folder / "comparison.npz").unlink()
    assert names(folder) == []


def test_no_stages_are_one_stage(folder):
    with np.load(folder / "result.npz") as result:
        stage, models = stages_of(result)
        np.testing.assert_array_equal(models, result["velocity"][None])
    assert (stage == 0).all() and stage.shape == (3,)


def test_the_page_is_drawn_again_from_its_files(folder):
    first, _ = write_report(folder)
    page = first.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") == len(OF_DATA) and "one in" not in page and "Misfit l2 by shot" in page
    first.unlink()
    assert write_report(folder)[0].read_text(encoding="utf-8") == page
    with np.load(folder / "comparison.npz") as arrays:
        np.savez(folder / "comparison.npz", **{**arrays, "gather_steps": np.array([4, 1])})
    assert "Of the samples, one in 4 is drawn." in write_report(folder)[0].read_text(encoding="utf-8")


def test_delays_are_drawn_at_their_shots(folder):
    """Both models are too slow, the start more so: all its delays are negative, on the scale of the estimate's, too."""
    (figure,) = (drawn.figure for drawn in inversion_figures(folder) if drawn.name == "first_breaks")
    start, estimate = (axes.images[0] for axes in figure.axes[:2])
    shown = np.ma.filled(np.ma.masked_invalid(np.asarray(start.get_array())), np.nan)
    missing = np.isnan(shown)
    assert np.nanmax(shown) < 0 and start.get_clim() == estimate.get_clim() and sum(start.get_clim()) == 0
    # The shot at 0 m has no receiver beyond 369 m, the one at 300 m none before 320 m; images begin on top.
    assert missing[-1, 0] and not missing[-1, -1] and missing[0, -1] and not missing[0, 0]
    assert missing[:, 100].sum() > missing[:, 300].sum()  # the dead trace belongs to the shot at 0 m


def test_panels_do_not_overlap(folder, monkeypatch, tmp_path):
    """With their labels, as readers see them."""
    monkeypatch.setattr(drawing, "LAYOUT", "constrained")
    store(folder, true=np.full((8, 12), 2500.0))
    with np.load(folder / "result.npz") as result:
        figure = stored_figures(result)["models"]
    drawing.save(figure, tmp_path / "models.png")
    boxes = [box for axes in figure.axes if (box := axes.get_tightbbox()) is not None]
    assert len(boxes) == 9 and all(
        a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0 for a, b in combinations(boxes, 2)
    )
