"""A wrong command line or call is answered by one clear paragraph, before anything is compiled or written.

Each row is a mistake that is easy to make, with the part of the answer that tells what to do.
"""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from data_gen import DataConfig, Grid, Simulation, TimeAxis, data_source, make_survey, ricker, simulate, surface_line
from data_gen.common.errors import InputError
from data_gen.dataset.importing import import_files
from data_gen.dataset.verification import verify
from data_gen.velocity.base.model_files import read_velocity
from surrogate import TrainConfig, fit, invert, load_surrogate
from surrogate.commands import wave
from surrogate.config import EvaluateConfig, InvertConfig
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.forward import PhysicsForward
from surrogate.runs.evaluate import evaluate
from surrogate.runs.invert import run_inversion
from surrogate.training.config import TrainingConfig
from surrogate.training.tracking import TrackingConfig
from tests.helpers import tiny_config

LINES = [
    ("", None),
    ("trian", "Did you mean train"),
    ("generate data=demoo", "Did you mean demo"),
    ("generate data.nz=abc", "data.nz=abc: expected a whole number, such as data.nz=64"),
    ("generate data.snapshot_times=0.1", r"expected a list of numbers, such as data.snapshot_times=\[0.15,"),
    ("generate data.nz", "'data.nz' needs a value: data.nz=VALUE"),
    ("generate data.nz=3=4", "an argument is KEY=VALUE"),
    ("generate dat.nz=3", "Did you mean data.nz"),
    ("generate +data.foo=3", "Unknown key 'data.foo'"),
    ("generate ~data.nz", "a key cannot be removed"),
    ("generate data=null", "expected one preset, data=PRESET of demo"),
    ("generate data=[tiny,demo]", "expected one preset"),
    ("generate data=tiny,demo", "add --multirun"),
    ("generate data.nz=-5", "data.nz must be from 2 to 2147483647, but is -5"),
    ("generate data.nz=100000 data.nx=100000", "cells that can be numbered in 32 bits"),
    ("generate data.spacing=nan", "spacing must be finite and above 0, but is nan"),
    ("generate data.spacing=inf", "spacing must be finite and above 0, but is inf"),
    ("generate data.dt=-0.001", "data.dt must be above 0, but is -0.001"),
    ("generate data.nt=0", "data.nt must be from 2 to"),
    ("generate data.order=3", "one of 2, 4, 6, 8, 10, 12"),
    ("generate data.peak_frequency=0", "must be above 0"),
    ("generate data.gather_every=5000 data.peak_frequency=5", "aliased.*Set data.gather_every to at most"),
    ("generate data.gather_every=100", "aliased.*Set data.gather_every to at most"),
    ("generate data.source_depths=[20.0]", "must be 2 values, each at least 0"),
    ("generate data.source_depths=[-20.0,10.0]", "must be at least 0, but is -20.0"),
    ("generate data=tiny data.receiver_depth=1e9", "outside the grid"),
    ("generate data=tiny data.free_surface=true data.source_depths=[0,0]", "free surface"),
    ("generate data.records=[snapshot]", "data.records must be one of snapshots, gathers"),
    ("generate data.precision=float8", "data.precision must be one of"),
    ("generate data=tiny data.substeps=0", "data.substeps must be from 1"),
    ("generate data.train=-1", "data.train must be from 0"),
    ("generate data.batch_size=0", "data.batch_size must be at least 1"),
    ("generate +data.families.slat={}", "Unknown family of velocity models 'slat'"),
    ("generate data=tiny data.families.inclusions.min_velocity=-5", "0 < min_velocity < max_velocity in m/s"),
    ("generate data=tiny +data.families.inclusions.foo=3", r"Unknown inclusions parameters \['foo'\]"),
    ("generate data=tiny +data.families.crops={path:nope.npy}", "There is no model file at nope.npy"),
    ("generate data=tiny data.path=file", "is a file, where a folder is expected"),
    ("generate data=tiny data.path=file/set", "cannot be a folder"),
    ("generate data=tiny data.path=other", "exists and is not a data set"),
    ("generate executor=rayy", "Did you mean ray"),
    ("verify nope", "There is no data set at nope"),
    ("verify model.npy", "There is no data set at model.npy"),
    ("describe other", "There is no data set at other"),
    ("rebuild nope --sample 0", "There is no data set at nope"),
    ("rebuild other --sample abc", "invalid int value: 'abc'"),
    ("import nope --to out", "neither a folder nor a file at nope"),
    ("import text.txt --to out", "expected .npy, .npz, .segy, .sgy"),
    ("import empty --to out", "holds no velocity models"),
    ("import model.npy", "required: --to"),
    ("import model.npy --to out --spacing -3", "spacing must be positive"),
    ("import model.npy --to file --spacing 10", "is a file, where a folder is expected"),
    ("import kilometers.npy --to out --spacing 10", "km/s"),
    ("import vector.npy --to out --spacing 10", r"shape \(3,\)"),
    ("import model.npy --to out --spacing 10 --validation 3", "leave at least one for training"),
    ("export nope --to x.npz", "There is no data set at nope"),
    ("export nope --to x.foo", "exported to one of .npz"),
    ("diagnose data=nope", "there is no such preset"),
    ("train runs/mine", "Did you mean .*run=runs/mine"),
    ("train model=fnno", "Did you mean fno"),
    ("train model.dept=3", "Did you mean model.depth"),
    ("train model.modes=16", r"expected a list of whole numbers, such as model.modes=\[16,16\]"),
    ("train tracking=off", "tracking.mode"),
    ("train data.path=nope run=runs/x", "There is no data set at nope"),
    ("train data=tiny data.path=other run=runs/x", "other"),
    ("train data=tiny model.modes=[4,4] data.source=online init.run=nope", "nope|There is no data set at data/tiny"),
    ("evaluate", "run=FOLDER"),
    ("evaluate runs/mine", "Did you mean .*run=runs/mine"),
    ("evaluate run=nope", "nope is not a run"),
    ("evaluate run=file", "file is not a run"),
    ("evaluate run=other", "other is not a run"),
    ("evaluate run=nope batch_size=0", "must be at least 1"),
    ("evaluate run=nope data=demo", "data.path"),
    ("export-model run=nope", "out=FILE"),
    ("export-model run=nope out=x.stablehlo", "nope is not a run"),
    ("invert model.npy", "Did you mean .*real.path=model.npy"),
    ("invert forward=surogate", "forward must be one of .*surrogate"),
    ("invert forward=surrogate", "run=FOLDER"),
    ("invert forward=corrected inversion.corrected.low=surrogate", "run=FOLDER"),
    (
        "invert forward=corrected inversion.corrected.low=fast",
        "inversion.corrected.low must be one of coarse, surrogate, none",
    ),
    ("invert forward=corrected inversion.corrected.coarser=1", "inversion.corrected.coarser must be above 1"),
    ("invert inversion.stages=[{low:coarse}]", "stages.0..low is the cheap model of forward=corrected"),
    ("invert inversion=foo", "Presets: file, gathers, lecture, multiscale, observed, transmission"),
    ("invert inversion=file", "real.path=MODEL.npy"),
    ("invert inversion=file real.path=nope.npy", "There is no model file at nope.npy"),
    ("invert inversion=file real.path=text.txt", "expected .npy, .npz, .segy, .sgy"),
    ("invert inversion=file real.path=model.npy real.spacing=0", "real.spacing must be null or above 0"),
    ("invert inversion=file real.path=model.npy real.origin=[0,100000]", "The window leaves the model"),
    ("invert inversion.iterations=0", "inversion.iterations must be at least 1"),
    ("invert inversion.shots=1000", "at most 64 shots"),
    ("invert inversion.bounds=[4000,1000]", r"inversion.bounds must be \[lowest, highest\] in m/s"),
    ("invert inversion.misfit=l3", "inversion.misfit must be one of"),
    ("invert inversion.optimizer=sgd", "inversion.optimizer must be one of"),
    ("invert inversion.source_depth=-10", "must be at least 0"),
    ("invert inversion.source_depth=1e5", "outside the grid"),
    ("invert memory_budget=-1", "memory_budget must be null or above 0"),
    ("invert real=null", "real.path, real.spacing"),
    ("invert observed=nope.npy", "There is no observed data file at nope.npy"),
    ("invert observed=text.txt", "expected .npy, .npz"),
    ("invert observed=model.npy", "The sampling interval of model.npy is unknown"),
    ("invert observed=model.npy geometry=nope.yaml", "There is no geometry file at nope.yaml"),
    ("invert observed=model.npy data.nt=100", "data.nt is a setting of simulated data"),
    ("invert observed=model.npy forward=corrected inversion.corrected.low=surrogate", "cannot be inverted with"),
    ("invert observed=model.npy forward=surrogate", "cannot be inverted with forward=surrogate"),
    ("invert observed=model.npy setup.spacing=-1", "setup.spacing must be null or above 0"),
    ("invert observed=other", "There is no data set at other"),
    ("invert wavelet=ricker", "give observed=PATH"),
    ("invert inversion.start=fast", "or the path of a model file"),
    ("report nope", "nope"),
    ("report file", "file"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with some files that commands may be given by mistake."""
    monkeypatch.chdir(tmp_path)
    np.save("model.npy", np.full((40, 40), 2500, np.float32))
    np.save("kilometers.npy", np.full((40, 40), 2.5, np.float32))
    np.save("vector.npy", np.arange(3))
    for name in ("file", "text.txt"):
        Path(name).write_text("text", encoding="utf-8")
    for name in ("empty", "other"):
        Path(name).mkdir()
    Path("other/notes.txt").write_text("text", encoding="utf-8")
    return tmp_path


def listing(folder: Path) -> list[str]:
    """Names and contents' sizes of all files below a folder."""
    return sorted(f"{path} {path.stat().st_size}" for path in folder.rglob("*"))


@pytest.mark.parametrize(("line", "answer"), LINES, ids=[line for line, _ in LINES])
def test_wrong_command_lines(line, answer, folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["wave"])
    before = listing(folder)
    if answer is None:  # a call without a command explains itself
        wave.main(shlex.split(line))
        assert "commands:" in capsys.readouterr().out
        return
    with pytest.raises(SystemExit) as ended:
        wave.main(shlex.split(line))
    printed = capsys.readouterr()
    assert ended.value.code not in (0, None)
    message = str(ended.value.code) if isinstance(ended.value.code, str) else printed.err
    message = message[message.index("error: ") :].strip()
    assert "\n" not in message
    assert re.search(answer, message), message
    assert "Traceback" not in printed.err + printed.out
    assert listing(folder) == before


GRID, TIME = Grid((24, 20), 10.0), TimeAxis(60, 1e-3)
WAVES = Simulation(GRID, TIME, 3000.0, 15.0, order=4, widths=(6, 6, 6, 6))
LINE, PULSE, MEDIUM = surface_line(GRID, 20.0), ricker(TIME, 15.0), np.full(GRID.shape, 2500.0)
SURVEY = make_survey([[20.0, 50.0], [20.0, 150.0]], LINE, PULSE)
SLOW = InversionConfig(bounds=[1500.0, 3000.0])  # up to the simulation's largest velocity
CALLS = {
    "one cell": (lambda: Grid((1, 20), 10.0), "at least two cells"),
    "spacing zero": (lambda: Grid((24, 20), 0.0), "positive length"),
    "time in the wrong order": (lambda: TimeAxis(1, 60.0), "nt >= 2"),
    "negative layers": (lambda: replace(WAVES, widths=(6, 6, 6, -6)), "four cell counts"),
    "order": (lambda: replace(WAVES, order=5), "order in space must be one of"),
    "backend": (lambda: replace(WAVES, backend="cuda"), "backend must be one of"),
    "snapshots past the end": (lambda: replace(WAVES, snapshot_steps=(10, 60)), "Snapshot steps must ascend"),
    "step over the limit": (
        lambda: replace(WAVES, time_step=3e-3),
        "over the CFL limit: dt = 0.003 s.* Set time_step=",
    ),
    "samples over the limit": (
        lambda: simulate(MEDIUM, SURVEY, replace(WAVES, time=TimeAxis(60, 4e-3), time_correction=False)),
        "over the CFL limit: dt = 0.004 s.* substeps=",
    ),
    "transposed model": (lambda: simulate(MEDIUM.T, SURVEY, WAVES), r"\(20, 24\)"),
    "model in km/s": (lambda: simulate(MEDIUM / 1000, SURVEY, WAVES), "km/s"),
    "model with a NaN": (lambda: simulate(np.where(MEDIUM > 0, np.nan, 0), SURVEY, WAVES), "finite"),
    "transposed receivers": (lambda: make_survey([[20.0, 50.0]], LINE.T, PULSE), r"\(2, 20\)"),
    "receivers in three dimensions": (lambda: make_survey([[20, 50]], np.c_[LINE, LINE[:, 0]], PULSE), r"\(20, 3\)"),
    "a wavelet too many": (lambda: make_survey([[20.0, 50.0]], LINE, np.stack([PULSE] * 2)), r"\(2, 60\)"),
    "wavelet on another axis": (
        lambda: simulate(MEDIUM, make_survey([[20.0, 50.0]], LINE, PULSE[:50]), WAVES),
        r"\(1, 50\)",
    ),
    "source off the grid": (lambda: simulate(MEDIUM, make_survey([[20.0, 5000.0]], LINE, PULSE), WAVES), "outside"),
    "source between cells": (lambda: simulate(MEDIUM, make_survey([[23.0, 50.0]], LINE, PULSE), WAVES), "half_width"),
    "receivers on a free surface": (
        lambda: simulate(
            MEDIUM,
            make_survey([[20.0, 50.0]], surface_line(GRID, 0.0), PULSE),
            replace(WAVES, widths=(0, 6, 6, 6), free_surface=True),
        ),
        "free surface",
    ),
    "density of another shape": (lambda: simulate(MEDIUM, SURVEY, WAVES, density=np.full((3, 3), 2000.0)), r"\(3, 3\)"),
    "data of another survey": (
        lambda: invert(PhysicsForward(WAVES, SURVEY, "gather"), jnp.zeros((1, 60, 20)), jnp.asarray(MEDIUM), SLOW),
        r"\(1, 60, 20\)",
    ),
    "start in km/s": (
        lambda: invert(
            PhysicsForward(WAVES, SURVEY, "gather"),
            jnp.ones((2, 60, 20)),
            jnp.asarray(MEDIUM) / 1000,
            SLOW,
        ),
        "km/s",
    ),
    "no such split": (lambda: data_source("nope", "train"), "nope"),
    "no data set": (lambda: verify(Path("nope")), "There is no data set"),
    "no run": (lambda: load_surrogate("nope"), "is not a run"),
    "no model file": (lambda: read_velocity(Path("nope.npy")), "There is no model file"),
    "nothing to import": (lambda: import_files(Path("nope"), Path("out")), "neither a folder nor a file"),
    "precision of training": (lambda: TrainingConfig(precision="float8").check(), "training.precision must be one of"),
    "batches of nothing": (lambda: TrainingConfig(batch_size=0).check(), "training.batch_size must be"),
    "rate below zero": (lambda: TrainingConfig(learning_rate=-1.0).check(), "training.learning_rate must be above 0"),
    "tracking": (lambda: TrackingConfig(mode="none"), "tracking.mode must be one of offline, online, disabled"),
    "source of batches": (lambda: replace(tiny_config("x"), source="dsk").create(), "one of disk, online"),
    "evaluation of nothing": (lambda: evaluate(EvaluateConfig("nope")), "is not a run"),
    "family of nothing": (lambda: DataConfig(families={}).create(), "family"),
    "training without data": (
        lambda: fit(TrainConfig(run="run", data=replace(tiny_config("nope"), source="disk"))),
        "There is no data set|modes",
    ),
    "inversion in a file": (lambda: run_inversion(InvertConfig(out="file", data=tiny_config("nope"))), "is a file"),
}


@pytest.mark.parametrize("name", CALLS)
def test_wrong_calls(name, folder):
    call, answer = CALLS[name]
    before = listing(folder)
    with pytest.raises(InputError, match=answer) as refused:
        call()
    assert "\n" not in str(refused.value)
    assert listing(folder) == before


def test_device_out_of_memory(capsys):
    """XLA reports too little memory by a status in the text of its error."""
    from data_gen.common.errors import one_paragraph

    @one_paragraph
    def large():
        return jnp.zeros((2**20, 2**20, 2**10)).block_until_ready()

    with pytest.raises(SystemExit, match="not enough memory"):
        large()
