"""Wavelets, the band-pass filter and resampling in time against theory: spectra, identities, adjoints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.numerics.resampling import HALF_WIDTH, decimate, substeps, upsample
from data_gen.solver.problem.grid import TimeAxis
from data_gen.solver.problem.wavelets import band_pass, gaussian_derivative, load_wavelet, ormsby, ricker

TIME = TimeAxis(500, 2e-3)
CORNERS = (5.0, 10.0, 40.0, 50.0)
OPERATORS = {
    "band_pass": lambda x: band_pass(x, 4e-3, CORNERS),
    "upsample": lambda x: upsample(x, 3),
    "decimate": lambda x: decimate(x, 3),
}


def tones(frequencies, factor=1, phase=0.3):
    """Tones at fractions of the Nyquist frequency of 200 samples, on an axis `factor` times finer."""
    return jnp.asarray(np.sin(np.pi * np.outer(frequencies, np.arange(199 * factor + 1) / factor) + phase))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_gaussian_derivative(n):
    """The spectrum peaks at the frequency asked for, to half a bin of 0.05 Hz; the peak is 1 and the start rests.

    Hermite's equation gives w'' = -(n + 1) / n (2 pi f)^2 w at an extremum, which samples miss by up to dt / 2.
    """
    w = gaussian_derivative(TIME, 20.0, n)
    assert abs(np.argmax(np.abs(np.fft.rfft(w, 10_000))) * 0.05 - 20.0) < 0.025
    assert 1 - (n + 1) / n * (2 * np.pi * 20.0 * TIME.dt / 2) ** 2 / 2 <= np.abs(w).max() <= 1 + 1e-12
    assert abs(w[0]) < 2e-5
    before = w[: round((0.5 + 0.35 * n) / 20.0 / TIME.dt) + 1]
    assert before[np.argmax(np.abs(before))] > 0
    if n == 2:  # the same function by another formula: rounding only
        np.testing.assert_allclose(w, ricker(TIME, 20.0), rtol=0, atol=1e-13)


@pytest.mark.parametrize("corners", [CORNERS, (0.0, 0.0, 40.0, 50.0)])
def test_ormsby_spectrum(corners):
    """Flat from f2 to f3 at 1 / (f4 + f3 - f2 - f1), nothing outside f1 to f4.

    Side lobes stay under C / t^2, C = (1 / (f4 - f3) + 1 / (f2 - f1)) / (pi^2 (f4 + f3 - f2 - f1)); cutting them at T
    on both sides changes the spectrum by at most 2 C / T.
    """
    time, half = TimeAxis(5001, 4e-3), 10.0
    f1, f2, f3, f4 = corners
    sides = f4 + f3 - f2 - f1
    bound = 2 * (1 / (f4 - f3) + (1 / (f2 - f1) if f2 else 0)) / (np.pi**2 * sides * half)
    w = ormsby(time, corners, delay=half)
    assert w[2500] == pytest.approx(1.0, abs=1e-14)
    frequencies = np.fft.rfftfreq(time.nt, time.dt)
    expected = np.interp(frequencies, corners, [float(f2 == 0), 1, 1, 0]) / sides
    np.testing.assert_allclose(np.abs(np.fft.rfft(w)) * time.dt, expected, rtol=0, atol=bound)
    assert abs(ormsby(time, corners)[0]) < 0.01  # where the default delay promises to cut


def test_band_pass_keeps_and_removes(float64):
    """Tones under a Gaussian of 0.3 s are 0.5 Hz wide: a flank 10 Hz off is 20 deviations away, so rounding only."""
    t = np.arange(1501) * 4e-3
    kept, removed = (jnp.asarray(np.cos(2 * np.pi * f * t) * np.exp(-(((t - 3) / 0.3) ** 2) / 2)) for f in (22, 62))
    out = band_pass(jnp.stack([kept, removed]), 4e-3, CORNERS)
    np.testing.assert_allclose(out, jnp.stack([kept, 0 * kept]), rtol=0, atol=1e-12)
    # Without a low cut a constant passes: of the response, under 1 / (4 pi (10 Hz)^2 t^3), what is past 8 s is missing.
    low = band_pass(jnp.ones(4001), 4e-3, (0.0, 0.0, 40.0, 50.0))
    assert low[2000] == pytest.approx(1.0, abs=1 / (4 * np.pi * 10.0**2 * 8.0**2))
    # The filter does not wrap around: a short record comes out as the middle of a long one with zeros around it.
    around = jnp.pad(out[0, 700:800], (700, 900))
    short, long = band_pass(out[0, 700:800], 4e-3, CORNERS), band_pass(around, 4e-3, CORNERS)
    np.testing.assert_allclose(short, long[700:800], rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", OPERATORS)
def test_linear_and_differentiable(name, float64):
    """<A x, y> = <x, A* y> and A is its own derivative, batched or not; band_pass is its own adjoint: rounding only."""
    operator, keys = OPERATORS[name], jax.random.split(jax.random.key(1), 2)
    x = jax.random.normal(keys[0], (2, 3, 100))
    out, adjoint = jax.vjp(operator, x)
    y = jax.random.normal(keys[1], out.shape)
    scale = 1e-12 * float(jnp.linalg.norm(out) * jnp.linalg.norm(y))
    assert abs(jnp.vdot(out, y) - jnp.vdot(x, adjoint(y)[0])) < scale
    if name == "band_pass":
        assert abs(jnp.vdot(out, y) - jnp.vdot(x, operator(y))) < scale
    tangent = jax.jit(lambda v: jax.jvp(operator, (x,), (v,))[1])(2.0 * x)
    np.testing.assert_allclose(tangent, 2.0 * out, rtol=0, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(operator)(x), out, rtol=0, atol=1e-12)
    np.testing.assert_allclose(operator(x[0, 0].astype(jnp.float32)), out[0, 0], rtol=0, atol=2e-5)
    assert operator(x[:0]).shape == (0, *out.shape[1:])


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_resampled_tones(factor, float64):
    """Away from the ends tones are kept to 1e-3 and, above the Nyquist frequency, suppressed by 60 dB."""
    inner, kept = slice(HALF_WIDTH, -HALF_WIDTH), (0.0, 0.1, 0.45, 0.8)
    coarse, fine = tones(kept), tones(kept, factor)
    up = upsample(coarse, factor)
    down, back, folded = decimate(jnp.stack([fine, up, tones((1.0, 1.01, 1.3, 1.9), factor)]), factor)
    assert jnp.abs(up - fine)[:, HALF_WIDTH * factor : -HALF_WIDTH * factor].max() < 1e-3
    assert jnp.abs(down - coarse)[:, inner].max() < 1e-3
    assert jnp.abs(back - coarse)[:, 2 * HALF_WIDTH : -2 * HALF_WIDTH].max() < 1e-3
    assert jnp.abs(folded)[:, inner].max() < 1e-3
    np.testing.assert_allclose(up[:, ::factor], coarse, rtol=0, atol=1e-14)  # the old samples stay
    np.testing.assert_allclose(down[:, -1], fine[:, -1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("frequency", [0.06, 0.12, 0.25])
def test_cut_traces(frequency, float64):
    """Near a cut the error falls as frequency squared, for any phase; continuing by zeros would leave 1/2.

    The continuation misses a tone by 2 (1 - cos w s), about (w s)^2, at s > 0. Summed after Abel against sinc(s + x),
    at worst over x, that leaves 0.038 w^2 on the samples, and 0.0106 w^2 in the integral against the low-pass (s and x
    in samples). The filters' own ripple is 3e-4.
    """
    square = (np.pi * frequency) ** 2
    for phase in np.linspace(0, np.pi, 7):
        coarse, fine = tones([frequency], 1, phase), tones([frequency], 4, phase)
        assert jnp.abs(upsample(coarse, 4) - fine)[:, 400:].max() < 0.041 * square + 3e-4
        assert jnp.abs(decimate(fine, 4) - coarse)[:, 100:].max() < 0.011 * square + 3e-4


def test_substeps():
    """The smallest count, also where the division is inexact."""
    assert [substeps(1e-3, limit) for limit in (2e-3, 1e-3, 0.9e-3, 0.5e-3, 0.3e-3)] == [1, 1, 2, 2, 4]
    for count in range(1, 200):
        assert substeps(0.7, 0.7 / count) == count
        assert 1e-3 / substeps(1e-3, 1.1e-3 / count) <= 1.1e-3 / count


@pytest.mark.parametrize("dt", [0.5e-3, 2e-3, 5e-3])
def test_loaded_wavelets(dt, tmp_path):
    """A Ricker of 12 Hz recorded finer, alike or coarser: the filter's 3e-4 at most; 400 Hz on top does not fold."""
    own = TimeAxis(round(0.5 / dt), dt)
    samples, expected = ricker(own, 12.0), ricker(TIME, 12.0)
    np.savez(tmp_path / "w.npz", wavelet=samples, dt=dt)
    np.save(tmp_path / "w.npy", samples + (np.sin(800 * np.pi * own.times) * samples if dt < 1e-3 else 0))
    np.savetxt(tmp_path / "w.txt", samples)
    atol = 1e-15 if dt == TIME.dt else 3e-4
    for name, given in (("w.npz", None), ("w.npy", dt), ("w.txt", dt)):
        loaded = load_wavelet(tmp_path / name, TIME, dt=given)
        np.testing.assert_allclose(loaded[: int(0.45 / TIME.dt)], expected[: int(0.45 / TIME.dt)], rtol=0, atol=atol)


def test_errors(tmp_path):
    """Each says what was wrong, before anything runs."""
    files = {"a.wav": None, "long.npy": np.ones(501), "flat.npy": np.ones((3, 3)), "nan.npy": np.array([0, np.nan])}
    files |= {"zero.npy": np.zeros(9), "object.npy": np.array([{}, 1]), "word.npy": np.array(["a", "b"])}
    for name, array in files.items():
        (tmp_path / name).touch()
        if array is not None:
            np.save(tmp_path / name, array, allow_pickle=True)
    (tmp_path / "text.txt").write_text("1.0\ntwo\n")
    np.savez(tmp_path / "other.npz", trace=np.ones(3))
    np.savez(tmp_path / "step.npz", wavelet=np.ones(3), dt=-1.0)
    for name in (*files, "none.npy", "text.txt", "other.npz", "step.npz"):
        with pytest.raises(InputError, match=name.split(".")[0]):
            load_wavelet(tmp_path / name, TIME)
    for bad in ((5, 10, 40), (5, 5, 9, 20), (5, 10, 9, 20), (-1, 1, 2, 3), (5, 10, 40, 250), (np.nan, 1, 2, 3)):
        for call in (lambda c: ormsby(TIME, c), lambda c: band_pass(jnp.ones(9), TIME.dt, c)):
            with pytest.raises(InputError, match="Nyquist"):
                call([float(f) for f in bad])
    for call in (
        lambda: ricker(TIME, 0.0), lambda: gaussian_derivative(TIME, 20.0, 0), lambda: substeps(0.0, 1.0),
        lambda: upsample(jnp.ones(4), 0), lambda: decimate(jnp.ones(4), 2),
    ):  # fmt: skip
        with pytest.raises(InputError):
            call()
