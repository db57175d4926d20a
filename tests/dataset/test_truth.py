"""The solver of a data set: those of old sets stay what they were, and new ones state the error of their records."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from data_gen.commands.manage import main
from data_gen.common.errors import InputError
from data_gen.common.files import read_json, write_json
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import EARLIER_SOLVER
from data_gen.dataset.truth import TRUTH, measure_truth, truth_in_words
from data_gen.dataset.verification import rebuild
from data_gen.solver.reference import converged
from data_gen.solver.simulator import simulate
from surrogate.config import TrainConfig
from surrogate.runs.folder import from_plain, read_run
from tests.helpers import ROOT, relative, tiny_config

# Of `wave generate data=tiny` before the solver's correction and medium could be chosen.
EARLIER_FINGERPRINT = "c6d3fcd331955e52"
SMALL = {"train": 1, "validation": 1, "test": 2, "nz": 20, "nx": 20, "nt": 121, "source_depths": [20, 100]}


@pytest.fixture(scope="module")
def stated(tmp_path_factory):
    config = tiny_config(tmp_path_factory.mktemp("truth") / "set", **SMALL, precision="float16", truth_samples=1)
    return config, dataset.generate(config)


def test_the_manifest_states_the_error_of_the_records(stated):
    """It is the error of the model's records beyond 4.5 cells of the source, but for float16's rounding, 2^-11."""
    config, manifest = stated
    spec, error = config.create(), manifest[TRUTH]
    drawn = spec.draw(spec.key(2, 0))
    survey = spec.survey(drawn.sources, drawn.wavelet)
    records, reference = (simulate(drawn.velocity, survey, s) for s in (spec.simulation, converged(spec.simulation)))
    far = np.hypot(*np.moveaxis(10.0 * np.indices((20, 20)).T - drawn.sources[0], -1, 0)).T >= 45
    heard = np.hypot(*(survey.receivers - drawn.sources[0]).T) >= 45
    expected = {
        "snapshots": relative(records.snapshots * far, reference.snapshots * far),
        "gathers": relative(records.gathers * heard, reference.gathers * heard),
    }
    assert error["samples"] == 1 and error["shots"] == 1 and error["relative_l2"].keys() == expected.keys()
    assert error["reference"]["order"] == 12 and error["reference"]["internal_spacing"] == pytest.approx(10 / 3)
    for kind, found in error["relative_l2"].items():
        assert found["median"] == found["worst"] == pytest.approx(expected[kind], abs=2**-11)
    assert "% (worst" in truth_in_words(manifest)


def test_the_error_is_no_part_of_the_identity(stated, capsys):
    """Nor are the samples that it is taken of; `wave truth` measures the same from the records alone."""
    config, manifest = stated
    assert "truth_samples" not in manifest["recipe"]
    assert manifest["fingerprint"] == dataset.fingerprint(dataset.config_of(manifest, config.path))
    main(["truth", config.path])
    assert "states the same" in capsys.readouterr().out
    before = read_json(f"{config.path}/manifest.json")
    dataset.generate(config)  # nothing is measured anew
    assert read_json(f"{config.path}/manifest.json") == before
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
    assert dataset.fingerprint(tiny_config("data/tiny", **EARLIER_SOLVER)) == EARLIER_FINGERPRINT
    assert dataset.fingerprint(tiny_config("data/tiny")) != EARLIER_FINGERPRINT


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
