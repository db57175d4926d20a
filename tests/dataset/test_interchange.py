"""Verification, cards, rebuilding, and data that come from files or go to them."""

import io
import json
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import segyio
import tensorflow_datasets as tfds
import zarr
from rich.console import Console

from data_gen.commands import manage as cli
from data_gen.common.errors import DatasetError, InputError
from data_gen.common.files import read_json, write_json
from data_gen.dataset import generation as dataset
from data_gen.dataset import importing, verification
from data_gen.dataset.description import describe
from data_gen.dataset.drawing import divide
from data_gen.dataset.exporting import export
from data_gen.dataset.importing import import_files
from data_gen.dataset.pairing import find_pairs
from data_gen.dataset.recording import decode
from data_gen.dataset.sample import SPLITS
from data_gen.dataset.shards import Shard
from data_gen.dataset.source_files import read_models
from data_gen.dataset.verification import Contents, rebuild, verify
from data_gen.velocity.base.model_files import other_property, read_velocity
from tests.helpers import tiny_config

NZ, NX, SHOTS, NT, RECEIVERS = 7, 6, 2, 9, 5


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    config = tiny_config(tmp_path_factory.mktemp("data") / "set", train=5, validation=1, test=2)
    dataset.generate(config)
    return config


def models(seed: int, n: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1500, 4500, (n, 1, NZ, NX)).astype(np.float32)


def gathers(seed: int, n: int = 3) -> np.ndarray:
    return np.random.default_rng(100 + seed).normal(size=(n, SHOTS, NT, RECEIVERS)).astype(np.float32)


def write_pair(folder: Path, number: int, model: str = "model{}", data: str = "data{}") -> None:
    for name, content in ((model, models(number)), (data, gathers(number))):
        file = folder / f"{name.format(number)}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, content, allow_pickle=False)


def edit_manifest(path, **recipe) -> None:
    manifest = read_json(Path(path) / dataset.MANIFEST)
    write_json(Path(path) / dataset.MANIFEST, manifest | {"recipe": manifest["recipe"] | recipe})


# Checks of files


def test_one_flipped_byte(generated, tmp_path):
    """`verify` names the one shard with a flipped byte, in any record; made again, the data set is intact."""
    config = replace(generated, path=str(tmp_path / "flipped"))
    dataset.generate(config)
    assert verify(config.path, contents=True)["complete"]
    shard = Path(config.path) / "wave_data-test.array_record-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[300] ^= 0x10
    shard.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"1 of 4 shards do not match.*{shard.name} is damaged.*Delete these files"):
        verify(config.path)
    with pytest.raises(SystemExit, match=shard.name):
        cli.main(["verify", config.path])
    shard.unlink()
    dataset.generate(config)
    cli.main(["verify", config.path])


def test_contents_are_checked():
    """One good record passes, and each kind of bad record is refused."""
    shard, contents = Shard("x", "train", 10, 12), Contents((1500.0, 4500.0), (60.0, 50.0))
    good = {"index": np.int64(11), "velocity": models(0)[0, 0], "sources": np.array([[60.0, 20.0]])}
    contents.check(good, shard, 1)
    # At the very limits of the range, rounded to half precision, 4500 is 4500 and 1500.3 is 1500.
    contents.check(good | {"velocity": np.full((NZ, NX), 1500.3, np.float16)}, shard, 1)
    for bad, message in (
        ({"index": np.int64(3)}, r"Record 1 of x \(sample 11 of split train\) has the index 3"),
        ({"velocity": np.full((NZ, NX), np.nan, np.float32)}, "`velocity` that are not finite"),
        ({"velocity": np.full((NZ, NX), 4600.0, np.float32)}, "4600 to 4600 m/s, but its families span 1500 to 4500"),
        ({"velocity": np.full((NZ, NX), 2.0, np.float32)}, "looks like km/s"),
        ({"sources": np.array([[60.0, 60.0]])}, "outside the grid"),
        ({"sources": np.array([[60.0, 20.0], [-10.0, 0.0]])}, "outside the grid"),
    ):
        with pytest.raises(DatasetError, match=message):
            contents.check(good | bad, shard, 1)


def test_physical_ranges_of_a_data_set(generated, tmp_path):
    """Velocities outside the range of the manifest's families are refused."""
    config = replace(generated, path=str(tmp_path / "set"))
    dataset.generate(config)
    families = {name: {**options, "min_velocity": 4400} for name, options in config.families.items()}
    edit_manifest(config.path, families=families)
    with pytest.raises(DatasetError, match="its families span 4400 to 4500"):
        verify(config.path, contents=True)


def test_model_in_two_splits(tmp_path):
    source = tmp_path / "source"
    write_pair(source, 1)
    np.save(source / "model2.npy", models(1))
    np.save(source / "data2.npy", gathers(2))
    import_files(source, tmp_path / "set", test=3, split_seed=None)
    verify(tmp_path / "set")
    with pytest.raises(DatasetError, match="3 velocity models are in split train and in split test"):
        verify(tmp_path / "set", contents=True)


def test_manifest_cannot_lead_out_of_its_folder(generated, tmp_path):
    """File names are computed, not read; fields have plain names and plain types."""
    config = replace(generated, path=str(tmp_path / "set"))
    dataset.generate(config)
    file = Path(config.path) / dataset.MANIFEST
    manifest = read_json(file)
    for fields in ({"../../x": {"shape": [], "dtype": "int64"}}, {"x": {"shape": [2], "dtype": "object"}}):
        write_json(file, manifest | {"fields": fields})
        with pytest.raises(DatasetError, match="has an unknown field"):
            verify(config.path)
    write_json(file, manifest | {"format": 1})
    with pytest.raises(DatasetError, match="has format 1, but this version reads format 2"):
        verify(config.path)


def test_rebuild(generated, tmp_path, capsys):
    """The manifest alone gives the same bits; a manifest with another seed gives a difference and status 1."""
    changes, versions = rebuild(generated.path, "test", 1)
    assert changes.keys() == dataset.read_manifest(generated.path)["fields"].keys()
    assert not any(changes.values()) and not versions
    intact = verification.read_shard

    def spoilt(*given):
        return [record | {"velocity": np.nan * record["velocity"]} for record in intact(*given)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "read_shard", spoilt)
        assert rebuild(generated.path, "test", 1)[0]["velocity"] == np.inf
    cli.main(["rebuild", generated.path, "--sample", "4"])
    assert "identical to the stored one, bit for bit" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"There is no sample 5 in split 'train'"):
        cli.main(["rebuild", generated.path, "--sample", "5"])
    config = replace(generated, path=str(tmp_path / "set"))
    dataset.generate(config)
    edit_manifest(config.path, seed=1)
    with pytest.raises(SystemExit, match=r"differs from the stored one: by up to .* The versions agree"):
        cli.main(["rebuild", config.path, "--sample", "4"])


def test_describe(generated):
    text = io.StringIO()
    describe(generated.path, Console(file=text, width=120))
    fingerprint = dataset.fingerprint(generated)
    for part in (
        "generated, complete",
        fingerprint,
        "gaussian_random_field",
        "min_velocity 2000",
        "24 x 20",
        "m/s",
        "jax",
    ):
        assert part in text.getvalue()
    (settings_row,) = [
        line.split() for line in text.getvalue().splitlines() if line.split()[::2] == ["sources", "shots"]
    ]
    assert settings_row[1] == str(generated.sources)  # a number of shots, and no positions in meters


# Export


@pytest.mark.parametrize("name", ["out.npz", "out.h5", "out.zarr"])
def test_export(generated, tmp_path, name):
    """A copy holds every value of every record, and the manifest."""
    assert export(generated.path, tmp_path / name) == 8
    if name == "out.npz":
        opened = np.load(tmp_path / name, allow_pickle=False)
        manifest = str(opened["manifest"])
    elif name == "out.h5":
        opened = h5py.File(tmp_path / name)
        manifest = opened["manifest"].asstr()[()]  # pyright: ignore[reportAttributeAccessIssue]
    else:
        opened = zarr.open_group(str(tmp_path / name), mode="r")
        manifest = str(opened.attrs["manifest"])
    assert json.loads(str(manifest)) == dataset.read_manifest(generated.path)
    for split in SPLITS:
        records = [dict(record) for record in dataset.data_source(generated.path, split)]
        for field in records[0]:
            stored = np.asarray(opened[f"{split}/{field}"])
            expected = np.stack([record[field] for record in records])
            assert stored.dtype == expected.dtype
            np.testing.assert_array_equal(stored, expected)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    with pytest.raises(InputError, match="exists"):
        export(generated.path, tmp_path / name)


def test_export_and_import_again(generated, tmp_path, capsys):
    """Models, gathers, sampling and splits come back as they were; fields that have no place are named."""
    config = replace(generated, path=str(tmp_path / "set"), records=["gathers"], precision="float16", gather_every=2)
    dataset.generate(config)
    export(config.path, tmp_path / "out.npz")
    capsys.readouterr()
    again = import_files(tmp_path / "out.npz", tmp_path / "again", validation=1, test=2, split_seed=None)
    assert "left out the arrays index, family, sources" in capsys.readouterr().out  # sources are drawn for each sample
    recipe = again["recipe"]
    assert (recipe["spacing"], recipe["dt"]) == (config.spacing, 2 * config.dt)
    for split in SPLITS:
        pairs = zip(
            dataset.data_source(config.path, split), dataset.data_source(tmp_path / "again", split), strict=True
        )
        for ours, theirs in pairs:
            np.testing.assert_array_equal(theirs["velocity"], ours["velocity"])
            np.testing.assert_array_equal(decode(theirs, "gathers"), decode(ours, "gathers"))
            np.testing.assert_array_equal(recipe["receivers"], ours["receivers"])


def test_export_keeps_the_geometry_of_imports(tmp_path):
    """Positions, delay and units that came from files are in the copy, and in what is imported from it."""
    positions = {"sources": np.array([[0.0, 10.0], [0.0, 20.0]]), "receivers": np.arange(10.0).reshape(5, 2)}
    numbers: dict[str, Any] = {"spacing": 12.5, "dt": 0.004, "delay": -0.1}
    np.savez(tmp_path / "a.npz", velocity=models(1)[:, 0], gathers=gathers(1), **positions, **numbers)
    first = import_files(tmp_path / "a.npz", tmp_path / "set")["recipe"]
    export(tmp_path / "set", tmp_path / "b.npz")
    second = import_files(tmp_path / "b.npz", tmp_path / "again")["recipe"]
    assert {name: second[name] for name in first if name != "files"} == {
        name: first[name] for name in first if name != "files"
    }
    assert {name: np.array(first[name]).tolist() for name in positions} == {n: p.tolist() for n, p in positions.items()}
    export(tmp_path / "set", tmp_path / "b.h5")
    opened = h5py.File(tmp_path / "b.h5")
    assert [opened[name].attrs["units"] for name in ("train/velocity", "dt", "sources")] == ["m/s", "s", "(z, x) m"]


def test_export_refuses(generated, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"one of \.npz, \.h5"):
        export(generated.path, tmp_path / "out.csv")
    with pytest.raises(InputError, match="There is no folder"):
        export(generated.path, tmp_path / "none" / "out.npz")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"needs h5py, which cannot be imported.*\[export\]'"):
        export(generated.path, tmp_path / "out.h5")
    assert not list(tmp_path.iterdir())


# Import


@pytest.mark.parametrize(
    ("model", "data"), [("model{}", "data{}"), ("model/model{}", "data/data{}"), ("A/vel{}_1_0", "A/seis{}_1_0")]
)
def test_import_openfwi(tmp_path, model, data, capsys):
    """OpenFWI's files are read in the natural order of their numbers, and TFDS reads the same values."""
    source, path = tmp_path / "source", tmp_path / "set"
    for number in (10, 9, 2):
        write_pair(source, number, model, data)
    arguments = ["import", str(source), "--to", str(path), "--spacing", "10", "--dt", "0.001", "--in-order"]
    cli.main([*arguments, "--test", "2", "--validation", "3", "--shard-size", "3"])
    manifest = verify(path, contents=True)
    assert manifest["source"] == "imported" and manifest["splits"] == {"train": 4, "validation": 3, "test": 2}
    assert manifest["recipe"]["spacing"] == 10.0 and len(manifest["recipe"]["files"]) == 6
    builder = tfds.builder_from_directory(str(path))
    found = [
        dict(record)
        for split in SPLITS
        for record in builder.as_data_source(split=split)  # pyright: ignore[reportCallIssue]
    ]
    np.testing.assert_array_equal([r["velocity"] for r in found], np.concatenate([models(n)[:, 0] for n in (2, 9, 10)]))
    np.testing.assert_array_equal([r["gathers"] for r in found], np.concatenate([gathers(n) for n in (2, 9, 10)]))
    # Again: nothing changes. A shard that was lost is made again. Other files, the same folder: refused.
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*record*") if "train" in file.name}
    (path / "wave_data-test.array_record-00000-of-00001").unlink()
    cli.main([*arguments, "--test", "2", "--validation", "3", "--shard-size", "3"])
    assert verify(path) == manifest
    assert before == {file: file.stat().st_mtime_ns for file in before}
    with pytest.raises(SystemExit, match="another config"):
        cli.main(arguments)
    with pytest.raises(SystemExit, match="cannot be made again from a config"):
        cli.main(["rebuild", str(path), "--sample", "0"])
    capsys.readouterr()
    cli.main(["describe", str(path)])
    assert "imported, complete" in capsys.readouterr().out


def write_segy(file: Path, traces: np.ndarray, records, dt: float = 0.002) -> None:
    """traces `(n, samples)`; records: the field record number of each."""
    spec: Any = segyio.spec()
    spec.format, spec.samples, spec.tracecount = 5, np.arange(traces.shape[1]) * dt * 1e3, len(traces)
    with segyio.create(str(file), spec) as written:
        for i, trace in enumerate(traces):
            written.trace[i] = trace.astype(np.float32)
            written.header[i] = {segyio.TraceField.FieldRecord: int(records[i])}
        written.bin[segyio.BinField.Interval] = round(dt * 1e6)


def test_import_segy(tmp_path):
    """SEG-Y has one trace for each column of a model; gathers give shots by field record number, and their interval."""
    source = tmp_path / "source"
    source.mkdir()
    shots = gathers(0)[0]
    for name in ("1", "2"):
        write_segy(source / f"model{name}.sgy", models(int(name))[0, 0].T, range(NX))
        write_segy(
            source / f"gathers{name}.segy", shots.transpose(0, 2, 1).reshape(-1, NT), np.repeat([7, 8], RECEIVERS)
        )
    import_files(source, tmp_path / "set")
    manifest = verify(tmp_path / "set", contents=True)
    record = dataset.data_source(tmp_path / "set", "train")[1]
    np.testing.assert_array_equal(record["velocity"], models(2)[0, 0])
    np.testing.assert_array_equal(record["gathers"], shots)
    assert manifest["recipe"]["dt"] == pytest.approx(0.002)


def test_import_npz(tmp_path):
    """One file holds models and gathers; gathers in half precision keep it, and are decoded with the scale 1."""
    file = tmp_path / "mine.npz"
    half = gathers(1).astype(np.float16)
    np.savez(file, velocity=models(1)[:, 0].astype(np.float64), gathers=half, spacing=12.5, dt=0.004)
    import_files(file, tmp_path / "set")
    record = dataset.data_source(tmp_path / "set", "train")[2]
    np.testing.assert_array_equal(record["velocity"], models(1)[2, 0])
    assert record["velocity"].dtype == np.float32 and record["gathers"].dtype == np.float16
    np.testing.assert_array_equal(decode(record, "gathers"), half[2].astype(np.float32))
    recipe = dataset.read_manifest(tmp_path / "set")["recipe"]
    assert (recipe["spacing"], recipe["dt"]) == (12.5, 0.004)
    with pytest.raises(InputError, match=r"The spacing in the files is 12\.5, but 10 was given"):
        import_files(file, tmp_path / "other", spacing=10.0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data3.npy", gathers(3), "has no counterpart"),
        ("data1.npy", gathers(3, 2), "has 3 models, but .* gathers of 2"),
        ("model1.npy", models(1) / 1000, "looks like km/s"),
        ("model1.npy", 1 / models(1), "looks like a slowness"),
        ("model1.npy", models(1)[:, :, :, :3], "the same shapes and types"),
        ("model1.npy", models(1)[0, 0, 0], r"shape \(6,\), but models have"),
        ("model1.npy", np.array([{}]), "holds Python objects.*never loaded"),
        ("model-1.npy", models(1), "have the same name"),
    ],
)
def test_import_refuses(tmp_path, name, content, message):
    source = tmp_path / "source"
    write_pair(source, 1)
    write_pair(source, 2)
    np.save(source / name, content)
    with pytest.raises(InputError, match=message):
        import_files(source, tmp_path / "set")


def test_import_stays_in_its_folder(tmp_path):
    write_pair(tmp_path / "elsewhere", 1)
    source = tmp_path / "source"
    source.mkdir()
    (source / "model1.npy").symlink_to(tmp_path / "elsewhere" / "model1.npy")
    with pytest.raises(InputError, match="a link that leads out of"):
        find_pairs(source)
    with pytest.raises(InputError, match="holds no velocity models"):
        find_pairs(Path(__file__).parent)


def test_import_names_what_it_leaves_out(tmp_path, capsys):
    """Every file is read, or named with the reason; folders count as names too."""
    source = tmp_path / "source"
    write_pair(source, 1, "vp_{}", "shots_{}")
    for name in ("MODEL_DENSITY.npy", "model_vs.npy", "s-wave/model1.npy", "marmousi.npy", "data1.h5", "notes.txt"):
        (source / name).parent.mkdir(exist_ok=True)
        np.save((source / name).open("wb"), models(2))
    np.savez(source / "vp_1.npz", velocity=models(1)[:, 0], rho=models(2))
    (source / "vp_1.npy").unlink()
    (source / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    manifest = import_files(source, tmp_path / "set")
    assert [file["name"] for file in manifest["recipe"]["files"]] == ["vp_1.npz", "shots_1.npy"]
    told = capsys.readouterr().out
    for line in (
        "left out, a density by its name: MODEL_DENSITY.npy\n",
        "left out, an S-wave velocity by its name: model_vs.npy, s-wave/model1.npy\n",
        "left out, neither models nor gathers by its name: marmousi.npy\n",
        "left out, of another kind than .npy, .npz, .segy, .sgy: data1.h5, notes.txt\n",
        "left out, a link: elsewhere\n",
        "vp_1.npz: left out the arrays rho\n",
        "3 models of 7 x 6 cells (depth x width) in 1 files, the first vp_1.npz with shots_1.npy\n",
    ):
        assert line in told


def test_other_properties_are_no_velocity(tmp_path):
    """A name that says density or S wave is refused wherever a model is read; other names that contain one are not."""
    for name in ("MODEL_DENSITY_1.25m", "rho", "vs_marmousi", "Shear-2", "slowness", "impedance_model", "vp_vs_ratio"):
        np.save(tmp_path / f"{name}.npy", models(1)[0, 0])
        for read in (read_velocity, read_models, lambda file: import_files(file, tmp_path / "set")):
            with pytest.raises(InputError, match=r"by its name .* the P-wave velocity in m/s"):
                read(tmp_path / f"{name}.npy")
    np.savez(tmp_path / "model.npz", density=models(1)[0, 0])
    with pytest.raises(InputError, match=r"a density by its name \(density\)"):
        read_velocity(tmp_path / "model.npz")
    for name in ("MODEL_P-WAVE_VELOCITY", "true_vs_start", "waves-2", "rhode_island"):
        assert other_property(name) is None


@pytest.mark.parametrize("stored", [np.float16, ">f4", np.int16, ">f8", "fortran"])
def test_import_number_formats(tmp_path, stored):
    """Byte order, memory order, half precision and integers do not change a value that they can hold."""
    exact = np.round(models(1) / 4) * 4  # halves have 11 bits: multiples of 4 below 8192
    values = np.asfortranarray(exact) if stored == "fortran" else exact.astype(stored)
    np.save(tmp_path / "model1.npy", values)
    np.save(tmp_path / "data1.npy", np.asfortranarray(np.round(gathers(1) * 100).astype(np.int32)))
    import_files(tmp_path, tmp_path / "set")
    record = dataset.data_source(tmp_path / "set", "train")[2]
    np.testing.assert_array_equal(record["velocity"], exact[2, 0])
    np.testing.assert_array_equal(record["gathers"], np.round(gathers(1)[2] * 100))


def bad_gathers(value: float) -> np.ndarray:
    values = gathers(1).astype(np.float64)
    values[2, 1, 3, 4] = value
    return values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bad_gathers(np.nan), r"sample 2 in .*data1.npy have 1 values .* shot 1, time sample 3, receiver 4"),
        (bad_gathers(1e39), "not finite in float32 precision"),
        (gathers(1) * np.float64(1e-60), "too small for single precision"),
        (gathers(1) + 1j, "complex64 values, but gathers are real"),
        (gathers(1) > 0, "bool values"),
    ],
)
def test_import_checks_gathers_first(tmp_path, content, message):
    """Bad values are named with file, sample and place before anything is written."""
    write_pair(tmp_path / "in", 1)
    np.save(tmp_path / "in" / "data1.npy", content)
    with pytest.raises(InputError, match=message):
        import_files(tmp_path / "in", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_import_reports_silent_shots_and_swapped_axes(tmp_path):
    silent = gathers(1).swapaxes(2, 3).copy()
    silent[1, 0] = 0
    np.save(tmp_path / "model1.npy", models(1))
    np.save(tmp_path / "data1.npy", silent)
    told = []
    import_files(tmp_path, tmp_path / "set", report=told.append)
    assert "data1.npy: 1 shots record nothing" in told
    assert "data1.npy: 9 receivers, but 5 time samples: are the axes swapped?" in told


def test_import_keeps_one_pair_in_memory(tmp_path, monkeypatch):
    """While a pair is read, the arrays of the one before it are gone."""
    for number in range(3):
        np.savez(tmp_path / f"model{number}.npz", velocity=models(number), gathers=gathers(number))
    alive = []

    def read(file):
        assert not [array for array in alive if array() is not None]
        found = read_models(file)
        alive.append(weakref.ref(found.velocity.base))
        return found

    monkeypatch.setattr(importing, "read_models", read)
    import_files(tmp_path, tmp_path / "set")
    assert len(alive) == 6  # each file twice: to check and to store it


def test_import_keeps_the_geometry_of_segy(tmp_path):
    """Positions, interval and delay are in the manifest; x is counted from the model's first column."""
    spec: Any = segyio.spec()
    spec.format, spec.samples, spec.tracecount = 5, np.arange(NZ), NX
    with segyio.create(str(tmp_path / "model1.sgy"), spec) as file:
        for i, trace in enumerate(models(1)[0, 0].T):
            file.trace[i], file.header[i] = trace, {segyio.TraceField.CDP_X: 300 + 10 * i}
    spec.samples, spec.tracecount = np.arange(NT) * 2.0, SHOTS * RECEIVERS
    with segyio.create(str(tmp_path / "data1.sgy"), spec) as file:
        for i, trace in enumerate(gathers(1)[0].transpose(0, 2, 1).reshape(-1, NT)):
            words = {"SourceX": 310 + i // RECEIVERS, "GroupX": 300 + 10 * (i % RECEIVERS), "DelayRecordingTime": 8}
            file.trace[i] = trace
            file.header[i] = {getattr(segyio.TraceField, name): value for name, value in words.items()}
        file.bin[segyio.BinField.Interval] = 2000
    recipe = import_files(tmp_path, tmp_path / "set")["recipe"]
    assert (recipe["spacing"], recipe["dt"], recipe["delay"]) == (10.0, 0.002, 0.008)
    assert recipe["sources"] == [[0.0, 10.0], [0.0, 11.0]]
    assert recipe["receivers"] == [[0.0, 10.0 * r] for r in range(RECEIVERS)]


# Splits


@pytest.mark.parametrize(("sizes", "validation", "test"), [((10, 10), 2, 5), ((500, 120, 30), 65, 65), ((7,), 0, 6)])
def test_splits_have_their_share_of_every_folder(sizes, validation, test):
    """A folder's samples in a split are its share, give or take one for each draw; no sample is in two splits."""
    rows = divide(sum(sizes), validation, test, seed=3)
    assert [len(rows[split]) for split in SPLITS] == [sum(sizes) - validation - test, validation, test]
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(sum(sizes)))
    ends = np.cumsum((0, *sizes))
    for split in ("validation", "test"):
        found, _ = np.histogram(rows[split], ends)
        # The draw for validation is among what the draw for test left.
        assert np.abs(found - len(rows[split]) * np.array(sizes) / sum(sizes)).max() < (1 if split == "test" else 2)
    again, other = divide(sum(sizes), validation, test, seed=3), divide(sum(sizes), validation, test, seed=4)
    assert all((again[split] == rows[split]).all() for split in SPLITS)
    assert any((other[split] != rows[split]).any() for split in SPLITS)


def test_import_draws_splits_across_files(tmp_path, monkeypatch, capsys):
    """Each split has both families, whatever the order in which the system lists files; the manifest has the seed."""
    for number, family in enumerate(("CurveVel_A", "FlatVel_A")):
        write_pair(tmp_path / "in" / family, number + 1)
    first = import_files(tmp_path / "in", tmp_path / "set", validation=2, test=2, split_seed=5)
    told = capsys.readouterr().out
    for split in SPLITS:
        assert f"{split}: 2 samples (CurveVel_A 1, FlatVel_A 1), drawn across all files with seed 5\n" in told
    assert first["recipe"]["split_seed"] == 5
    listed = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: reversed(list(listed(self, pattern))))
    second = import_files(tmp_path / "in", tmp_path / "again", validation=2, test=2, split_seed=5)
    assert first == second
    with pytest.raises(InputError, match=r"6 samples: --validation 3 and --test 3 must be 0 or more and leave"):
        import_files(tmp_path / "in", tmp_path / "third", validation=3, test=3)
