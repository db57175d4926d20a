"""Families of velocity models: what their recipes promise, and that a key means one model, however it is drawn."""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import label
from scipy.special import gamma, kv

from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.density import gardner
from data_gen.velocity.families.gaussian_lens import GaussianLens
from data_gen.velocity.families.gaussian_random_field import GaussianRandomField
from data_gen.velocity.registry import FAMILIES, make_family, make_mixture, pin_files
from data_gen.velocity.water import add_water

GRID, COUNT = Grid((40, 34), 10.0), 48
FILE_FREE = [name for name in FAMILIES if name != "crops"]


def draw(family, grid=GRID, count=COUNT, seed=0):
    """Models `(count, nz, nx)` of a family."""
    keys = jax.random.split(jax.random.key(seed), count)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(lambda key: family(key, grid), keys))(keys))


@cache
def models(name):
    return draw(make_family(name, {}))


@pytest.fixture
def section(tmp_path) -> Path:
    """A user's file: 60 x 90 cells, all velocities different."""
    path = tmp_path / "section.npy"
    np.save(path, np.random.default_rng(0).permutation(5400).reshape(60, 90).astype(np.float32) / 2 + 1600)
    return path


@pytest.mark.parametrize("name", FILE_FREE)
def test_in_range_and_different(name):
    """Models stay within the range of their family, are not constant, and differ for different keys."""
    family, drawn = make_family(name, {}), models(name)
    assert drawn.shape == (COUNT, *GRID.shape) and np.isfinite(drawn).all()
    assert drawn.min() >= np.float32(family.min_velocity) and drawn.max() <= np.float32(family.max_velocity)
    assert len({model.tobytes() for model in drawn}) == COUNT
    # Folds and faults may carry the only interface of an older family out of sight, hence not `all`.
    assert (drawn.std(axis=(1, 2)) > 1.0).mean() > 0.9


@pytest.mark.parametrize(
    "name", ["curve_fault_b", "style_b", "anisotropic_random_field", "gaussian_lens", "salt", "inclusions", "crops"]
)
def test_draws_are_reproducible(name, section):
    """Models drawn alone, in batches of 3 and 16, and in a loop have the same bits, on a grid with odd sides.

    Without `reproducible`, lens, inclusions and style fail this in their last bits.
    """
    options = {"path": str(section), "max_scale": 1.4, "warp": 0.05} if name == "crops" else {}
    family, grid = make_family(name, options), Grid((31, 23), 10.0)
    keys = jax.random.split(jax.random.key(1), 16)
    alone = jax.jit(lambda key: family(key, grid))
    batched = jax.jit(jax.vmap(lambda key: family(key, grid)))
    expected = np.stack([alone(key) for key in keys])
    # 16 is drawn in the loop below: vmap is that loop, by `sequential_vmap`.
    np.testing.assert_array_equal(batched(keys[:3]), expected[:3])
    np.testing.assert_array_equal(draw(family, grid, 16, seed=1), expected)


def test_draws_of_a_mixture_are_reproducible():
    mixture = make_mixture({"flat_vel_b": {}, "gaussian_lens": {}})
    keys = jax.random.split(jax.random.key(1), 16)
    alone = jax.jit(lambda key: mixture(key, GRID))
    batched = jax.jit(jax.vmap(lambda key: mixture(key, GRID)))
    looped = jax.jit(lambda keys: jax.lax.map(lambda key: mixture(key, GRID), keys))
    for drawn in (batched(keys), looped(keys)):
        for i in range(16):
            model, family = alone(keys[i])
            np.testing.assert_array_equal(drawn[0][i], model)
            assert drawn[1][i] == family


@pytest.mark.parametrize("name", ["flat_vel_a", "flat_vel_b", "curve_vel_a", "curve_vel_b"])
def test_layers(name):
    """A: never slower below. B: not so. Flat: constant along x. Layers: as many as stated, `contrast` apart."""
    drawn, options = models(name), FAMILIES[name].keywords
    increases = (np.diff(drawn, axis=1) >= 0).all(axis=(1, 2))
    assert increases.all() if name.endswith("a") else increases.mean() < 0.2
    if name.startswith("flat"):
        assert (drawn == drawn[:, :, :1]).all()
    counts = np.array([len(np.unique(model)) for model in drawn])
    assert counts.max() <= options.get("max_layers", 5)
    if name.startswith("flat"):  # folds may carry a layer out of sight, flat layers are all thicker than a cell
        assert set(counts) == set(range(options.get("min_layers", 2), options.get("max_layers", 5) + 1))
    # 100 m/s, less the rounding of a velocity in single precision.
    contrasts = np.concatenate([np.asarray(np.diff(np.unique(model)), np.float64) for model in drawn])
    assert contrasts.min() > 99.9


@pytest.mark.parametrize(("name", "faults"), [("flat_fault_a", 1), ("flat_fault_b", 3)])
def test_flat_layers_change_along_x_only_at_faults(name, faults):
    """A row crosses each fault once, or twice where a younger one has offset it: at most 2^faults - 1 changes."""
    changes = (np.diff(models(name), axis=2) != 0).sum(axis=2)
    assert changes.max() <= 2**faults - 1
    assert (changes.max(axis=1) > 0).mean() > 0.95


def test_one_fault_repeats_layers_at_most_once():
    """Ordered layers under a single fault: going down, velocity drops at most once, where the fault is crossed."""
    for name in ("flat_fault_a", "curve_fault_a"):
        assert (np.diff(models(name), axis=1) < 0).sum(axis=1).max() <= 1


def test_style_b_is_rougher_than_a_and_spans_the_range():
    """Both reach both bounds in every model; the mean step between neighbors is larger in B."""
    a, b = models("style_a"), models("style_b")
    for drawn in (a, b):
        np.testing.assert_allclose(drawn.min(axis=(1, 2)), 1500.0, rtol=1e-6)
        np.testing.assert_allclose(drawn.max(axis=(1, 2)), 4500.0, rtol=1e-6)
    assert np.abs(np.diff(b, axis=2)).mean() > 1.3 * np.abs(np.diff(a, axis=2)).mean()


@pytest.mark.parametrize("options", [{}, {"anisotropy": 3.0}, {"anisotropy": 3.0, "dip": 90.0}])
def test_random_field_statistics(options):
    """Uniform velocities, whose correlation is the theory's: Matern's for the field, `6/pi asin(r/2)` once uniform.

    200 fields of 64 x 64 cells, correlation length 40 m (120 m along the strata): 200 (640/40)(640/120)/8, about
    2,000, independent patches at worst, so a deviation of 1/sqrt(2000) = 0.022; three of them, and 0.01 for the
    spectrum cut off at the grid's wavenumber (1/(1 + (pi 4)^2) = 0.6 % of the variance).
    """
    family = GaussianRandomField(correlation_length=40.0, **options)
    drawn = draw(family, Grid((64, 64), 10.0), 200).astype(float)
    assert abs(drawn.mean() - 3000) < 3 * 866 * 0.022
    assert abs(drawn.std() - 3000 / np.sqrt(12)) < 0.05 * 866
    centered = (drawn - 3000) / 866
    lengths = np.array([40.0, 40.0 * options.get("anisotropy", 1.0)])
    if options.get("dip"):
        lengths = lengths[::-1]
    for axis, length in enumerate(lengths):
        for cells in (2, 4, 8):
            scaled = 10.0 * cells / length
            matern = 2 ** (1 - family.roughness) / gamma(family.roughness) * scaled * kv(family.roughness, scaled)
            here, there = np.moveaxis(centered, axis + 1, 0)[:-cells], np.moveaxis(centered, axis + 1, 0)[cells:]
            assert abs((here * there).mean() - 6 / np.pi * np.arcsin(matern / 2)) < 0.076


def test_lens_is_round_and_slow_at_its_center():
    """A centered lens equals its mirror image and its transpose; v decreases toward the middle."""
    for model in draw(GaussianLens(offset=0.0), Grid((33, 33), 10.0), 8):
        for image in (np.flipud(model), np.fliplr(model), np.transpose(model)):
            np.testing.assert_allclose(model, image, rtol=1e-6)
        assert model.argmin() == 16 * 33 + 16
        assert (np.diff(model[16, 16:]) >= 0).all()


def test_salt_is_one_body_in_ordered_sediments():
    """Every model has one connected body of salt; outside, velocity grows with depth and is below that of salt."""
    for model in models("salt"):
        salt = model == np.float32(4480.0)
        assert 20 < salt.sum() < 0.6 * salt.size
        assert label(salt, np.ones((3, 3)), output=np.zeros(salt.shape, int)) == 1
        assert model[~salt].max() <= 3500
        both = ~salt[1:] & ~salt[:-1]
        assert (np.diff(model, axis=0)[both] >= 0).all()


def test_crops_are_sub_images(section):
    """Without scale and warp, each model is a window of the file or its mirror image; both occur, at many places."""
    image = np.load(section)
    places = set()
    for model in draw(make_family("crops", {"path": str(section)}), count=32):
        row, column = (int(i[0]) for i in np.where(image == model[0, 0]))
        mirrored = model[0, 1] != image[row, min(column + 1, 89)]
        window = model[:, ::-1] if mirrored else model
        first = column - 33 if mirrored else column
        np.testing.assert_array_equal(window, image[row : row + 40, first : first + 34])
        places.add((row, first, bool(mirrored)))
    assert len(places) > 25 and {mirrored for *_, mirrored in places} == {True, False}


def test_warped_crops_keep_range_and_order(tmp_path):
    """The warp never folds the model over itself: every crop of a file that grows with depth grows with depth."""
    path = tmp_path / "gradient.npz"
    np.savez(path, velocity=np.linspace(1500, 4500, 90)[:, None] * np.ones((1, 80)), spacing=10.0)
    family = make_family("crops", {"path": str(path), "max_scale": 1.5, "warp": 0.1})
    drawn = draw(family)
    assert (np.diff(drawn, axis=1) > 0).all()
    assert (np.abs(np.diff(drawn, axis=2)).max(axis=(1, 2)) > 0).all()
    assert drawn.min() >= 1500 and drawn.max() <= 4500


def test_crops_are_tied_to_their_file(section):
    """The config holds the hash of the file; changed, missing and too small files are refused."""
    config = {"mine": {"family": "crops", "path": str(section), "weight": 2}, "flat_vel_a": None}
    pinned = pin_files(config)
    assert len(pinned["mine"]["sha256"]) == 64 and pinned["flat_vel_a"] == {}
    mixture = make_mixture(pinned)
    assert mixture == make_mixture(config) and hash(mixture) == hash(make_mixture(config))
    with pytest.raises(InputError, match="too few for windows"):
        make_family("crops", {"path": str(section)})(jax.random.key(0), Grid((80, 80), 10.0))
    image = np.load(section)
    image[0, 0] += 1
    np.save(section, image)
    with pytest.raises(InputError, match="is not the one"):
        make_mixture(pinned)
    assert pin_files(config)["mine"]["sha256"] != pinned["mine"]["sha256"]
    with pytest.raises(InputError, match="need the `path`"):
        make_family("crops", {})


def test_mixture_weights():
    """In 600 draws with weights 1:3 from one family under two names, each count is within four binomial deviations."""
    mixture = make_mixture({"slow": {"family": "flat_vel_a", "max_velocity": 2500}, "flat_vel_a": {"weight": 3}})
    assert mixture.names == ("slow", "flat_vel_a")
    keys = jax.random.split(jax.random.key(5), 600)
    drawn, families = jax.jit(lambda keys: jax.lax.map(lambda key: mixture(key, Grid((12, 4), 10.0)), keys))(keys)
    assert abs((families == 0).sum() - 150) < 4 * np.sqrt(600 * 0.25 * 0.75)
    assert drawn[families == 0].max() <= 2500 < drawn[families == 1].max()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"granite": {}}, r"Unknown family .*'granite': choose from"),
        ({"inclusions": {"radius": 3}}, "Unknown inclusions parameters"),
        ({"inclusions": {"weight": 0}}, "positive weight"),
        ({"inclusions": {"weight": "much"}}, "must be a number"),
        ({"flat_vel_a": {"curved": "false"}}, "must be true or false, but curved"),
        ({"flat_vel_a": {"max_layers": 2.5}}, "must be integers, but max_layers"),
        ({"flat_vel_a": {"max_layers": 40}}, "do not fit"),
        ({"salt": {"sediment_velocity": 5000}}, "Salt is faster"),
        ({"gaussian_lens": {"min_velocity": 4100}}, "0 < min_velocity < max_velocity"),
    ],
)
def test_bad_configs(config, message):
    with pytest.raises(InputError, match=message) as error:
        make_mixture(config)
    assert "\n" not in str(error.value)


def test_gardner():
    """Rock of 2 km/s has 2073 kg/m^3 (310 2000^(1/4)); water keeps its own density; salt is in its range."""
    density = gardner(jnp.array([1480.0, 1500.0, 1501.0, 2000.0, 4500.0]))
    np.testing.assert_allclose(density, [1000, 1000, 310 * 1501**0.25, 2073.1, 2539.0], rtol=1e-4)


def test_water_lies_on_top():
    """The model moves down under water of the drawn depth; equal depths fix it; every depth of a range occurs."""
    model = jnp.asarray(models("curve_vel_b")[0])
    under = add_water(jax.random.key(0), model, GRID, (70.0, 70.0))
    assert (under[:7] == 1500).all() and (under[7:] == model[:-7]).all()
    keys = jax.random.split(jax.random.key(1), 64)
    deep = jax.vmap(lambda key: add_water(key, model + 10, GRID, (0.0, 30.0)))(keys)
    assert set(np.asarray((deep[:, :, 0] == 1500).sum(axis=1)).tolist()) == {0, 1, 2, 3}
    with pytest.raises(InputError, match="rock below"):
        add_water(jax.random.key(0), model, GRID, (0.0, 5000.0))
