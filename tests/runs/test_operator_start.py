"""Starts from the answer of an operator: what it answers to the data, wherever they lie and whatever their unit."""

from pathlib import Path

import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from surrogate.config import InvertConfig, TrainConfig
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.observed.record import Observed
from surrogate.inversion.observed.sample import read_sample
from surrogate.inversion.observed.setup import SetupConfig
from surrogate.inversion.observed.wavelet import choose_wavelet
from surrogate.operators.unet import UNetConfig
from surrogate.runs.fit import fit
from surrogate.runs.folder import claim_folder
from surrogate.runs.load import load_surrogate
from surrogate.runs.observed_problem import observed_problem
from surrogate.runs.operator_start import operator_start
from surrogate.runs.predict import predict
from surrogate.runs.problem import known_model_problem
from surrogate.tasks.base import TaskConfig
from surrogate.tasks.gather import GatherConfig
from surrogate.tasks.inverse import InverseConfig
from surrogate.training.config import TrainingConfig
from tests.helpers import encoding_config, tiny_config

BOUNDS = [1500.0, 4500.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data set of two shots in a line, and the run of an operator that saw it for a step."""
    folder = tmp_path_factory.mktemp("operator")
    survey = {"sources": 2, "placement": "line", "source_depths": [20.0, 20.0], "records": ["gathers"]}
    data = tiny_config(folder / "data", train=4, validation=4, test=2, shard_size=2, **survey)
    dataset.generate(data)
    fit(run_of(data, folder / "run", InverseConfig(), "log"))
    return folder


def run_of(data: DataConfig, run: Path, task: TaskConfig, encoding: str) -> TrainConfig:
    training = TrainingConfig(steps=1, batch_size=4, warmup_steps=0, validate_every=1, checkpoint_every=1)
    model = UNetConfig(width=4, levels=1)
    config = TrainConfig(str(run), data, task, model, encoding_config(encoding), training=training)
    config.tracking.mode = "disabled"
    return config


def config(folder: Path, run: str = "run", amplitude: float | None = None) -> InvertConfig:
    return InvertConfig(
        observed=str(folder / "data"),
        run=str(folder / run),
        inversion=InversionConfig(start="operator", bounds=BOUNDS),
        setup=SetupConfig(amplitude=amplitude),
    )


@pytest.fixture(scope="module")
def observed(folder) -> Observed:
    return read_sample(folder / "data", "test", 0)


def start(folder: Path, observed: Observed, amplitude: float | None = 1.0, frequency: float = 15.0) -> np.ndarray:
    wavelet = choose_wavelet(observed, "ricker", frequency)
    return operator_start(config(folder, amplitude=amplitude), observed, wavelet).velocity


def test_the_start_of_a_sample_is_the_operators_answer(folder, observed):
    """On the cells of the run, so no value changes; bounds apply."""
    answer = np.asarray(predict(load_surrogate(folder / "run"), observed.gathers[None]))[0, 0]
    problem = observed_problem(config(folder))
    # The wavelet of the sample goes through a resampling: its amplitude and so the data change by 1e-3 at most.
    np.testing.assert_allclose(problem.start, np.clip(answer, BOUNDS[0], BOUNDS[1]), rtol=1e-3)
    assert "operator" in problem.described
    narrow = config(folder)
    low, high = (float(velocity) for velocity in np.quantile(answer, [0.3, 0.7]))
    narrow.inversion.bounds = [low, high]
    found = operator_start(narrow, observed, choose_wavelet(observed, None)).velocity
    np.testing.assert_allclose(found, np.clip(answer, low, high), rtol=1e-3)


def test_the_answer_knows_no_place_and_no_unit(folder, observed):
    """Elsewhere on the line, in another unit, sampled twice as often from before the shot on: to rounding."""
    here = start(folder, observed)
    shift, between = np.array([0.0, 1230.0]), np.full_like(observed.gathers, np.nan)
    finer = np.stack([observed.gathers, between], axis=2).reshape(len(between), -1, between.shape[2])
    early = np.concatenate([np.zeros_like(finer[:, :6]), finer], axis=1)
    there = observed._replace(
        gathers=250 * early,
        sources=observed.sources + shift,
        receivers=observed.receivers + shift,
        dt=observed.dt / 2,
        delay=-3 * observed.dt,
    )
    np.testing.assert_allclose(start(folder, there, amplitude=250.0), here, rtol=1e-5)
    place = operator_start(config(folder, amplitude=250.0), there, choose_wavelet(there, "ricker", 15.0))
    assert place.origin == (0.0, 1230.0) and place.spacing == 10.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            lambda o: {"sources": o.sources + np.array([10.0, 0.0])},
            "knows one survey, of 2 shots.*up to 10",
            id="depth",
        ),
        pytest.param(lambda o: {"gathers": o.gathers[..., 1:], "receivers": o.receivers[1:]}, "9 receiver", id="fewer"),
        pytest.param(lambda o: {"weights": 0 * o.weights}, "20 traces are dead", id="dead"),
        pytest.param(lambda o: {"dt": 0.003}, "each 0.004 s.*each 0.003 s.*setup.dt", id="times"),
        pytest.param(lambda o: {"gathers": o.gathers[:, 1:]}, "0 to 0.116 s", id="short"),
    ],
)
def test_other_surveys_are_refused(folder, observed, changes, message):
    with pytest.raises(InputError, match=message):
        start(folder, observed._replace(**changes(observed)))


def test_other_wavelets_are_refused(folder, observed):
    with pytest.raises(InputError, match=r"another wavelet.*Ricker of 18 Hz.*differ by"):
        start(folder, observed, frequency=18.0)
    with pytest.raises(InputError, match=r"setup.amplitude=1"):
        start(folder, observed, amplitude=None)
    with pytest.raises(InputError, match="is not known"):
        operator_start(config(folder, amplitude=1.0), observed, choose_wavelet(observed, "estimated"))


def test_only_an_operator_that_inverts_observed_data_is_asked(folder, observed):
    claim_folder(folder / "gather", run_of(DataConfig(), folder / "gather", GatherConfig(), "source_map"))
    wavelet = choose_wavelet(observed, None)
    with pytest.raises(InputError, match=r"trained for task=gather\. Give the run of a task=inverse"):
        operator_start(config(folder, "gather"), observed, wavelet)
    with pytest.raises(InputError, match="Set run=FOLDER"):
        operator_start(InvertConfig(inversion=InversionConfig(start="operator")), observed, wavelet)
    with pytest.raises(InputError, match="give their gathers, such as observed=DATA"):
        known_model_problem(InvertConfig(inversion=InversionConfig(start="operator")))
    other = config(folder)
    other.inversion.start = "constant"
    with pytest.raises(InputError, match="A run is asked for a start only"):
        observed_problem(other)
