"""What an inversion is given is checked before anything is compiled, and the message names the place."""

import warnings
from dataclasses import replace

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax.typing import ArrayLike

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker
from data_gen.common.errors import InputError
from surrogate.inversion.checks import SilentDataWarning, check_fastest
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.descent import invert
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.misfits.registry import MISFITS
from tests.helpers import relative
from tests.inversion.toy import Toy
from tests.theory import BARE

START, TRUTH = jnp.full(Toy.shape, 2450.0), jnp.full(Toy.shape, 2500.0).at[3:].set(2700.0)
OBSERVED = Toy()(TRUTH)


def run(observed: ArrayLike = OBSERVED, start: ArrayLike = START, misfit="l2", **options):
    return invert(Toy(), observed, start, InversionConfig(iterations=5, misfit=misfit), **options)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (START / 1000, "starting model .*looks like km/s"),
        (START * 0 + 1200, r"starting model leaves inversion.bounds = \[1500, 4500\] m/s in 30 of its 30 free cells"),
        (START.at[3, 3].set(jnp.nan), r"starting model has 1 values that are not finite, the first at index \(3, 3\)"),
        (START[:, 0], r"starting model has the shape \(6,\)"),
    ],
)
def test_bad_starts(start, message):
    with pytest.raises(InputError, match=message):
        run(start=start)


def test_half_precision_is_computed_in_float32():
    """2450 is a float16, so the start is the same, and the estimate is that of float32."""
    result = run(start=START.astype(jnp.float16))
    assert result.velocity.dtype == np.float32
    np.testing.assert_array_equal(result.velocity, run().velocity)


@pytest.mark.parametrize(
    ("observed", "message"),
    [
        (OBSERVED[:1], r"shape \(1, 8, 4\) cannot be compared .* shape \(3, 8, 4\)"),
        (OBSERVED[:, :, 0], r"shape \(3, 8\) cannot be compared"),
        (
            OBSERVED.at[1, 5, 2].set(jnp.nan),
            "1 values that are not finite, the first in shot 1, trace 2, at time sample 5",
        ),
        (OBSERVED * 0, "zero everywhere"),
    ],
)
def test_bad_observed_data(observed, message):
    with pytest.raises(InputError, match=message):
        run(observed)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((3, 4)), r"shape \(3, 4\) do not fit data of the shape \(3, 8, 4\)"),
        (np.ones((2, 1, 4)), r"shape \(2, 1, 4\) do not fit"),
        (-np.ones((3, 1, 4)), "finite and not negative"),
        (np.zeros((3, 1, 4)), "some must be positive"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(InputError, match=message):
        run(weights=weights)


@pytest.mark.parametrize("misfit", ["l2", "global_correlation"])
def test_dead_traces_are_named_and_left_out(misfit):
    """Dead traces of weight zero change nothing: with them replaced by NaN, the estimate is the same, bit for bit.

    Without weights a warning names them. They pull the estimate of l2 away; a misfit that normalizes traces leaves them
    out by itself, but for rounding.
    """
    dead = OBSERVED.at[:, :, 3].set(0.0).at[1].set(0.0)
    with pytest.warns(SilentDataWarning, match="shot 0, traces 3; shot 1, all traces; shot 2, traces 3"):
        spoilt = run(dead, misfit=misfit).velocity
    weights = np.ones((3, 1, 4))
    weights[:, :, 3] = weights[1] = 0
    with warnings.catch_warnings(action="error"):
        left_out = run(jnp.where(dead == 0, jnp.nan, dead), misfit=misfit, weights=weights).velocity
        clean = run(misfit=misfit, weights=weights).velocity
    np.testing.assert_array_equal(left_out, clean)
    pulled = relative(spoilt, clean)
    assert pulled > 1e-4 if misfit == "l2" else pulled < 1e-5


def test_the_estimate_is_the_best_one():
    """Steps that are far too long end worse than they start: the start is the estimate then, and the result says so."""
    forward = Toy()
    result = invert(forward, forward(TRUTH), TRUTH + 10.0, InversionConfig(iterations=4, learning_rate=800.0))
    assert result.misfit[-1] > result.misfit[0] and result.best == result.misfit.argmin() == 0
    np.testing.assert_array_equal(result.velocity, TRUTH + 10.0)


def test_the_solver_decides_which_estimate_is_best():
    """A forward model that is off by 100 m/s fits ever better while the true misfit rises again past the truth."""

    class Shifted(Toy):
        def __call__(self, velocity):
            return super().__call__(velocity - 100.0)

    truth = jnp.full(Toy.shape, 2600.0)
    config = InversionConfig(iterations=40, learning_rate=10.0, check_every=5)
    solver = Toy()
    result = invert(Shifted(), solver(truth), truth - 60.0, config, solver=solver, truth=truth)
    assert result.misfit[-1] < result.misfit[result.best]
    assert result.best == np.nanargmin(result.true_misfit) and 0 < result.best < 40
    assert result.model_error[result.best] < result.model_error[-1]


@pytest.mark.parametrize(
    ("observed", "start", "message"),
    [
        (OBSERVED + 1j, START, "observed data must be an array of real numbers"),
        (np.ma.masked_less(np.asarray(OBSERVED), 0), START, "observed data must have a number everywhere"),
        (OBSERVED, START * (1 + 0j), "starting model must be an array of real numbers"),
    ],
)
def test_arrays_of_other_values(observed, start, message):
    with pytest.raises(InputError, match=message):
        run(observed, start)


def test_float64_files_need_no_word():
    """`np.load` gives float64, which JAX takes as float32 by default; no warning asks the user to do anything."""
    with warnings.catch_warnings(action="error"):
        double = run(np.asarray(OBSERVED, float), np.asarray(START, float), truth=np.asarray(TRUTH, float))
    np.testing.assert_array_equal(double.velocity, run().velocity)


def test_settings_are_whole_and_of_their_type(monkeypatch):
    """The suite checks types before; a user's program does not."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(InputError, match=r"inversion.iterations must be a whole number, but is 2\.5"):
        InversionConfig(iterations=2.5).check()  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="settings of an inversion are an InversionConfig"):
        invert(Toy(), OBSERVED, START, {"iterations": 2})  # pyright: ignore[reportArgumentType]


def test_bounds_within_which_the_solver_is_unstable():
    """At 10 m and 1 ms the fourth order is stable up to sqrt(3/8) 1e4 = 6124 m/s; cells held fixed count, too.

    By default the time step follows max_velocity, with 1.05 times as much for a medium that overshoots: 4725 m/s.
    """
    grid, time = Grid((12, 12), 10.0), TimeAxis(16, 1e-3)
    survey = make_survey([[50.0, 50.0]], [[20.0, 20.0]], ricker(time, 20.0))
    simulation = Simulation(grid, time, 4500.0, 20.0, widths=(4, 4, 4, 4))
    forward = PhysicsForward(replace(simulation, **BARE), survey)
    start, held = jnp.full(grid.shape, 3000.0), np.zeros(grid.shape, bool)
    check_fastest(forward, start, [1500.0, 6100.0], held)
    with pytest.raises(InputError, match=r"inversion.bounds = \[1500, 6150\] .*Lower the upper bound.* CFL limit"):
        check_fastest(forward, start, [1500.0, 6150.0], held)
    held[:3] = True
    with pytest.raises(InputError, match="CFL limit"):
        check_fastest(forward, start.at[:3].set(6150.0), [1500.0, 4500.0], held)
    held[:] = False
    corrected = PhysicsForward(simulation, survey)
    check_fastest(corrected, start, [1500.0, 4724.0], held)
    with pytest.raises(InputError, match=r"inversion.bounds = \[1500, 4730\] .*Set max_velocity=4730"):
        check_fastest(corrected, start, [1500.0, 4730.0], held)


@pytest.mark.parametrize("misfit", MISFITS)
def test_misfits_do_not_broadcast(misfit, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(InputError, match=r"shape \(3, 8, 4\) cannot be compared .*shape \(3, 8, 1\)"):
        MISFITS[misfit](OBSERVED, OBSERVED[:, :, :1])
