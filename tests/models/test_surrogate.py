"""Operators, encodings, losses and metrics: invariances and identities."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from data_gen.common.errors import InputError
from data_gen.solver.simulator import simulate
from surrogate.config import TrainConfig
from surrogate.encodings.registry import make_encoding
from surrogate.encodings.schemas import BackgroundConfig, CoarseConfig, NoneConfig, SourceMapConfig
from surrogate.metrics.errors import band_errors, relative_l2, relative_l2_per_snapshot
from surrogate.models.surrogate import Surrogate, training_statistics
from surrogate.operators.fno import FNO, FNOConfig
from surrogate.operators.layers.spectral import SpectralConv
from surrogate.tasks.wavefield import Wavefield
from tests.helpers import encoding_config, relative, tiny_config

ENCODINGS = ("source_map", "background", "coarse")
SMALL = FNOConfig(width=8, depth=2, modes=[4, 4], mlp_ratio=2)


def test_spectral_conv_is_a_truncated_fft(float64):
    """The restricted matrix products equal rfft2, weights on the kept modes, irfft2: rounding only."""
    conv = SpectralConv(3, 5, (4, 6), rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (2, 17, 20, 3))
    spectrum = jnp.fft.rfft2(x, axes=(1, 2))
    weights = conv.real[...] + 1j * conv.imaginary[...]
    rows = np.arange(-4, 5)
    mixed = jnp.einsum("bjkc,jkcd->bjkd", spectrum[:, rows, :7], weights)
    full = jnp.zeros((2, 17, 11, 5), complex).at[:, rows, :7].set(mixed)
    # irfft2 takes the real part at k_x = 0, where the kept rows need not be conjugate-symmetric.
    expected = jnp.fft.irfft2(full, s=(17, 20), axes=(1, 2))
    assert relative(conv(x), expected) < 1e-12


def test_spectral_conv_commutes_with_translation():
    """On a periodic box, shifting the input shifts the output: float32 rounding."""
    conv = SpectralConv(2, 3, (5, 5), rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (1, 16, 16, 2))
    shifted = jnp.roll(conv(x), (3, 5), axis=(1, 2))
    assert relative(conv(jnp.roll(x, (3, 5), axis=(1, 2))), shifted) < 1e-5


def test_spectral_conv_transfers_between_grids():
    """A field with kept modes only gives the same output at common points of two grids."""
    conv = SpectralConv(1, 1, (3, 3), rngs=nnx.Rngs(0))

    def field(cells):
        z, x = np.meshgrid(*(np.arange(cells) / cells,) * 2, indexing="ij")
        values = np.cos(2 * np.pi * (2 * z + x)) + np.sin(2 * np.pi * (z - 3 * x))
        return jnp.asarray(values[None, ..., None], jnp.float32)

    assert relative(conv(field(48))[:, ::3, ::3], conv(field(16))) < 1e-5


def test_spectral_conv_refuses_a_grid_too_small():
    conv = SpectralConv(1, 1, (8, 8), rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="needs at least 17 x 17"):
        conv(jnp.zeros((1, 16, 16, 1)))


def test_every_block_changes_the_output():
    """Removing any one block, or any one path inside it, changes the prediction."""
    x = jax.random.normal(jax.random.key(0), (1, 16, 16, 3))

    def make():
        model = SMALL.create(3, 2, rngs=nnx.Rngs(0))
        model.project.kernel[...] = jax.random.normal(jax.random.key(1), model.project.kernel[...].shape)
        return model

    full = make()(x)
    for i in range(SMALL.depth):
        for path in ("spectral", "local", "contract"):
            model = make()
            part = getattr(model.blocks[i], path)
            nnx.update(part, jax.tree.map(jnp.zeros_like, nnx.state(part)))
            assert relative(model(x), full) > 1e-3, (i, path)


def test_parameter_count():
    """Lifting, per block (2 norms, spectral pairs, 3x3, MLP), norm and projection, counted by hand."""
    model = SMALL.create(3, 2, rngs=nnx.Rngs(0))
    w, h, modes = 8, 16, 9 * 5
    block = 4 * w + 2 * modes * w * w + (9 * w * w + w) + (w * h + h) + (h * w + w)
    expected = (5 * w + w) + 2 * block + 2 * w + (w * 2 + 2)
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == expected


@pytest.fixture(scope="module")
def batch():
    spec = tiny_config("unused").create()
    keys = jax.vmap(lambda i: spec.key(0, i))(jnp.arange(4))
    return spec, jax.jit(jax.vmap(lambda key: Wavefield(spec).make(key, jnp.array(0))))(keys)


def make_surrogate(spec, name, batch):
    task = Wavefield(spec)
    encoding = make_encoding(encoding_config(name), task)
    operator = SMALL.create(1 + encoding.channels, 3, rngs=nnx.Rngs(0))
    model = Surrogate(task, encoding, operator)
    model.set_statistics(training_statistics(model, [batch]))
    return model


def test_statistics_have_no_unit(batch):
    """Data of an amplitude of 1e20 or 1e-20: the scales follow, though their squares are beyond float32."""
    spec, samples = batch
    task = Wavefield(spec)
    encoding = make_encoding(encoding_config("source_map"), task)
    model = Surrogate(task, encoding, SMALL.create(1 + encoding.channels, 3, rngs=nnx.Rngs(0)))
    expected = training_statistics(model, [samples, samples])
    for unit in (2.0**66, 2.0**-66):
        scaled = training_statistics(model, [samples | {"snapshots": unit * samples["snapshots"]}] * 2)
        np.testing.assert_allclose(scaled.residual_rms / unit, expected.residual_rms, rtol=1e-6)
    # Two-pass: the variance of velocities about their mean, which is ten times their deviation.
    velocities = np.asarray(samples["velocity"], np.float64)
    np.testing.assert_allclose(expected.medium_std[0], velocities.std(), rtol=1e-6)
    np.testing.assert_allclose(expected.medium_mean[0], velocities.mean(), rtol=1e-5)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) for name in ("coarse", "background", "source_map")]
)
def test_training_overfits_one_batch(name, batch):
    """Four samples are learned to 5 % within 300 steps, whatever the encoding: all three train."""
    spec, samples = batch
    model = make_surrogate(spec, name, samples)
    optimizer = nnx.Optimizer(model, optax.adam(optax.cosine_decay_schedule(1e-2, 300)), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        def loss_of(model):
            return jnp.mean(relative_l2(model(samples["velocity"], samples["source"]), samples["snapshots"]))

        loss, gradients = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, gradients)
        return loss

    losses = [float(step(model, optimizer)) for _ in range(300)]
    assert losses[-1] < 0.05, losses[::50]


@pytest.mark.parametrize("name", ["source_map", "background", pytest.param("coarse", marks=pytest.mark.slow)])
def test_gradient_with_respect_to_the_velocity(name, batch):
    """Reverse mode against forward mode and a central difference, in a random direction, in float64.

    At a rough model: where many cells have the very largest velocity, the coarse medium, which is kept within the
    model's range, has a kink.
    """
    spec, samples = batch
    with jax.enable_x64(True):
        model = make_surrogate(spec, name, samples)
        assert isinstance(model.operator, FNO)
        kernel = model.operator.project.kernel
        kernel[...] = 0.1 * jax.random.normal(jax.random.key(4), kernel[...].shape, jnp.float32)
        graphdef, state = nnx.split(model)
        model = nnx.merge(graphdef, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), state))
        velocity, source = (jnp.asarray(x, jnp.float64) for x in (samples["velocity"], samples["source"]))
        direction = 50.0 * jax.random.normal(jax.random.key(3), velocity.shape, jnp.float64)
        velocity += 20.0 * jax.random.normal(jax.random.key(5), velocity.shape, jnp.float64)

        @jax.jit
        def energy(v):
            return jnp.sum(model(v, source) ** 2) * 1e6

        tangent = jax.jit(lambda v: jax.jvp(energy, (v,), (direction,))[1])(velocity)
        central = (energy(velocity + 1e-5 * direction) - energy(velocity - 1e-5 * direction)) / 2e-5
        assert abs(jnp.vdot(jax.jit(jax.grad(energy))(velocity), direction) - tangent) < 1e-10 * abs(tangent)
        assert abs(central - tangent) < 1e-6 * abs(tangent)


def test_background_is_the_field_of_a_homogeneous_medium():
    """In that medium the background field equals the solver's, edges included.

    Float32 rounding and the reflections of the two grids' absorbing layers differ (under 1 %).
    """
    spec = tiny_config("unused").create()
    encoding = make_encoding(BackgroundConfig(velocity=2500.0), Wavefield(spec))
    velocity, source = jnp.full((24, 20), 2500.0), jnp.array([100.0, 60.0])
    field = simulate(velocity, spec.survey(source[None]), spec.simulation).snapshots[0]
    assert relative(encoding(velocity, source).fields, field) < 0.01


def test_coarse_field_approaches_the_fine_one():
    """In a homogeneous medium with 8 coarse points a wavelength the coarse field errs by under 10 %.

    Source and cells are half a cell apart; a misplaced source would err by a phase of 2 pi h / lambda, some 40 %.
    """
    config = tiny_config("unused", nz=48, nx=48, order=8, peak_frequency=8.0, nt=241, snapshot_times=[0.2, 0.24])
    spec = config.create()
    velocity, source = jnp.full((48, 48), 3200.0), jnp.array([200.0, 170.0])
    field = simulate(velocity, spec.survey(source[None]), spec.simulation).snapshots[0]
    _, features, baseline = make_encoding(CoarseConfig(), Wavefield(spec))(velocity, source)
    np.testing.assert_array_equal(features[1::2], baseline)
    assert relative(baseline, field) < 0.1


def test_coarse_field_below_a_free_surface():
    """As above, at a ratio that is no whole number, on a grid of odd sides, with odd and neighboring snapshot steps.

    A surface half a coarse cell deeper would shift the wave that it reflects by 2 pi h / lambda, some 40 %.
    """
    changes = {
        "free_surface": True,
        "order": 8,
        "peak_frequency": 8.0,
        "nt": 242,
        "snapshot_times": [0.239, 0.24, 0.241],
    }
    spec = tiny_config("unused", nz=47, nx=49, **changes).create()
    velocity, source = jnp.full((47, 49), 3200.0), jnp.array([100.0, 170.0])
    field = simulate(velocity, spec.survey(source[None]), spec.simulation).snapshots[0]
    encoding = make_encoding(CoarseConfig(ratio=1.9), Wavefield(spec))
    _, features, baseline = encoding(velocity, source)
    np.testing.assert_array_equal(features[1::2], baseline)
    np.testing.assert_array_equal(features[2::2], baseline[:-1])  # half-way between neighbors is the earlier one
    assert relative(baseline, field) < 0.1
    assert jnp.abs(baseline[:, 0]).max() < 1e-5 * jnp.abs(baseline).max()


def test_walls_between_which_no_coarse_cells_fit():
    """The coarse encoding refuses them and names others, which work; nothing but it needs the coarse solver."""
    task = Wavefield(tiny_config("x", nz=25, absorbing_width=0).create())
    with pytest.raises(
        InputError, match=r"encoding\.ratio=2.*not a whole number.*encoding=source_map and encoding=back"
    ):
        make_encoding(CoarseConfig(), task)
    assert make_encoding(SourceMapConfig(), task) and list(task.methods()) == ["solver"]
    assert make_encoding(CoarseConfig(ratio=2.5), task)


def test_ratios_of_cells():
    """A ratio is above one; on other cells the coarse solver keeps its own, in meters."""
    for ratio in (1.0, -2.0, np.inf, np.nan):
        with pytest.raises(InputError, match=r"encoding\.ratio must be (finite and )?above 1"):
            CoarseConfig(ratio=ratio).check()
    assert CoarseConfig(ratio=1.5).on_spacing(10.0, 5.0) == CoarseConfig(ratio=3.0)


def test_an_encoding_of_other_arrays_is_refused():
    with pytest.raises(InputError, match="encoding must be one of source_map, background, coarse"):
        TrainConfig(data=tiny_config("x"), encoding=NoneConfig()).create()


def test_metrics(batch):
    """Zero for the truth; the bands partition the error's energy; a scaled field errs by exactly the scale."""
    _, samples = batch
    truth = samples["snapshots"]
    np.testing.assert_allclose(relative_l2(1.1 * truth, truth), 0.1, rtol=1e-4)
    np.testing.assert_allclose(relative_l2_per_snapshot(0.8 * truth, truth), 0.2, rtol=1e-4)
    noisy = truth + 0.1 * truth.std() * jax.random.normal(jax.random.key(0), truth.shape)
    energy = 0.0
    for name, error in band_errors(noisy, truth).items():
        mask = {"low": lambda k: k < 4.5, "middle": lambda k: (k >= 4.5) & (k < 12.5), "high": lambda k: k >= 12.5}[
            name
        ]
        cycles = np.hypot(np.fft.fftfreq(24, 1 / 24)[:, None], np.fft.fftfreq(20, 1 / 20)[None])
        reference = np.sum(np.abs(np.fft.fft2(truth) * mask(cycles)) ** 2, axis=(1, 2, 3))
        energy += error**2 * reference
    total = np.sum(np.abs(np.fft.fft2(truth)) ** 2, axis=(1, 2, 3)) * relative_l2(noisy, truth) ** 2
    np.testing.assert_allclose(energy, total, rtol=1e-3)
