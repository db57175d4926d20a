"""Packed surrogates: one small file with a card, which loads, unpacks into a run, and refuses damage."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from data_gen.common.errors import InputError
from data_gen.common.sealed import sealed
from data_gen.dataset import generation as dataset
from surrogate.config import DataPlaceConfig, EvaluateConfig, TrainConfig
from surrogate.operators.fno import FNOConfig
from surrogate.runs import packed
from surrogate.runs.error_tables import read_examples
from surrogate.runs.evaluate import evaluate
from surrogate.runs.fit import fit
from surrogate.runs.folder import read_run
from surrogate.runs.load import best_step, best_validation, load_surrogate
from surrogate.runs.packed import PRETRAINED, find_packed, load_card, read_packed
from surrogate.runs.packing import pack, unpack
from surrogate.runs.predict import apply_to_batch
from surrogate.tasks.common import example
from tests.helpers import relative, tiny_config
from tests.runs.tiny_run import config_of

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")

TEXTS = {"about": "Nothing of use", "limits": "four steps"}


def evaluation_of(run: Path, data: Path | None = None) -> EvaluateConfig:
    place = DataPlaceConfig(None if data is None else str(data))
    return EvaluateConfig(
        str(run), batch_size=4, repeats=1, speedup_samples=0, gradient_samples=0, inversion_samples=0, data=place
    )


def large_config(folder: Path) -> TrainConfig:
    """The config of a run with arrays that are stored in half precision."""
    return replace(config_of(folder), model=FNOConfig(width=8, depth=1, modes=[3, 3], mlp_ratio=2))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a data set `data`, an evaluated run `run`, and the packed run `run.npz`."""
    folder = tmp_path_factory.mktemp("packed")
    dataset.generate(tiny_config(folder / "data"))
    fit(large_config(folder))
    evaluate(evaluation_of(folder / "run"))
    pack(folder / "run", folder / "run.npz", TEXTS)
    return folder


def predictions(model) -> jax.Array:
    made = jax.jit(lambda: example(model.task))()
    return apply_to_batch(model, {name: values[None] for name, values in made.items()})


def entries_of(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_round_trip(home):
    """A file predicts as its run does, up to the rounding of float16 that the card states; small arrays are exact."""
    ours, theirs = load_surrogate(home / "run"), load_surrogate(home / "run.npz")
    card = load_card(home / "run.npz")
    assert relative(predictions(theirs), predictions(ours)) == pytest.approx(card["rounding"], abs=1e-6)
    assert card["rounding"] < 2.0**-11 * 10  # some layers, each of whose weights is off by at most half a last place
    for name, values in packed.named_arrays(nnx.state(theirs, nnx.Not(nnx.RngState))).items():
        exact = packed.named_arrays(nnx.state(ours, nnx.Not(nnx.RngState)))[name]
        largest = float(np.abs(np.asarray(exact)).max())
        off = 0.0 if exact.size < packed.SMALL else 2.0**-11 * largest
        np.testing.assert_allclose(np.asarray(values), np.asarray(exact), rtol=0, atol=off)


def test_card(home):
    """The card says what was measured and trained, and names no folder of this machine."""
    card = load_card(home / "run.npz")
    assert card["texts"] == TEXTS
    assert (card["step"], card["validation"]) == (best_step(home / "run"), best_validation(home / "run"))
    measured = json.loads((home / "run" / "metrics.json").read_text())
    assert card["metrics"]["relative_l2"] == measured["relative_l2"]
    assert card["first_errors"] == read_examples(home / "run" / "errors_test.csv")["surrogate.relative_l2"]
    assert str(home) not in json.dumps(card)


def test_unpacked_is_a_run(home, tmp_path):
    """An unpacked file is evaluated as its run is: the same errors of the samples that were drawn for it."""
    unpack(home / "run.npz", tmp_path / "again", samples=3)
    unpack(home / "run.npz", tmp_path / "again", samples=3)  # changes nothing
    config = read_run(tmp_path / "again")
    assert config.data.identity() == read_run(home / "run").data.identity()
    result = evaluate(evaluation_of(tmp_path / "again"))
    assert result["test_samples"] == 3
    found = read_examples(tmp_path / "again" / "errors_test.csv")["surrogate.relative_l2"]
    card = load_card(home / "run.npz")
    # |error - error'| is at most the change of the prediction, in the norm of what is predicted.
    np.testing.assert_allclose(found, card["first_errors"][:3], rtol=0, atol=4 * card["rounding"])
    again = pack(tmp_path / "again", tmp_path / "twice.npz", TEXTS)
    assert again["training_seconds"] == card["training_seconds"] > 0  # it has no curves, but was not free
    twice, once = read_packed(tmp_path / "twice.npz").arrays, read_packed(home / "run.npz").arrays
    assert relative(twice, once) < 1e-7  # rounded once, they stay as they are


def test_what_is_missing_is_made(home, tmp_path):
    """A kill after the config was written leaves a folder that the same command completes."""
    unpack(home / "run.npz", tmp_path / "run", samples=0)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    unpack(home / "run.npz", tmp_path / "run", samples=1)
    assert relative(predictions(load_surrogate(tmp_path / "run")), predictions(load_surrogate(home / "run.npz"))) == 0


def test_unpacked_run_is_not_trained(home, tmp_path):
    """There is no state of the optimizer to resume from; another run starts from its weights."""
    unpack(home / "run.npz", tmp_path / "run", samples=0)
    config = large_config(home)
    config.run = str(tmp_path / "run")
    config.data = read_run(tmp_path / "run").data
    config.data.path = str(home / "data")
    with pytest.raises(InputError, match=r"can be evaluated and used as it is"):
        fit(config)
    config.run, config.init.run = str(tmp_path / "new"), str(tmp_path / "run")
    assert fit(config) == 4


def test_other_sizes(home, tmp_path):
    """A data set of the same recipe with fewer samples evaluates a run: on the first of its own test samples."""
    data = tiny_config(tmp_path / "few", train=0, validation=1, test=2)
    dataset.generate(data)
    shutil.copytree(home / "run", tmp_path / "run")
    assert evaluate(evaluation_of(tmp_path / "run", tmp_path / "few"))["test_samples"] == 2
    few = read_examples(tmp_path / "run" / "errors_test.csv")["surrogate.relative_l2"]
    whole = read_examples(home / "run" / "errors_test.csv")["surrogate.relative_l2"]
    assert few == pytest.approx(whole[:2], rel=1e-5)  # batches of another size are summed in another order
    dataset.generate(tiny_config(tmp_path / "other", train=0, validation=1, test=2, seed=1))
    with pytest.raises(InputError, match=r"does not match the run's config \(seed"):
        evaluate(evaluation_of(tmp_path / "run", tmp_path / "other"))


def test_refusals(home, tmp_path):
    """What cannot be packed or unpacked is refused in a sentence, before anything is written."""
    with pytest.raises(InputError, match=r"is an \.npz file"):
        pack(home / "run", tmp_path / "run.h5", TEXTS)
    with pytest.raises(InputError, match="exists already"):
        pack(home / "run", home / "run.npz", TEXTS)
    fresh = shutil.copytree(home / "run", tmp_path / "fresh")
    (fresh / "metrics.json").unlink()
    with pytest.raises(InputError, match="was not evaluated"):
        pack(fresh, tmp_path / "new.npz", TEXTS)
    with pytest.raises(InputError, match="holds something else"):
        unpack(home / "run.npz", home, samples=0)
    with pytest.raises(InputError, match="nor the name of a pretrained"):
        unpack("nothing", tmp_path / "run")
    with pytest.raises(InputError, match="names of pretrained surrogates"):
        load_surrogate("nothing")
    assert not (tmp_path / "run").exists() and not (tmp_path / "new.npz").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e | {"card": e["card"][:-1]}, "not a packed surrogate"),
        (lambda e: {name: values for name, values in e.items() if name != "card"}, "not a packed surrogate"),
        (lambda e: e | {"card": np.array({"a": 1}, dtype=object)}, "not a packed surrogate"),  # would be unpickled
        (lambda e: changed_card(e, sealed_again=False, step=3), "is damaged: its values"),
        (lambda e: changed_card(e, format=99), "has the format 99"),
        (lambda e: {n: -v if n.startswith("weights/") else v for n, v in e.items()}, "its arrays are not those"),
    ],
)
def test_damage(home, tmp_path, change, said):
    """A file that was cut, changed, or holds a pickle is refused; nothing in it is run."""
    np.savez(tmp_path / "bad.npz", **change(entries_of(home / "run.npz")))
    with pytest.raises(InputError, match=said):
        load_surrogate(tmp_path / "bad.npz")


def test_damaged_bytes(home, tmp_path):
    """A file that was cut off, or of which a byte was flipped, is refused in a sentence."""
    whole = (home / "run.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (whole[: len(whole) // 2], bytes(flipped), b""):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"damaged"):
            load_surrogate(tmp_path / "bad.npz")


def test_folders_of_others(home, tmp_path):
    """A training, or weights of another file, stay as they are; old evaluations do not describe new weights."""
    shutil.copytree(home / "run", tmp_path / "run")
    with pytest.raises(InputError, match="holds the weights of another"):
        unpack(home / "run.npz", tmp_path / "run", samples=0)
    with pytest.raises(InputError, match="number of test samples"):
        unpack(home / "run.npz", tmp_path / "new", samples=-1)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    metrics["evaluated"]["step"] = 1
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(InputError, match="of other weights"):
        pack(tmp_path / "run", tmp_path / "new.npz", TEXTS)


def changed_card(entries: dict[str, np.ndarray], *, sealed_again: bool = True, **values) -> dict[str, np.ndarray]:
    card = json.loads(entries["card"].tobytes()) | values
    if sealed_again:
        del card["digest"]
        card = sealed(card)
    return entries | {"card": np.frombuffer(json.dumps(card).encode(), np.uint8)}


def test_other_model(home):
    """Arrays of another model than the card's config are refused by name and shape."""
    known = find_packed(home / "run.npz")
    name = next(name for name, values in known.arrays.items() if values.size >= packed.SMALL)
    known.arrays[name] = known.arrays[name][:1]
    with pytest.raises(InputError, match=rf"of another model .* {name} has shape"):
        known.create()


def test_published_file(monkeypatch, tmp_path, home):
    """A file under the name of a pretrained surrogate that is not the published one is refused."""
    monkeypatch.setattr(packed, "FOLDER", tmp_path)
    monkeypatch.setitem(PRETRAINED, "a-name", "0" * 64)
    with pytest.raises(InputError, match="SHA-256 absent"):
        load_surrogate("a-name")
    shutil.copy(home / "run.npz", tmp_path / "a-name.npz")
    with pytest.raises(InputError, match="not the one that was published"):
        load_surrogate("a-name")


def test_name_and_folder(monkeypatch, tmp_path):
    """What was unpacked under a pretrained name is that surrogate; anything else of that name is refused."""
    monkeypatch.chdir(tmp_path)
    name = next(iter(PRETRAINED))
    unpack(name, name, samples=0)
    assert packed.packed_file(name) is None and packed.packed_file(f"./{name}") is None
    (tmp_path / name / packed.CARD).unlink()
    with pytest.raises(InputError, match=f"Write ./{name} for the one here"):
        load_surrogate(name)


@pytest.mark.parametrize("name", PRETRAINED)
def test_pretrained(name, tmp_path):
    """A pretrained surrogate errs on samples that are drawn here as its card says."""
    card = load_card(name)
    config = find_packed(name).config
    samples = 4
    unpack(name, tmp_path / "run", samples)
    task = config.task.create(config.data.create())
    evaluate(evaluation_of(tmp_path / "run"))
    found = read_examples(tmp_path / "run" / "errors_test.csv")["surrogate.relative_l2"]
    count = min(samples * task.examples, len(card["first_errors"]))
    # Rounding of weights, and that of float32 in other orders of the sums, which the solver's steps amplify.
    np.testing.assert_allclose(found[:count], card["first_errors"][:count], rtol=1e-3, atol=4 * card["rounding"])
    assert (packed.FOLDER / f"{name}.npz").stat().st_size < 5e6
