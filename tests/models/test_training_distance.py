"""The distance of a velocity model from those that a surrogate has learned from."""

import warnings
from dataclasses import replace

import jax
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.dataset import generation as dataset
from data_gen.velocity.registry import make_family
from surrogate.config import EvaluateConfig, InvertConfig, RealModelConfig, TrainConfig
from surrogate.inversion.config import InversionConfig
from surrogate.models.training_distance import (
    FAR,
    FEATURES,
    FEWEST,
    DistanceWarning,
    TrainingModels,
    describe_distances,
    features,
    warn_of_distance,
)
from surrogate.operators.fno import FNOConfig
from surrogate.play.page import table
from surrogate.play.scene import Scene
from surrogate.runs.evaluate import evaluate
from surrogate.runs.fit import fit
from surrogate.runs.invert import run_inversion
from surrogate.runs.load import load_surrogate
from surrogate.runs.packing import pack, unpack
from surrogate.runs.predict import predict
from surrogate.runs.training_models import FILE, read_training_models, write_training_models
from surrogate.tasks.wavefield import WavefieldConfig
from surrogate.training.config import TrainingConfig
from tests.helpers import encoding_config, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")


def drawn(name: str, count: int, first: int = 0, **options) -> list[np.ndarray]:
    """Models of a family on a small grid."""
    grid = tiny_config("unused", nz=40, nx=36).create().simulation.grid
    make = jax.jit(lambda key: make_family(name, options)(key, grid))
    return [np.asarray(make(jax.random.key(first + k))) for k in range(count)]


def test_features_of_layers():
    """Flat layers change along z alone, in pairs that straddle the interface; the unit of velocity does not count."""
    log = np.where(np.arange(40)[:, None] < 20, 0.0, 0.3) * np.ones(30)
    flat, found = 2000.0 * np.exp(log), features(2000.0 * np.exp(log))
    assert found.shape == (FEATURES,)
    np.testing.assert_allclose(found[:5], np.log(2000.0) + np.quantile(log, (0.05, 0.25, 0.5, 0.75, 0.95)), atol=1e-6)
    along_z, along_x = found[5:13].reshape(4, 2), found[13:].reshape(4, 2)
    np.testing.assert_allclose(along_x, np.log(1e-3), rtol=1e-6)
    # At each lag, as many of the 40 - lag pairs straddle the interface.
    lags = np.array([1, 2, 4, 8])
    np.testing.assert_allclose(along_z[:, 0], np.log(0.3 * np.sqrt(lags / (40 - lags)) + 1e-3), rtol=1e-5)
    np.testing.assert_allclose(along_z[:, 1], np.log(0.301), rtol=1e-5)
    np.testing.assert_allclose(features(flat.T)[5:13], found[13:], rtol=1e-6)
    np.testing.assert_allclose(features(1000.0 * flat)[5:], found[5:], rtol=1e-4)


def test_usual_models_are_near_and_others_far():
    """By the definition of the unit, one of twenty models of the same kind is beyond 1, a count of 100 +- 4 sigma."""
    known = TrainingModels.of(drawn("curve_vel_b", 300))
    fresh = [known.distance(velocity) for velocity in drawn("curve_vel_b", 100, first=1000)]
    assert 0 <= np.mean(np.array(fresh) > 1) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)
    assert np.median(fresh) < 1 and max(fresh) < FAR
    for unlike in (drawn("style_a", 5), [np.full((40, 36), 2500.0)]):
        assert all(known.distance(velocity) > FAR for velocity in unlike)
    faster = [1.5 * velocity for velocity in drawn("curve_vel_b", 5, first=1000)]
    assert all(known.distance(velocity) > 1 for velocity in faster)
    # a training model has itself as one of its neighbors
    assert known.distance(drawn("curve_vel_b", 1)[0]) < np.median(fresh)


def test_warnings_say_how_many_and_how_far():
    known, usual, unlike = TrainingModels.of(drawn("flat_vel_a", 60)), drawn("flat_vel_a", 3), drawn("style_a", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_distance(known, usual)
        warn_of_distance(None, unlike)
    with pytest.warns(DistanceWarning, match=r"2 of 5 velocity models are unlike those .* distance \d+\.\d"):
        warn_of_distance(known, [*usual, *unlike])
    with pytest.warns(DistanceWarning, match="The velocity model is unlike"):
        warn_of_distance(known, unlike[:1])
    summary = describe_distances(known, [*usual, *unlike])
    assert summary is not None and summary["far"] == pytest.approx(0.4)
    assert summary["largest"] == max(known.distance(velocity) for velocity in unlike)
    assert describe_distances(None, usual) is None


@pytest.mark.parametrize(
    "found",
    [np.zeros((FEWEST - 1, FEATURES), np.float32), np.zeros((30, 3), np.float32), np.full((30, FEATURES), np.nan)],
)
def test_what_is_no_description_is_refused(found, tmp_path):
    with pytest.raises(ValueError, match="finite features of at least 20"):
        TrainingModels(found)
    np.save(tmp_path / FILE, found)
    with pytest.raises(InputError, match="is damaged"):
        read_training_models(tmp_path)


def test_from_training_to_use(tmp_path):
    """A run describes its training models; evaluation, prediction and a packed copy know them; a short set has none."""
    family = {"layers": {"family": "flat_vel_a", "min_velocity": 2000, "max_velocity": 4000}}
    counts = {"train": 24, "validation": 2, "test": 2}
    data = tiny_config(tmp_path / "data", families=family, snapshot_times=[0.1], **counts)
    dataset.generate(data)
    training = TrainingConfig(steps=2, batch_size=4, warmup_steps=1, validate_every=2, checkpoint_every=2, log_every=2)
    model = FNOConfig(width=4, depth=1, modes=[3, 3], mlp_ratio=1)
    config = TrainConfig(
        run=str(tmp_path / "run"),
        data=data,
        task=WavefieldConfig(),
        model=model,
        training=training,
        encoding=encoding_config("source_map"),
    )
    config.tracking.mode = "disabled"
    fit(config)
    surrogate = load_surrogate(config.run)
    known = surrogate.training_models
    assert known is not None and len(known.features) == 24
    record = dataset.data_source(data.path, "train")[5]
    assert np.abs(known.features - features(record["velocity"])).max(axis=1).min() == 0

    # Online: the models of the stream, which are of the same families.
    online = tmp_path / "online"
    online.mkdir()
    spec = data.create()
    write_training_models(online, replace(data, source="online"), config.task.create(spec))
    stream = read_training_models(online)
    assert stream is not None and len(stream.features) == 512
    assert stream.distance(record["velocity"]) < FAR

    usual = np.asarray(record["velocity"])[None]
    random = np.exp(np.log(2800.0) + 0.1 * np.random.default_rng(0).normal(size=usual.shape)).astype(np.float32)
    source = np.array([[20.0, 40.0]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DistanceWarning)
        predict(surrogate, usual, source)
    with pytest.warns(DistanceWarning):
        predict(surrogate, random, source)

    np.save(tmp_path / "random.npy", random[0])
    real = RealModelConfig(str(tmp_path / "random.npy"), spacing=10.0)
    asked = EvaluateConfig(run=config.run, batch_size=2, repeats=1, other=data.path, real=real)
    found = evaluate(replace(asked, speedup_samples=0, gradient_samples=0, inversion_samples=0))
    assert found["other"]["distance"]["far"] == 0 and found["other"]["distance"]["median"] < FAR
    assert found["real_model"]["distance"]["far"] == 1 and found["real_model"]["distance"]["median"] > FAR
    report = (tmp_path / "run" / "report.html").read_text()
    assert "Distance from the training models" in report and "100 % beyond 2" in report

    inverted = run_inversion(
        InvertConfig(
            out=str(tmp_path / "inverted"),
            run=config.run,
            data=data,
            forward="surrogate",
            inversion=InversionConfig(kind="wavefield", shots=1, iterations=1, bounds=[1800.0, 4000.0]),
            real=real,
        )
    )
    with np.load(tmp_path / "inverted" / "result.npz") as result:
        ends = {"start": known.distance(result["start"]), "end": known.distance(result["velocity"])}
    assert inverted["distance"] == pytest.approx(ends)

    scene = Scene(surrogate)
    shot = scene.shoot(random[0], (20.0, 40.0))
    assert shot.distance == pytest.approx(known.distance(random[0]))
    assert "The model is unlike those" in table(shot) and "The model is like those" in table(
        shot._replace(distance=0.5)
    )
    assert "learned from" not in table(shot._replace(distance=None))

    pack(config.run, tmp_path / "packed.npz", {"about": "test"})
    unpack(tmp_path / "packed.npz", tmp_path / "unpacked", samples=0)
    for copy in (tmp_path / "packed.npz", tmp_path / "unpacked"):
        packed = load_surrogate(copy).training_models
        assert packed is not None
        np.testing.assert_array_equal(packed.features, known.features)

    few = tmp_path / "few"
    few.mkdir()
    write_training_models(few, replace(data, train=FEWEST - 1), config.task.create(spec))
    assert read_training_models(few) is None


def test_equal_descriptions_are_one_and_equal_models_are_no_measure():
    """Two loads of one run share their compiled programs; training models that are all the same still give a unit."""
    models = drawn("curve_vel_b", 30)
    known, again = TrainingModels.of(models), TrainingModels.of(models)
    assert known == again and hash(known) == hash(again)
    assert known != TrainingModels.of(models[:-1])
    same = TrainingModels.of([models[0]] * 30)
    assert same.distance(models[0]) == 0
    # A shift of every velocity by FLOOR moves five features by one unit.
    assert same.distance(np.exp(0.05) * models[0]) == pytest.approx(np.sqrt(5), rel=1e-3)
