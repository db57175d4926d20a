"""Reports: runs that are not evaluated, the winner of a sweep, times of one condition each, errors of examples."""

import io
import json
import math
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from data_gen.common.errors import InputError
from surrogate import figures
from surrogate.commands.sweep import Winner
from surrogate.figures import drawing, fields
from surrogate.report.page import write_report
from surrogate.report.tables import _speedup_in_words, report_tables
from surrogate.report.trainings import read_trainings
from surrogate.runs.error_tables import ExampleErrors, best_median_worst, error_tables, write_examples

STORED = Path(__file__).parents[2] / "docs" / "results" / "demo" / "coarse.json"


def make_run(folder: Path, validations: dict[int, float], **settings) -> Path:
    """Write the files of a training of 20 steps."""
    folder.mkdir(parents=True)
    config = {"run": str(folder), "model": {"name": "fno", "width": 8}, "encoding": {"name": "coarse"}}
    config |= {"task": {"name": "wavefield"}, "training": {"steps": 20} | settings, "tracking": {"mode": "offline"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    rows: list[dict] = [
        {"step": s, "loss": 1 / s, "learning_rate": 1e-3, "samples_per_s": 9.0} for s in (5, 10, 15, 20)
    ]
    rows += [{"step": step, "validation": error} for step, error in validations.items()]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text + '{"step": 20, "lo', encoding="utf-8")  # half a row, from a power cut
    return folder


def test_a_run_that_is_not_evaluated_has_its_curves_and_the_next_command(tmp_path):
    run = make_run(tmp_path / "my runs" / "a", {10: 0.5, 20: 0.25})
    report, (table,) = write_report(run)
    page = report.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") == 1 and "best validation 0.2500 at step 20" in page
    assert f"wave evaluate &#39;run={run}&#39;" in page  # quoted for the shell, and then for HTML
    assert table["rows"] == [[str(run), "0.2500", "20", "20/20"]]


@pytest.mark.parametrize(("name", "state"), [("nope", "does not exist"), ("empty", "holds neither")])
def test_a_report_of_nothing_is_refused(tmp_path, name, state):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=state):
        write_report(tmp_path / name)
    assert list(tmp_path.rglob("*")) == [tmp_path / "empty"]


def test_a_sweep_names_its_winner(tmp_path, capsys, monkeypatch):
    """The smallest finite validation wins; settings are named where runs differ, places and tracking are not."""
    monkeypatch.delenv("COLUMNS", raising=False)  # names are whole unless a width is given
    made = {"0": (0.5, 1e-3), "1": (0.25, 2e-3), "2": (math.nan, 1.0)}
    for name, (error, rate) in made.items():
        make_run(tmp_path / "sweep" / name, {20: error}, learning_rate=rate)
    make_run(tmp_path / "sweep" / "3", {}, learning_rate=2.0)
    _, (table,) = write_report(tmp_path / "sweep")
    names = [
        f"{name} training.learning_rate={rate}" for name, rate in (("1", 0.002), ("0", 0.001), ("2", 1.0), ("3", 2.0))
    ]
    assert [row[0] for row in table["rows"]] == names
    assert [row[1] for row in table["rows"]] == ["0.2500", "0.5000", "none", "none"]
    best = tmp_path / "sweep" / "1"
    assert f"The best is {best}: 20 of 20 steps; best validation 0.2500 at step 20." == table["note"]

    sweep = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "sweep")}}})
    Winner().on_multirun_end(sweep)  # of runs that other processes made
    printed = capsys.readouterr().out
    assert f"{best} training.learning_rate=0.002" in printed and printed.endswith(f"Next: wave evaluate run={best}\n")
    winner = Winner()  # of runs that this process made, wherever they are
    for name in "02":
        run = OmegaConf.create({"run": str(tmp_path / "sweep" / name)})
        winner.on_job_end(run, SimpleNamespace())
    winner.on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "other")}}}))
    assert capsys.readouterr().out.endswith(f"Next: wave evaluate run={tmp_path / 'sweep' / '0'}\n")
    assert len(read_trainings(tmp_path / "sweep")) == 4


def test_times_of_different_conditions_have_tables_of_their_own():
    """A device, a version and a batch size are named with the times, and two of them share no table."""
    first = json.loads(STORED.read_text(encoding="utf-8"))
    other = first | {"environment": first["environment"] | {"device": "GPU x 1"}}
    small = first | {"seconds_per_sample": first["seconds_per_sample"] | {"batch_size": 1}}

    def costs(*results):
        tables = report_tables([(Path(f"run{i}"), result) for i, result in enumerate(results)], [])
        return [table for table in tables if "cost" in table["title"]]

    (alone,) = costs(first, first)
    assert first["environment"]["device"] in alone["note"] and "jax 0." in alone["note"]
    assert [row[0] for row in alone["rows"] if "alone" in row[0]] == [
        f"coarse solver alone (with run{i})" for i in range(2)
    ]
    for tables in (costs(first, other), costs(first, small)):
        assert len(tables) == 2 and len({table["title"] for table in tables}) == 2
        assert all(len(table["rows"]) == 2 for table in tables)


def test_errors_of_every_example(tmp_path):
    """One row for each example; the best, middle and worst are found, and an error that is not finite is the worst."""
    relative = np.array([0.3, 0.1, 0.2, 0.5], np.float32)
    errors = {
        "relative_l2": relative,
        "bands": {"low": relative / 2},
        "per_snapshot": np.stack([relative, relative], 1),
    }
    examples = ExampleErrors({"surrogate": errors}, {"family": ["salt", "layered", "salt", "a,b"]})
    write_examples(tmp_path / "errors.csv", examples, per_sample=2)
    lines = (tmp_path / "errors.csv").read_text(encoding="utf-8").splitlines()
    names = ("relative_l2", "bands.low", "per_snapshot.0", "per_snapshot.1")
    assert lines[0] == ",".join(["sample", "example", "family", *(f"surrogate.{name}" for name in names)])
    assert lines[2] == "0,1,layered,0.1,0.05,0.1,0.1" and lines[4] == '1,1,"a,b",0.5,0.25,0.5,0.5'
    assert error_tables(examples)["surrogate"]["per_family"]["salt"]["relative_l2"] == pytest.approx(0.25)
    assert best_median_worst(relative) == {"best": 1, "median": 0, "worst": 3}
    assert best_median_worst(np.array([np.nan, 0.2, 0.1])) == {"best": 2, "median": 1, "worst": 0}
    assert best_median_worst(relative[:2]) == {"best": 1, "worst": 0}
    assert best_median_worst(relative[:1]) == {"best": 0}


def test_the_panels_of_a_figure_do_not_overlap(monkeypatch, tmp_path):
    """With their labels, as readers see them; other tests draw figures without arranging them."""
    monkeypatch.setattr(drawing, "LAYOUT", "constrained")
    field = np.arange(12.0).reshape(1, 3, 4)
    figure = figures.snapshots(field, {"coarse_solver": field / 2}, ["100 ms"], 10.0)
    assert figures.save(figure, tmp_path / "figure.png").stat().st_size > 0
    boxes = [box for axes in figure.axes if (box := axes.get_tightbbox()) is not None]
    assert len(boxes) > 2 and all(
        a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0 for a, b in combinations(boxes, 2)
    )


def test_a_file_holds_the_numbers_of_its_lines(tmp_path):
    """A figure's file gives back the points of each line, thinned evenly; marks and pictures have none."""
    x = np.arange(1.0, 131.0)
    figure = figures.curves({"ours": (x, x**2), "short": (x[:3], x[:3])}, "step", "loss", marks=[7.0])
    ours, short = figures.read_series(figures.save(figure, tmp_path / "figure.png").read_bytes())
    assert (ours["name"], ours["x"], ours["y"], ours["of"]) == ("ours", "step", "loss", 130)
    points = np.array(ours["points"])
    assert len(points) == drawing.POINTS and points[0, 0] == 1 and points[-1, 0] == 130
    np.testing.assert_allclose(points[:, 1], points[:, 0] ** 2, rtol=1e-5)  # six digits
    assert short["points"] == [[1, 1], [2, 2], [3, 3]]
    field = np.arange(12.0).reshape(3, 4)
    assert figures.read_series(figures.to_png(figures.models({"a": field}, 10.0))) == []
    assert figures.read_series(b"no picture") == []


def test_a_movie_has_a_frame_for_each_time():
    """Frames differ, have one size, and are no more than FRAMES however many times there are."""
    times = np.arange(30) / 100
    target = np.sin(times)[:, None, None] * np.arange(12.0).reshape(3, 4)
    frames = figures.movie(np.full((3, 4), 2000.0), target, {"coarse": 0.5 * target}, list(times), 10.0)
    assert len(frames) == fields.FRAMES == len(set(frames))
    sizes = set()
    for frame in frames:
        with Image.open(io.BytesIO(frame)) as image:
            sizes.add(image.size)
    assert len(sizes) == 1


def test_inversions_that_a_cheap_model_leads():
    """A model that never had the misfit needs more than any that had it; the table says how many had it."""
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    led = {"gradients": [4.0, None, 6.0], "cheap": [40.0, 60.0, 50.0], "model_error": [0.9, 1.2, 1.0]}
    never = led | {"gradients": [None, None, None]}
    stored["inversion"] = {"samples": 3, "lbfgs": [20.0, 30.0, 24.0], "surrogate": led, "coarse_solver": never}
    tables = report_tables([(Path("runs/a"), stored)], [])
    (table,) = [table for table in tables if table["title"].startswith("Inversions that a cheap model leads")]
    ours, coarse = (row[1:] for row in table["rows"])
    assert ours == ["6", "24", "4.0 x", "50", "1.00", "2 of 3"]  # of 4, 6 and more; of 20 / 4, 24 / 6 and less
    assert coarse == ["-", "24", "-", "50", "1.00", "0 of 3"]


def test_words_about_S_say_what_no_operator_could_do():
    """Where a surrogate does not pay, and the reason is what it is fed with: 2 ms of the solver's 3 at that error."""
    found = {"S": 0.5, "error": 0.02, "seconds": 6e-3, "solver_seconds": 3e-3, "settings": [{"error": 0.01}]}
    found |= {"encoding_seconds": 2e-3, "S_of_no_operator": 1.5}
    part = {"predictions": found, "cost": {"simulations": 100.0, "break_even": None}}
    words = _speedup_in_words("FNO", part)
    assert words == (
        "FNO, predictions: it does not pay. The solver takes 0.5 of its time for the same error. Its encoding alone "
        "takes 2.0 ms: an operator that took no time would have S = 1.5 at this error."
    )
    paying = found | {"S": 1.2}
    assert "encoding" not in _speedup_in_words("FNO", part | {"predictions": paying})
