"""Files of other programs: imported under OpenFWI's names, trained on and evaluated, with what is known of the survey.

The files hold gathers of this project's solver, so the right answers are known.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from data_gen.commands import manage
from data_gen.common.errors import InputError
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from data_gen.dataset.imported_survey import ImportedSurvey
from data_gen.dataset.importing import import_files
from data_gen.dataset.manifest import config_of, fingerprint, read_manifest
from surrogate.commands import evaluate, train
from surrogate.config import TrainConfig
from surrogate.encodings.registry import make_encoding
from surrogate.encodings.schemas import CoarseConfig, SourceMapConfig
from surrogate.operators.fno import FNOConfig
from surrogate.runs.export import ExportConfig, write_export
from surrogate.runs.load import load_surrogate
from surrogate.runs.other_data import read_other
from surrogate.tasks.gather import GatherConfig
from surrogate.tasks.inverse import InverseConfig
from tests.helpers import encoding_config, relative, task_config, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")

SPLITS = ["--validation", "1", "--test", "2"]
STEPS = ["--spacing", "10", "--dt", "0.001"]
PLACES = ["--sources", "20", "--receivers", "20"]
SETTINGS: dict[str, Any] = {
    "train": 7,
    "validation": 1,
    "test": 1,
    "sources": 2,
    "placement": "line",
    "source_depths": [20.0, 20.0],
    "receiver_every": 1,
    "records": ["gathers"],
    "gather_every": 1,
    "order": 8,
    "absorbing_width": 20,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Files under the names of OpenFWI's Vel families, and under those of its Fault and Style families."""
    folder = tmp_path_factory.mktemp("files")
    made = tiny_config(folder / "made", **SETTINGS)
    dataset.generate(made)
    records = list(dataset.data_source(made.path, "train"))
    velocity, gathers = (np.stack([record[name] for record in records]) for name in ("velocity", "gathers"))
    names = {
        "FlatVel_A/model/model1": "FlatVel_A/data/data1",
        "FlatVel_A/model/model2": "FlatVel_A/data/data2",
        "CurveFault_A/vel2_1_0": "CurveFault_A/seis2_1_0",
        "CurveFault_A/vel2_1_10": "CurveFault_A/seis2_1_10",
    }
    for (model, data), rows in zip(names.items(), ([0, 1], [2, 3], [4, 5], [6]), strict=True):
        for name, values in ((model, velocity[rows][:, None]), (data, gathers[rows])):
            file = folder / "source" / f"{name}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, values)
    return folder / "source"


@pytest.fixture(scope="module")
def imported(files) -> DataConfig:
    """The files with all that is known of their survey, by the command."""
    return import_to(files, files.parent / "set", *STEPS, *SPLITS, *PLACES, "--peak-frequency", "15")


def import_to(files: Path, path: Path, *arguments: str) -> DataConfig:
    manage.main(["import", str(files), "--to", str(path), *arguments])
    return config_of(read_manifest(path), path)


def test_the_solver_makes_what_the_files_hold(imported):
    """From the manifest alone: the grid, the time axis, the survey and the wavelet are those of the files.

    The layers are tuned to the largest velocity of the files, in place of that of the families: within 2 %.
    """
    assert fingerprint(imported) == read_manifest(imported.path)["fingerprint"]
    spec = imported.create()
    task = GatherConfig().create(spec)
    record = dataset.data_source(imported.path, "train")[0]
    example = task.read(record, 1)
    batch = {name: values[None] for name, values in example.items()}
    methods = task.methods()
    assert relative(methods["solver"](batch)[0], example["gathers"]) < 0.02
    # 2.7 points of the coarse grid to the shortest wave.
    coarse = make_encoding(CoarseConfig(), task)
    baseline = jax.jit(lambda v, s: coarse(v, s).baseline)(example["velocity"], example["source"])
    assert relative(baseline, example["gathers"]) < 0.6
    np.testing.assert_allclose(example["source"], [20.0, 190.0])
    assert set(methods) == {"coarse_solver", "solver"} and task.examples == 2


def run(monkeypatch, command, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["wave", *arguments])
    command.main()


@pytest.mark.parametrize(
    ("task", "encoding"), [pytest.param("gather", "source_map", marks=pytest.mark.slow), ("inverse", "log")]
)
def test_trained_and_evaluated(files, imported, tmp_path, monkeypatch, task, encoding):
    """By the commands, which take everything of the data from the manifest; loaded, and exported, without the data.

    The wavelet of the gathers that are predicted is unknown.
    """
    folder, data = str(tmp_path / "run"), tmp_path / "set"
    if task == "gather":
        import_to(files, data, *STEPS, *SPLITS, *PLACES)
    else:
        shutil.copytree(imported.path, data)
    small = ["model.width=4", "model.depth=1", "model.modes=[4,4]", "training.steps=2", "training.batch_size=4"]
    quick = ["training.warmup_steps=0", "training.validate_every=2", "tracking.mode=disabled"]
    run(
        monkeypatch, train, f"data.path={data}", f"task={task}", f"encoding={encoding}", f"run={folder}", *small, *quick
    )
    run(monkeypatch, evaluate, f"run={folder}", "repeats=1", "speedup_samples=0")
    metrics = json.loads((Path(folder) / "metrics.json").read_text())
    assert metrics["test_samples"] == (4 if task == "gather" else 2) and "per_family" not in metrics
    assert metrics["relative_l2"]["mean"] > 0 and ("data_misfit" in metrics) == (task == "inverse")
    shutil.rmtree(data)
    assert load_surrogate(folder).task.spec.imported
    if task == "gather":
        return
    out, content = write_export(ExportConfig(run=folder, out=str(tmp_path / "out.stablehlo")))
    assert out.is_file() and content["dataset"]["fingerprint"] == fingerprint(imported)


def test_files_alone(files, imported, tmp_path, monkeypatch):
    """Without a survey models are predicted from gathers; with positions gathers, too, by the encoding that works."""
    alone = import_to(files, tmp_path / "alone", *STEPS, *SPLITS).create()
    inverse = InverseConfig().create(alone)
    assert make_encoding(encoding_config("log"), inverse).channels and inverse.methods()
    assert "receivers" not in inverse.signature()["gathers"]
    with pytest.raises(InputError, match="with --sources and --receivers; task=inverse needs neither"):
        GatherConfig().create(alone)
    placed = import_to(files, tmp_path / "placed", *STEPS, *SPLITS, *PLACES).create()
    gather = GatherConfig().create(placed)
    assert make_encoding(SourceMapConfig(), gather) and not gather.methods()
    for name in ("coarse", "background"):
        with pytest.raises(InputError, match=f"encoding={name} computes a shot from its wavelet.*encoding=source_map"):
            make_encoding(encoding_config(name), gather)
    # The spectrum of the gathers peaks near that of the wavelet.
    assert 8 < placed.simulation.peak_frequency < 22
    for name, message in (
        ("wavefield", "imported data hold gathers only.*choose task=gather or task=inverse"),
        ("propagator", "imported data hold gathers only"),
        ("harmonic", "imported data hold gathers only"),
    ):
        with pytest.raises(InputError, match=message):
            task_config(name).create(placed)


def test_another_import_of_the_same_survey(files, imported, tmp_path):
    """It is other data for a run on the first; of another survey it is not."""
    trained = TrainConfig(data=imported, task=GatherConfig(), model=FNOConfig(modes=[4, 4]))
    part = tmp_path / "part"
    shutil.copytree(files / "CurveFault_A", part)
    known = [*STEPS, "--peak-frequency", "15", "--test", "1", "--validation", "1"]
    other = import_to(part, tmp_path / "other", *known, *PLACES)
    assert read_other(other.path, trained).test == 1
    deeper = import_to(part, tmp_path / "deeper", *known, "--sources", "20", "--receivers", "30")
    with pytest.raises(InputError, match=r"another simulation than the run \(recorded"):
        read_other(deeper.path, trained)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*PLACES], "give --spacing and --dt, too"),
        ([*STEPS, "--sources", "2000"], "A source lies outside the grid"),
        ([*STEPS, "--sources", "0", "--free-surface"], "A source lies on the free surface"),
        ([*STEPS, "--peak-frequency", "600"], "between 0 and 500 Hz"),
        ([*STEPS, "--amplitude", "2"], "give --peak-frequency, too"),
        ([*STEPS, "--receivers", "nowhere.txt"], "nowhere"),
    ],
)
def test_surveys_that_do_not_fit(files, tmp_path, arguments, message):
    """They are refused before anything is written."""
    with pytest.raises(SystemExit, match=message):
        import_to(files, tmp_path / "set", *arguments)
    assert not list(tmp_path.iterdir())


def test_what_imported_data_cannot_do(files, imported, tmp_path):
    """Each is refused for its own reason: no rebuilding, no drawing, no missing split or scale."""
    with pytest.raises(SystemExit, match="cannot be made again from a config"):
        manage.main(["rebuild", imported.path, "--sample", "0"])
    with pytest.raises(InputError, match="import the files again, or choose families"):
        dataset.generate(imported)
    with pytest.raises(InputError, match=r"no families of models to draw from: set data\.source=disk"):
        replace(imported, source="online").create()
    spec = imported.create()
    with pytest.raises(InputError, match=r"no others can be drawn.*real\.path=FILE"):
        spec.draw(spec.key(0, 0))
    with pytest.raises(InputError, match=r"without the size of the cells.*with --spacing and --dt"):
        import_to(files, tmp_path / "unscaled", *SPLITS)


def test_positions_and_wavelets_of_files(files, tmp_path):
    """Positions and a wavelet from files; the delay of the records shifts the wavelet on their time axis."""
    points = np.array([[20.0, 35.0], [20.0, 150.0]])
    np.savetxt(tmp_path / "sources.txt", points)
    pulse = np.hanning(21)
    np.save(tmp_path / "wavelet.npy", pulse)
    survey = ImportedSurvey(
        sources=str(tmp_path / "sources.txt"), receivers=20.0, wavelet=tmp_path / "wavelet.npy", delay=-0.01
    )
    import_files(files, tmp_path / "set", spacing=10.0, dt=1e-3, validation=1, test=1, survey=survey)
    spec = config_of(read_manifest(tmp_path / "set"), tmp_path / "set").create()
    np.testing.assert_array_equal(spec.sources, points)
    np.testing.assert_allclose(spec.wavelet, np.pad(pulse, (10, 90)), atol=1e-12)
    assert spec.peak_time == pytest.approx(0.020)
