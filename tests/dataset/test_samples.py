"""Samples: shots and their wavelets, options of the model, decimation, half precision, and refused configs."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from omegaconf import OmegaConf

from data_gen.common.errors import InputError
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import EARLIER_SOLVER, DataConfig
from data_gen.dataset.recording import Recording, decode, make_recording
from data_gen.dataset.sample import ONLINE, SPLITS, DataSpec
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from data_gen.velocity.density import gardner
from data_gen.velocity.water import add_water
from tests.helpers import ROOT, tiny_config

# One family, which compiles in a third of the time.
ONE_FAMILY = {"families": {"inclusions": {"min_velocity": 2000}}}


def spec_of(**changes) -> DataSpec:
    return tiny_config("unused", **ONE_FAMILY | changes).create()


def made(spec: DataSpec) -> dict[str, jax.Array]:
    """The first training sample, by name."""
    sample = jax.jit(spec.make)(spec.key(0, 0))
    return {name: leaf for name, leaf in sample._asdict().items() if leaf is not None}


def drawn(spec: DataSpec, count: int, what: str) -> np.ndarray:
    """One part of the first draws of the training split, `(count, ...)`."""
    keys = jax.vmap(lambda i: spec.key(0, i))(jnp.arange(count))
    return np.asarray(jax.jit(jax.vmap(lambda key: getattr(spec.draw(key), what)))(keys))


def test_draw_of_one_shot_is_unchanged():
    """Model, row and column come from a sample's first three keys, so older data sets of one shot are unchanged."""
    spec = spec_of()
    one, keys = jax.jit(spec.draw)(spec.key(1, 5)), jax.random.split(spec.key(1, 5), 3)
    model = jax.jit(lambda key: spec.mixture(key, spec.simulation.grid)[0])(keys[0])
    np.testing.assert_allclose(one.velocity, model, rtol=1e-6)
    cell = jax.random.randint(keys[1], (), 2, 21), jax.random.randint(keys[2], (), 0, 20)
    np.testing.assert_array_equal(one.sources, 10.0 * np.array([cell]))
    np.testing.assert_array_equal(one.wavelet, ricker(spec.simulation.time, 15.0).astype(np.float32))


def test_a_sample_of_several_shots():
    """Shapes are as documented; at the stored times the gathers equal the snapshots at the receivers, by shot.

    Within 7 cells of the source gathers have waves that the grid of snapshots cannot hold.
    """
    spec = spec_of(sources=3, gather_every=4)
    sample = made(spec)
    shapes = {name: leaf.shape for name, leaf in sample.items()}
    assert shapes == {
        "family": (),
        "velocity": (24, 20),
        "sources": (3, 2),
        "receivers": (10, 2),
        "wavelet": (121,),
        "snapshots": (3, 3, 24, 20),
        "gathers": (3, 31, 10),
    }
    rows, columns = (np.asarray(sample["receivers"]) / 10).astype(int).T
    scale = float(jnp.abs(sample["snapshots"]).max())
    # Snapshots at steps 80, 100, 120. Both are read off the same field: equal up to rounding.
    at_receivers = np.asarray(sample["snapshots"])[:, :, rows, columns]
    distance = np.linalg.norm(np.asarray(sample["receivers"]) - np.asarray(sample["sources"])[:, None], axis=2)
    difference = np.abs(sample["gathers"][:, [20, 25, 30]] - at_receivers).max(axis=1)
    assert (distance >= 70).any(axis=1).all() and difference[distance >= 70].max() < 1e-6 * scale


def test_shots_placed_at_random_do_not_depend_on_their_number():
    """The first of three shots is the one of a one-shot sample; the others are elsewhere; all lie in the range."""
    one, three = made(spec_of()), made(spec_of(sources=3))
    np.testing.assert_array_equal(three["sources"][:1], one["sources"])
    scale = float(jnp.abs(one["snapshots"]).max())
    np.testing.assert_allclose(three["snapshots"][:1], one["snapshots"], atol=1e-6 * scale)
    z, x = drawn(spec_of(sources=50), 1, "sources")[0].T
    assert z.min() >= 20 and z.max() <= 200 and x.min() >= 0 and x.max() <= 190
    assert len(set(z)) > 10 and len(set(x)) > 10


def test_a_line_of_shots():
    """Shots are evenly spaced, up to rounding to cells, from end to end, at one depth, which varies by sample."""
    sources = drawn(spec_of(sources=5, placement="line"), 8, "sources")
    np.testing.assert_allclose(sources[:, :, 1], np.broadcast_to(np.linspace(0, 190, 5), (8, 5)), atol=5.0)
    assert (sources[:, :, 0] == sources[:, :1, 0]).all() and len(set(sources[:, 0, 0])) > 1
    middle = spec_of(placement="line", source_depths=[10, 10])
    np.testing.assert_array_equal(drawn(middle, 1, "sources")[0, :, 0], [10.0])


def test_drawn_wavelets():
    """Each sample has its own peak frequency within the range; its field is that of the stored wavelet."""
    spec = spec_of(peak_frequency_spread=3.0, order=8)
    wavelets = drawn(spec, 20, "wavelet")
    # 1.2 periods to the peak, at a sample of dt = 1 ms: the frequency to within f^2 dt / 2.4 = 0.14 Hz.
    peaks = [1.2 / (1e-3 * np.argmax(wavelet)) for wavelet in wavelets]
    assert 11.8 < min(peaks) < 14 and 16 < max(peaks) < 18.2
    time = spec.simulation.time
    frequency = 12 + 6 * float(jax.random.uniform(jax.random.split(spec.key(0, 0), 5)[4]))
    # Phases up to (pi f t)^2 = 30 in float32, times 6e-8, and the frequency's own rounding.
    np.testing.assert_allclose(wavelets[0], ricker(time, frequency), atol=2e-5)
    sample = made(spec)
    again = spec.fields(sample["velocity"], sample["sources"], sample["wavelet"])
    np.testing.assert_allclose(sample["snapshots"], again, atol=1e-6 * float(jnp.abs(again).max()))


def test_water_and_density():
    """Below the water lies the unchanged model; density is Gardner's, 1000 in water; the solver uses both."""
    changes = {"density": "gardner", "time_correction": False, "substeps": 2}
    spec, plain = spec_of(**changes, water_depth=[30.0, 60.0], peak_frequency=10.0), spec_of(peak_frequency=10.0)
    for velocity, rock in zip(drawn(spec, 4, "velocity"), drawn(plain, 4, "velocity"), strict=True):
        wet = velocity[:, 0] == 1500.0
        # 30 to 60 m are three to six cells.
        assert 3 <= wet.sum() <= 6 and wet[: wet.sum()].all()
        np.testing.assert_allclose(velocity[~wet], rock[: -wet.sum()], rtol=1e-6)
    sample = made(spec)
    wet = np.asarray(sample["velocity"]) == 1500.0
    np.testing.assert_array_equal(sample["density"][wet], 1000.0)
    np.testing.assert_allclose(sample["density"][~wet], 310 * np.asarray(sample["velocity"])[~wet] ** 0.25, rtol=1e-6)
    survey = spec.survey(sample["sources"])
    expected = simulate(sample["velocity"], survey, spec.simulation, density=sample["density"]).gathers[:, ::4]
    np.testing.assert_allclose(sample["gathers"], expected, atol=1e-5 * float(jnp.abs(expected).max()))


def test_the_time_step_is_safe_for_any_density():
    """dt = 1.25 ms is stable at 4500 m/s, but not where rock of that velocity touches water, as with Gardner's rule.

    The corrected solver shortens its own step.
    """
    step = {"dt": 1.25e-3, "snapshot_times": [0.1], "water_depth": [30.0, 60.0], "order": 4, "peak_frequency": 10.0}
    assert spec_of(**step, **EARLIER_SOLVER).gardner is False
    assert spec_of(**step, density="gardner").gardner
    with pytest.raises(InputError, match="CFL limit"):
        spec_of(**step, **EARLIER_SOLVER, density="gardner")


def test_gardner_and_water():
    """Gardner's rule and the water layer as functions: round numbers, and the depth of the sea floor."""
    np.testing.assert_allclose(
        gardner(jnp.array([[1500.0, 10_000.0, 2500.0]])), [[1000, 3100, 310 * 50**0.5]], rtol=1e-6
    )
    velocity = jnp.full((24, 20), 3000.0)
    wet = add_water(jax.random.key(0), velocity, spec_of().simulation.grid, (40.0, 40.0))
    np.testing.assert_array_equal(wet[:, 3], [1500.0] * 4 + [3000.0] * 20)


def test_a_free_surface_reflects():
    """p = 0 along the first row; the gathers differ from those under an absorbing layer by the ghost."""
    free, absorbed = made(spec_of(free_surface=True)), made(spec_of())
    np.testing.assert_array_equal(free["snapshots"][:, :, 0], 0.0)
    assert jnp.linalg.norm(free["gathers"] - absorbed["gathers"]) > 0.3 * jnp.linalg.norm(absorbed["gathers"])


@pytest.mark.parametrize(("kind", "other"), [("snapshots", "gathers"), ("gathers", "snapshots")])
def test_only_selected_records_are_kept(kind, other):
    whole, part = made(spec_of()), made(spec_of(records=[kind]))
    assert other not in part and ("receivers" in part) == (kind == "gathers")
    # Other records make another program, which may round otherwise.
    scale = float(jnp.abs(whole[kind]).max())
    np.testing.assert_allclose(part[kind], whole[kind], atol=1e-6 * scale)


@pytest.mark.parametrize("largest", [1e-25, 3e-4, 1.0, 65504.0, 7e20])
def test_half_precision(largest):
    """Relative error 2^-11 from the largest value down to 2^-28 of it, whatever its size; none overflows.

    float16 rounds to 11 bits; its normal numbers reach from 2^15 down to 2^-14, and the largest is stored in
    [2^14, 2^15). Scaling by a power of two rounds nothing. Below, the spacing is 2^-24: half of it over 2^14 is 2^-39.
    """
    sizes = largest * 2.0 ** -np.linspace(0, 28, 4001)
    values = jnp.asarray(np.where(np.arange(4001) % 2, sizes, -sizes), jnp.float32)
    stored = Recording(("gathers",), 1, "float16").encode({"gathers": values})
    assert stored["gathers"].dtype == jnp.float16 and bool(jnp.isfinite(stored["gathers"]).all())
    decoded = decode(stored, "gathers").astype(np.float64)
    exact = np.asarray(values, np.float64)
    assert decoded.shape == (4001,) and (np.abs(decoded - exact) <= 2.0**-11 * np.abs(exact)).all()
    assert np.log2(float(stored["gathers_scale"])) % 1 == 0
    tiny = jnp.concatenate([values[:1], values * 2.0**-13])
    error = np.abs(decode(Recording(("g",), 1, "float16").encode({"g": tiny}), "g") - np.asarray(tiny, np.float64))
    assert (error <= 2.0**-11 * np.abs(np.asarray(tiny, np.float64)) + 2.0**-39 * float(abs(tiny[0]))).all()


def test_silence_in_half_precision():
    stored = Recording(("gathers",), 1, "float16").encode({"gathers": jnp.zeros((2, 3))})
    np.testing.assert_array_equal(decode(stored, "gathers", 1), np.zeros(3))


def test_half_precision_on_disk(tmp_path):
    """A data set in float16 equals the one in float32, rounded once; TFDS reads back the stored types."""
    paths = {}
    for precision in ("float32", "float16"):
        sizes = {"train": 2, "validation": 1, "test": 1, "sources": 2, "precision": precision}
        config = tiny_config(tmp_path / precision, **ONE_FAMILY | sizes)
        dataset.generate(config)
        dataset.verify(config.path)
        paths[precision] = config.path
    for i in range(2):
        full, half = (dataset.data_source(paths[name], "train")[i] for name in ("float32", "float16"))
        assert half["snapshots"].dtype == np.float16 and half["velocity"].dtype == np.float32
        for name in ("snapshots", "gathers"):
            # The two programs are compiled apart and round apart (1e-6 of the largest); the rest is 2^-11.
            tolerance = 2.0**-11 * np.abs(full[name]) + 1e-6 * np.abs(full[name]).max()
            assert (np.abs(decode(half, name) - full[name]) <= tolerance).all()


def test_decimation_keeps_the_wavelets_band():
    """At 20 Hz the wavelets reach 50 Hz: 1 / (2 n dt) = 50 Hz at n dt = 10 ms is refused, 9 ms is not."""
    known: dict[str, Any] = {"dt": 1e-3, "peak_frequency": 20.0}
    assert make_recording(["gathers"], 9, "float32", **known).gather_every == 9
    with pytest.raises(InputError, match=r"aliased: one in 10 steps .* below 50 Hz, but .* reach 50 Hz.*at most 9\."):
        make_recording(["gathers"], 10, "float32", **known)
    assert make_recording(["snapshots"], 10, "float32", **known).kinds == ("snapshots",)


def test_streams_are_disjoint():
    """The same index in each split and in the endless stream: four different models."""
    spec = spec_of()
    draw = jax.jit(lambda split: spec.draw(spec.key(split, 3)).velocity)
    assert len({np.asarray(draw(split)).tobytes() for split in (*range(len(SPLITS)), ONLINE)}) == 4


def preset(name):
    """`configs/data/<name>.yaml`."""
    loaded = OmegaConf.load(ROOT / f"configs/data/{name}.yaml")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), loaded))
    assert isinstance(config, DataConfig)
    return config


def test_openfwi_preset():
    """Its records have the shapes of OpenFWI's: 5 shots, 1000 steps, 70 receivers; any of its families will do."""
    spec = replace(preset("openfwi"), families={"flat_vel_a": {}}).create()
    shapes = jax.eval_shape(spec.make, spec.key(0, 0))
    assert shapes.velocity.shape == (70, 70) and shapes.snapshots is None
    assert shapes.gathers is not None and shapes.gathers.shape == (5, 1000, 70)
    np.testing.assert_allclose(drawn(spec, 1, "sources")[0, :, 1], np.linspace(0, 690, 5), atol=5.0)


def test_helmholtz_preset():
    """128 x 128 cells, four frequencies in the wavelet's band, real and imaginary parts."""
    config = preset("wavebench_helmholtz")
    spec = config.create()
    shapes = jax.eval_shape(spec.make, spec.key(0, 0))
    assert shapes.snapshots is None and shapes.gathers is None and shapes.receivers is None
    assert shapes.harmonic is not None and shapes.harmonic.shape == (1, 4, 2, 128, 128)
    spectrum = np.abs(np.exp(-2j * np.pi * np.outer(config.frequencies, spec.simulation.time.times)) @ spec.wavelet)
    assert spectrum.min() > 0.35 * spectrum.max()


def test_harmonic_records(tmp_path):
    """From disk in float16: the solver's fields rounded once, and a second program's rounding (1e-6 of the largest)."""
    sizes = {"train": 1, "validation": 1, "test": 1, "sources": 2, "precision": "float16"}
    chosen = {"records": ["harmonic"], "frequencies": [8.0, 20.0]}
    config = tiny_config(tmp_path / "harmonic", **ONE_FAMILY | sizes | chosen)
    dataset.generate(config)
    dataset.verify(config.path)
    record, spec = dataset.data_source(config.path, "train")[0], config.create()
    survey = spec.survey(record["sources"], record["wavelet"], receivers=False)
    fields = simulate(record["velocity"], survey, spec.simulation).harmonic
    parts, stored = np.stack([fields.real, fields.imag], axis=2), decode(record, "harmonic")
    assert stored.shape == (2, 2, 2, 24, 20)
    assert (np.abs(stored - parts) <= 2.0**-11 * np.abs(parts) + 1e-6 * np.abs(parts).max()).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": 0}, "data.sources must be from 1 to 65536"),
        ({"placement": "circle"}, "data.placement must be one of random, line"),
        ({"placement": "line", "sources": 21}, "line of 21 shots needs at least 21 cells"),
        ({"peak_frequency_spread": 15.0}, "Lower the spread"),
        ({"peak_frequency_spread": -1.0}, "data.peak_frequency_spread must be at least 0"),
        ({"records": []}, "data.records must name one or more"),
        ({"records": ["gathers", "gathers"]}, "each once"),
        ({"records": ["gathers", "spectra"]}, "data.records must be one of snapshots, gathers"),
        ({"records": ["harmonic"]}, "need frequencies that the wavelets contain"),
        ({"records": ["harmonic"], "frequencies": [10.0, 40.0]}, r"\[10.0, 40.0\] and the wavelets reach 37.5 Hz"),
        ({"records": ["harmonic"], "frequencies": [-1.0]}, "data.frequencies must be above 0"),
        ({"snapshot_times": []}, r"data.records=\[gathers\]"),
        ({"precision": "bfloat16"}, "data.precision must be one of float32, float16"),
        ({"gather_every": 0}, "data.gather_every must be at least 1"),
        ({"gather_every": 14}, "at most 13"),
        ({"water_depth": [50.0]}, "data.water_depth must be null or 2 values"),
        ({"water_depth": [50.0, 5000.0]}, "within 0 to 230 m"),
        ({"density": "brocher"}, "data.density must be one of none, gardner"),
        ({"free_surface": True, "source_depths": [0, 50]}, "fires nothing"),
        ({"free_surface": True, "receiver_depth": 0}, "record nothing"),
        ({"source": "tape"}, "data.source must be one of disk, online"),
        ({"train": -1}, "data.train must be from 0"),
        ({"substeps": 0}, "data.substeps must be from 1"),
        ({"substeps": 2}, "Leave substeps out"),
        ({"medium": "nodes"}, "data.medium must be one of"),
        ({"internal_spacing": 0.0}, "data.internal_spacing must be null or above 0"),
        ({"truth_samples": -1}, "data.truth_samples must be from 0"),
    ],
)
def test_bad_samples(changes, message):
    with pytest.raises(InputError, match=message):
        spec_of(**changes)
