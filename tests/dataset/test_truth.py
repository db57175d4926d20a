"""The solver of a data set: those of old sets stay what they were, and new ones state the error of their records."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from data_gen.commands.manage import main
from data_gen.common.errors import InputError
from data_gen.common.files import read_json, write_json
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import EARLIER_SOLVER
from data_gen.dataset.recording import decode
from data_gen.dataset.truth import TRUTH, measure_truth, truth_in_words
from data_gen.dataset.verification import rebuild
from data_gen.solver.reference import converged
from data_gen.solver.simulator import simulate
from surrogate.config import TrainConfig
from surrogate.runs.folder import from_plain, read_run
from tests.helpers import ROOT, relative, tiny_config

# Of `wave generate data=tiny data.order=4` before the solver's correction and medium could be chosen.
EARLIER_FINGERPRINT = "c6d3fcd331955e52"
SMALL = {"train": 1, "validation": 1, "test": 2, "nz": 20, "nx": 20, "nt": 121, "source_depths": [20, 100]}


@pytest.fixture(scope="module")
def stated(tmp_path_factory):
    config = tiny_config(tmp_path_factory.mktemp("truth") / "set", **SMALL, precision="float16", truth_samples=1)
    return config, dataset.generate(config)


def test_the_manifest_states_the_error_of_the_records(stated):
    """It is that of the stored records beyond 4.5 cells of the source, to three digits."""
    config, manifest = stated
    spec, error, record = config.create(), manifest[TRUTH], dataset.data_source(config.path, "test")[0]
    source, survey = record["sources"][0], spec.survey(record["sources"], record["wavelet"])
    reference = simulate(record["velocity"], survey, converged(spec.simulation))
    far = np.hypot(*(10.0 * np.indices((20, 20)) - source[:, None, None])) >= 45
    heard = np.hypot(*(survey.receivers - source).T) >= 45
    expected = {
        "snapshots": relative(decode(record, "snapshots") * far, reference.snapshots * far),
        "gathers": relative(decode(record, "gathers") * heard, reference.gathers[:, ::4] * heard),
    }
    assert error["samples"] == 1 and error["shots"] == 1 and error["relative_l2"].keys() == expected.keys()
    assert error["reference"]["order"] == 12 and error["reference"]["internal_spacing"] == pytest.approx(10 / 3)
    for kind, found in error["relative_l2"].items():
        assert found["median"] == found["worst"] == pytest.approx(expected[kind], rel=6e-3)
    assert "% (worst" in truth_in_words(manifest)


def test_the_error_is_no_part_of_the_identity(stated, capsys):
    """Nor are the samples that it is taken of; `wave truth` measures the same from the records alone."""
    config, manifest = stated
    assert "truth_samples" not in manifest["recipe"]
    assert manifest["fingerprint"] == dataset.fingerprint(dataset.config_of(manifest, config.path))
    main(["truth", config.path])
    assert "states the same" in capsys.readouterr().out
    before = read_json(Path(config.path) / "manifest.json")
    dataset.generate(config)  # nothing is measured anew
    assert read_json(Path(config.path) / "manifest.json") == before
    main(["describe", config.path])
    assert "against the wave equation: gathers" in " ".join(capsys.readouterr().out.split())


def test_a_data_set_without_a_key_has_the_solver_of_its_time(tmp_path):
    """A manifest before the choice, and one made now with the earlier solver, are the same: fingerprint and records."""
    config = tiny_config(tmp_path / "set", **SMALL, **EARLIER_SOLVER, truth_samples=0)
    manifest = dataset.generate(config)
    assert not manifest["recipe"].keys() & EARLIER_SOLVER.keys() and TRUTH not in manifest
    assert "not stated" in truth_in_words(manifest)
    read = dataset.config_of(manifest, config.path)
    simulation = read.create().simulation
    assert not simulation.time_correction and simulation.medium == "samples" and simulation.steps == 121
    assert dataset.fingerprint(read) == manifest["fingerprint"]
    assert not any(rebuild(config.path, "test", 1)[0].values())


def test_fingerprints_of_earlier_data_sets_are_kept():
    """The literal was computed by the last version without the choice."""
    assert dataset.fingerprint(tiny_config("data/tiny", order=4, **EARLIER_SOLVER)) == EARLIER_FINGERPRINT
    assert dataset.fingerprint(tiny_config("data/tiny", order=4)) != EARLIER_FINGERPRINT


def test_a_run_without_a_key_has_the_solver_of_its_time():
    """Its stored config is read with the earlier solver, and one with the keys as it is."""
    earlier = json.loads(json.dumps(asdict(TrainConfig(data=tiny_config("data/tiny", **EARLIER_SOLVER)))))
    now = json.loads(json.dumps(asdict(TrainConfig(data=tiny_config("data/tiny")))))
    assert from_plain(now, TrainConfig, "config.json").data == tiny_config("data/tiny")
    for key in (*EARLIER_SOLVER, "max_velocity", "truth_samples"):
        del earlier["data"][key]
    assert from_plain(earlier, TrainConfig, "config.json").data == tiny_config("data/tiny", **EARLIER_SOLVER)
    assert not read_run(ROOT / "tests/checkpoints/v1").data.time_correction


def test_no_error_where_there_is_none(tmp_path):
    """Records of files have no model of the waves."""
    write_json(tmp_path / "manifest.json", {})
    with pytest.raises(InputError, match="came from files"):
        measure_truth(tmp_path, {"source": "imported"}, 1)


def test_faster_files_than_families():
    """`max_velocity` makes room for them in the time step."""
    drawn, faster = (tiny_config("data/tiny", max_velocity=v).create().simulation for v in (None, 6000.0))
    assert faster.max_velocity == 6000 and drawn.max_velocity == 4500
    assert faster.step_length < drawn.step_length
    with pytest.raises(InputError, match="at least the 4500 m/s"):
        tiny_config("data/tiny", max_velocity=4000.0).create()


@pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")
def test_accuracy_chooses_the_settings(tmp_path):
    """The manifest has what was chosen instead of the request, and remakes the same; a stricter request costs more."""
    loose, strict = (tiny_config(tmp_path / "set", accuracy=accuracy).settled() for accuracy in (0.03, 0.003))
    assert loose.accuracy is None and loose.create() == tiny_config("x", accuracy=0.03).create()
    assert strict.create().simulation.solved_spacing < loose.create().simulation.solved_spacing
    assert tiny_config("x", accuracy=0.03).identity() == loose.identity()
    manifest = {"source": "generated", "layout": {}, "recipe": loose.identity()}
    assert dataset.config_of(manifest, "x").create() == loose.create()
    with pytest.raises(InputError, match=r"data\.time_correction is false"):
        tiny_config("x", accuracy=0.03, time_correction=False).settled()
