"""The cards of inversions: set-ups, noise, taking turns, coming back after a kill, and comparing at equal error."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.signal import hilbert

from benchmarks import inversion_setups
from benchmarks.corrected import PROBLEMS
from benchmarks.inversion import NOISE
from benchmarks.inversion_contest import Runner, at_equal_error, budgets_of
from benchmarks.inversion_data import Case
from benchmarks.inversion_page import write_page
from benchmarks.inversion_replay import Replay
from benchmarks.inversion_setups import OVERTHRUST, SETUPS, Unavailable
from data_gen.solver.problem.discretization import lines


@pytest.fixture
def section(tmp_path, monkeypatch):
    """A file in the place of the Overthrust section, which is not part of the project."""
    path = tmp_path / "section.npy"
    np.save(path, np.tile(np.linspace(2500.0, 5900.0, 187, dtype=np.float32)[:, None], (1, 801)))
    monkeypatch.setenv(OVERTHRUST, str(path))


@pytest.mark.parametrize("make", [*(partial(make, 1) for make in SETUPS.values()), *PROBLEMS.values()])
def test_set_ups_are_consistent(make, section):
    setup, models = make()
    spacing, last = setup.grid.spacing, setup.grid.extent
    for points in (setup.sources, setup.held_out, setup.receivers):
        np.testing.assert_allclose(points / spacing, np.round(points / spacing), atol=1e-9)
        assert np.all(points >= 0) and np.all(points <= last)
        assert len(np.unique(points, axis=0)) == len(points)
    inverted, others = ({tuple(point) for point in points} for points in (setup.sources, setup.held_out))
    assert not inverted & others
    # Data are made with other cells and another order than any stage has.
    assert setup.fine.order != setup.simulation.order
    assert setup.fine.solved_spacing < min(stage.spacing for stage in setup.stages)
    for stage in setup.stages:
        lines(replace(setup.simulation, internal_spacing=stage.spacing))
    truth = next(iter(models.values()))()
    assert truth.shape == setup.grid.shape
    start = setup.start(truth)
    np.testing.assert_array_equal(start[: setup.fixed_rows], truth[: setup.fixed_rows])
    for model in (truth, start):
        assert setup.bounds[0] <= model[setup.fixed_rows :].min() and model.max() <= setup.bounds[1]
    json.dumps(setup.described())


def test_a_section_that_is_not_there_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv(OVERTHRUST, raising=False)
    with pytest.raises(Unavailable, match="WAVE_OVERTHRUST is not set"):
        SETUPS["overthrust"](1)
    monkeypatch.setenv(OVERTHRUST, str(tmp_path / "none.npy"))
    with pytest.raises(Unavailable, match="is no file"):
        SETUPS["overthrust"](1)


def test_resampled_cells_lie_within_those_of_the_section(section):
    """A velocity that is linear in depth stays so: the half-size cells have their centers a quarter beside."""
    _, models = SETUPS["overthrust_left"](1)
    fine, coarse = models["overthrust_left"](), np.linspace(2500.0, 5900.0, 187)
    pairs = 1 / (0.5 * (1 / fine[::2, 0] + 1 / fine[1::2, 0]))
    # Slowness is interpolated linearly: off by a curvature of (step / velocity)^2 / 8, 1e-5 here.
    np.testing.assert_allclose(pairs[1:-1], coarse[1:-1], rtol=1e-4)


def test_noise_is_as_loud_as_said_and_the_same_again():
    setup, models = SETUPS["openfwi_like"](1)
    gathers = np.random.default_rng(0).standard_normal((5, 1200, 72)).astype(np.float32)
    model = next(iter(models.values()))()
    case = Case(setup, "flat_vel_a-0", model, model, gathers, gathers, (model, model))
    noisy, wavelet = case.recorded(NOISE["10dB"])
    assert np.sum(gathers**2) / np.sum((noisy - gathers) ** 2) == pytest.approx(10.0, rel=1e-4)
    np.testing.assert_array_equal(case.recorded(NOISE["10dB"])[0], noisy)
    assert case.recorded(NOISE["clean"])[0] is gathers
    field, other = case.recorded(NOISE["field"])
    live = np.any(field, axis=1)
    assert np.count_nonzero(live) == 324  # a tenth of 5 x 72 traces is dead
    np.testing.assert_array_equal(field, np.where(live[:, None], noisy, 0))
    # A turn keeps energies, but for what comes before the first sample.
    assert np.sum(other**2) == pytest.approx(np.sum(wavelet**2), rel=1e-3)
    before, after = (np.asarray(hilbert(x)) for x in (wavelet, other))
    phase = np.angle(np.sum(before.conj() * after), deg=True)
    assert phase == pytest.approx(30.0, abs=0.1)


def test_evaluations_are_kept_and_others_are_not_mistaken_for_them(tmp_path):
    asked = []

    def function(model: np.ndarray) -> tuple[float, np.ndarray]:
        asked.append(model)
        return float(np.sum(model**2)), 2 * model / 3

    path = [np.arange(3.0), np.ones(3), np.full(3, 2.0)]
    first = [evaluate(model) for evaluate in [Replay(tmp_path).of("stage-0", function)] for model in path[:2]]
    again = Replay(tmp_path).of("stage-0", function)
    for model, (value, gradient) in zip(path, first, strict=False):
        kept = again(model)
        assert kept[0] == value
        np.testing.assert_array_equal(kept[1], gradient)
    assert len(asked) == 2
    again(path[2])
    assert len(asked) == 3
    # Another path is computed anew.
    assert Replay(tmp_path).of("stage-0", function)(path[1])[0] == 3.0
    assert len(asked) == 4


def test_a_history_with_a_line_cut_off_by_a_kill_is_read(tmp_path):
    runner = Runner("ours", {}, tmp_path)
    lines_file = runner.folder / "progress.jsonl"
    entry = {"entry": 0, "stage": 0, "error": 0.1, "used": 3, "seconds": 2.0}
    lines_file.write_text(json.dumps(entry) + "\n" + '{"entry": 1, "sta')
    found = Runner("ours", {}, tmp_path)
    assert found.history == [entry] and found.seconds == 2.0 and found.restarts == 1
    assert Runner("ours", {"other": 1}, tmp_path).history == []


def test_a_contender_that_was_stopped_goes_on_with_a_larger_limit(tmp_path):
    folder = Runner("ours", {}, tmp_path).folder
    entry = {"entry": 0, "stage": 0, "error": 0.1, "used": 3, "seconds": 2.0}
    ends = {"done": True, "stopped": True, "seconds": 2.5}

    def again(limit: float, *lines: dict) -> Runner:
        (folder / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return Runner("ours", {}, tmp_path, limit)

    assert again(2.0, entry, ends).finished == ends
    larger = again(9.0, entry, ends)
    assert larger.finished is None and larger.seconds == 2.0 and larger.restarts == 1
    assert again(9.0, entry, ends | {"stopped": False}).finished
    assert again(9.0, entry, ends, {"restart": True}, entry | {"entry": 1, "seconds": 4.0}).seconds == 4.0


def test_budgets_are_what_each_stage_used(tmp_path):
    runner = Runner("ours", {}, tmp_path)
    used = [(0, 9), (0, 18), (1, 24), (1, 36)]
    runner.history = [{"stage": stage, "used": n, "entry": i} for i, (stage, n) in enumerate(used)]
    runner.finished = {"simulations": [3, 13, 0]}  # a last line search that found nothing is counted, too
    assert budgets_of(runner) == [18, 24]


def test_contenders_are_compared_at_the_error_that_both_reach():
    ours = [{"error": e, "seconds": s, "used": u} for e, s, u in ((0.2, 1, 3), (0.1, 2, 6), (0.05, 3, 9))]
    other = [{"error": e, "seconds": s, "used": u} for e, s, u in ((0.2, 2, 3), (0.12, 8, 30), (0.1, 12, 60))]
    assert at_equal_error(ours, other) == {"error": 0.1, "seconds": [2, 12], "used": [6, 60]}


def test_the_page_has_every_card(tmp_path):
    setup, _ = SETUPS["openfwi_like"](1)
    measures = {"error": 0.1, "masked": 0.1, "mae": 50.0, "ssim": 0.9, "bands": {"k l < 1/4": 0.1}, "held_out": 0.2}
    row = {"case": "a", "noise": "clean", "contender": "ours", "seconds": 9.0, "stopped": False}
    row |= {"peak_bytes": 10**9}
    row |= {"simulations": {"weighted": 300}, "history": {"seconds": [1, 9], "used": [3, 300], "error": [0.2, 0.1]}}
    card = {
        "setup": setup.described(),
        "machine": {"cores_used": 2, "processor": "any"},
        "quick": False,
        "starts": [{"case": "a", "masked_cells": 0.8} | measures],
        "rows": [row | measures, row | measures | {"noise": "field", "error": 0.12, "stopped": True}],
        "diagnosis": [{"case": "a", "noise": "field", "findings": ["noise", "dead traces"]}],
        "equal": [{"noise": "clean", "contender": "deepwave", "error": 0.1, "seconds": [1, 5], "used": [3, 6]}],
        "not_measured": [{"case": "a", "noise": "clean", "contender": "adam", "why": "it was not asked for"}],
    }
    (tmp_path / "inversion-openfwi_like-cpu.json").write_text(json.dumps(card))
    page = write_page(tmp_path, tmp_path).read_text()
    assert "## openfwi_like" in page and "| ours, L-BFGS | clean | 9 | 300 | 1.00 GB |" in page
    assert "| Deepwave, SciPy's L-BFGS-B | clean | 0.1 | 5.00 | 2.00 |" in page and "it was not asked for" in page
    for told in (
        "Diagnosis of field: noise (1 of 1), dead traces (1 of 1).",
        "ours, L-BFGS, error of field over clean: 1.20.",
        "ours, L-BFGS, field: 1 of 1 stopped after 9 s.",
    ):
        assert told in page
    assert (tmp_path / "_static" / "inversion-openfwi_like.png").exists()


def test_families_of_the_set_ups_exist():
    for families in (inversion_setups.TRANSMISSION_FAMILIES, inversion_setups.OPENFWI_FAMILIES):
        assert len(set(families)) == len(families)
