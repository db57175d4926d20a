"""Bad input is reported in one paragraph, before anything is compiled."""
# pyright: reportArgumentType=false
# Arguments of wrong types are the point here.

import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.memory_plan import peak_bytes
from data_gen.solver.problem.acquisition import Survey, make_survey
from data_gen.solver.problem.checks import (
    BandWarning,
    DispersionWarning,
    GrowthWarning,
    check_inputs,
    largest_local_velocity,
    safe_steps,
)
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from tests.theory import BARE

GRID, TIME = Grid((20, 30), 10.0), TimeAxis(50, 1e-3)


def run(velocity=2500.0, source=(50.0, 60.0), receiver=(20.0, 30.0), wavelet=None, density=None, **options):
    settings = {"max_velocity": 3000.0, "peak_frequency": 15.0, "order": 8}
    simulation = Simulation(GRID, TIME, **(settings | options))
    survey = make_survey([source], [receiver], ricker(TIME, 15.0) if wavelet is None else wavelet)
    return simulate(np.broadcast_to(np.float32(velocity), GRID.shape), survey, simulation, density=density)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_velocity": 9000.0, **BARE}, r"dt = 0\.001 s .* 10 m .* 9000 m/s, .* dt = 0\.000616.* take substeps=2 "),
        (
            {"max_velocity": 9000.0, "time_correction": False},
            r"9450 m/s \(max_velocity = 9000 m/s times 1\.05, as .*over",
        ),
        ({"max_velocity": 9000.0, "time_step": 1e-3}, r"9450 m/s \(.* dt = 0\.0005869 s. Set time_step=0\.0005693, or"),
        ({"velocity": 9000.0, **BARE}, r"CFL limit: dt = 0\.001 s .* 10 m .* 9000 m/s, .* dt = 0\.000616"),
        ({"velocity": 9000.0, "medium": "samples"}, r"CFL limit.* 9000 m/s, .*Raise max_velocity, which is 3000 m/s"),
        ({"velocity": 9000.0}, r"reaches 9000 m/s, .* above 3150 m/s would be cut off. Set max_velocity=9000, or"),
        ({"velocity": 9000.0, "density": np.full(GRID.shape, 2000.0)}, "above 3150 m/s would be cut off"),
        ({"substeps": 2}, "substeps=2. Leave substeps out, set time_step"),
        ({"time_step": 1e-3, **BARE}, "time_step=0.001 needs time_correction=True"),
        ({"time_step": 4e-3}, r"at most 0\.003533 s, .* but time_step=0\.004 s. Leave it out"),
        ({"frequencies": (70.0,)}, r"between zero and 60 Hz \(4 peak frequencies"),
        ({"velocity": 2.5}, "looks like km/s. Meters per second are meant"),
        ({"velocity": np.nan}, "600 values that are not finite"),
        ({"velocity": 0.0}, "positive everywhere, but its smallest value is 0"),
        ({"velocity": -1500.0}, "positive everywhere, but its smallest value is -1500"),
        ({"source": (50.0, 900.0)}, "source lies outside the grid"),
        ({"source": (np.nan, 60.0)}, "source lies outside the grid"),
        ({"receiver": (-30.0, 30.0)}, "receiver lies outside the grid"),
        ({"source": (52.0, 60.0)}, "source lies between grid points.*half_width=4"),
        ({"wavelet": np.ones(40)}, r"expected the shape \(1, 50\) for sources of shape \(1, 2\), got \(1, 40\)"),
        ({"density": np.zeros(GRID.shape)}, "density model must be finite and positive"),
        ({"density": np.ones((3, 3))}, r"grid's shape \(20, 30\)"),
        ({"order": 5}, "order in space must be one of"),
        ({"widths": (1, 2, 3, -4)}, "four cell counts"),
        ({"snapshot_steps": (3, 60)}, "ascend within 0 .. 49"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(InputError, match=message):
        run(**changes)


@pytest.fixture
def unchecked(monkeypatch):
    """Types of arguments are checked by the tests' import hook only: users see the errors behind it."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


LINE = np.stack([np.full(5, 20.0), np.arange(5) * 20.0], axis=1)
WAVELET = ricker(TIME, 15.0)


@pytest.mark.parametrize(
    ("sources", "receivers", "wavelet", "message"),
    [
        (LINE, LINE.T, WAVELET, r"receivers must have the shape .* but have \(2, 5\). Transpose them"),
        (LINE.T, LINE, WAVELET, r"sources must have the shape .* but have \(2, 5\). Transpose them"),
        (LINE, np.ones((5, 3)), WAVELET, r"but have \(5, 3\)"),
        (LINE, np.ones((1, 5, 5, 2)), WAVELET, r"but have \(1, 5, 5, 2\)"),
        ([20.0, 40.0], LINE, WAVELET, r"but have \(2,\). Write a single source as \[\[z, x\]\]"),
        (LINE, [20.0, 40.0], WAVELET, r"Write a single receiver as \[\[z, x\]\]"),
        (5.0, LINE, WAVELET, r"but have \(\)"),
        ([], LINE, WAVELET, r"but have \(0,\)"),
        (np.zeros((0, 2)), LINE, WAVELET, r"at least one source .* shape \(0, 2\)"),
        (LINE, np.ones((3, 5, 2)), WAVELET, r"receivers have the shape \(3, 5, 2\) .* sources \(5, 2\): 5 shots"),
        (LINE, LINE, np.ones((2, 50)), r"\(5, nt\) for sources of shape \(5, 2\), got \(2, 50\)"),
        (LINE, LINE, np.ones((1, 50)), r"\(5, nt\) for sources of shape \(5, 2\), got \(1, 50\)"),
        (LINE[None], LINE, np.ones((1, 50)), r"\(1, 5, nt\) for sources of shape \(1, 5, 2\), got \(1, 50\)"),
        (LINE, LINE, 1.0, r"got \(\)"),
        (LINE, LINE, 1j * WAVELET, "array of real numbers.*complex"),
        (LINE, LINE, WAVELET > 0, "array of real numbers.*bool"),
        (LINE, LINE, WAVELET.astype(object), "array of real numbers.*object"),
        (LINE, LINE, WAVELET.astype(">f4"), "type >f4.*astype"),
        (LINE, LINE, np.ma.masked_less(WAVELET, 0), "masked"),
        (LINE, [[20.0, 30.0], [20.0]], WAVELET, "rows of one length"),
        (None, LINE, WAVELET, "got a NoneType"),
        ("abc", LINE, WAVELET, "got a str"),
    ],
)
def test_surveys_of_wrong_shapes_and_types(sources, receivers, wavelet, message):
    """A survey is refused where it is made; one made by hand is refused by `simulate`, traced or not."""
    with pytest.raises(InputError, match=message):
        make_survey(sources, receivers, wavelet)
    arrays = (sources, receivers, np.broadcast_to(wavelet, (5, 50)) if np.shape(wavelet) == (50,) else wavelet)
    if all(isinstance(array, np.ndarray) and array.dtype == float for array in arrays) and message != "masked":
        simulation = Simulation(GRID, TIME, 3000.0, 15.0)
        shapes = Survey(*(jax.ShapeDtypeStruct(array.shape, jnp.float32) for array in arrays))
        with pytest.raises(InputError):
            jax.eval_shape(lambda survey: simulate(np.full(GRID.shape, 2500.0), survey, simulation), shapes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"velocity": np.full((30, 20), 2500.0)}, r"shape \(20, 30\) .* but has \(30, 20\). Transpose it"),
        ({"velocity": np.full((4, 20, 30), 2500.0)}, r"has \(4, 20, 30\). Map a batch of models by jax.vmap"),
        ({"velocity": 2500.0}, r"has \(\)"),
        ({"velocity": np.full(GRID.shape, 2500 + 1j)}, "complex"),
        ({"velocity": np.full(GRID.shape, True)}, "bool"),
        ({"velocity": None}, "velocity model must be an array of real numbers.*NoneType"),
        ({"density": np.full(GRID.shape, 2000 + 1j)}, "density model must be .*complex"),
        ({"survey": (LINE, LINE, WAVELET)}, "survey is made by make_survey"),
        ({"survey": Survey(LINE.tolist(), LINE, WAVELET)}, "Sources of a survey must be an array.*list"),
        ({"survey": Survey(LINE, LINE, np.full((5, 50), np.nan))}, r"not finite: number \[0, 0\] of \(5, 50\)"),
        (
            {"survey": make_survey(np.add(LINE, (0.0, 200.0))[:, ::-1], LINE, WAVELET)},
            "With z and x exchanged it would not",
        ),
        ({"survey": make_survey(LINE / 1000, LINE, WAVELET)}, "in km are meant in meters"),
        ({"survey": make_survey(LINE / 10 + 1, LINE, WAVELET)}, "numbers of cells, multiply .* spacing of 10 m"),
        ({"survey": make_survey(LINE / 1000, LINE / 1000, WAVELET), "half_width": 4}, "looks like km"),
        (
            {"survey": make_survey(LINE - [20.0, 0.0], LINE, WAVELET), "free_surface": True},
            "source lies on the free surf",
        ),
        ({"survey": make_survey(LINE, LINE - [20.0, 0.0], WAVELET), "free_surface": True}, "records zeros.* z = 10 m"),
        ({"survey": Survey(LINE, LINE, np.ones((5, 40)))}, r"\(5, 50\) for sources of shape \(5, 2\), got \(5, 40\)"),
    ],
)
def test_inputs_of_simulate(changes, message, unchecked):
    options = {name: changes[name] for name in ("half_width", "free_surface") if name in changes}
    simulation = Simulation(GRID, TIME, 3000.0, 15.0, 4, (0, 8, 8, 8), **options)
    arrays = {"velocity": np.full(GRID.shape, 2500.0), "survey": make_survey(LINE, LINE, WAVELET)} | changes
    models = {name: arrays[name] for name in ("density",) if name in arrays}
    with pytest.raises(InputError, match=message):
        simulate(arrays["velocity"], arrays["survey"], simulation, **models)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TimeAxis(60.5, 1e-3), "nt must be a whole number"),
        (lambda: TimeAxis(True, 1e-3), "nt must be a whole number"),
        (lambda: TimeAxis(60, np.nan), "dt must be a finite number"),
        (lambda: TimeAxis(60, "1e-3"), "dt must be a finite number"),
        (lambda: Grid((24, 20), np.inf), "spacing must be a finite number"),
        (lambda: Grid(24, 10.0), "shape must be a sequence"),
        (lambda: Grid("ab", 10.0), "shape must be a sequence"),
        (lambda: Memory(every=2.5), "every must be a whole number"),
        (lambda: Simulation(GRID, TIME, 3.0, 15.0), "max_velocity = 3 looks like km/s"),
        (lambda: Simulation((20, 30), TIME, 3000.0, 15.0), "grid must be a Grid"),
        (lambda: Simulation(GRID, TIME, 3000.0, 15.0, memory="boundary"), "memory must be a Memory"),
        (lambda: Simulation(GRID, TIME, 3000.0, 15.0, free_surface="no"), "free_surface must be True or False"),
        (lambda: Simulation(GRID, TIME, 3000.0, 15.0, half_width=-1), "half_width counts cells"),
        (lambda: Simulation(GRID, TIME, 3000.0, 15.0, half_width=100), "wider than the grid"),
        (lambda: Simulation(GRID, TIME, 3000.0, 15.0, snapshot_steps=[1.5]), "Each of snapshot_steps"),
        (lambda: Simulation(GRID, TIME, 3000.0, 600.0), "not below the Nyquist frequency of 500 Hz"),
        (lambda: Simulation(GRID, TimeAxis(50, 1.0), 3000.0, 15.0), r"in milliseconds, write dt=0\.001"),
        (lambda: Simulation(Grid((20, 30), 0.01), TIME, 3000.0, 15.0), "looks like a spacing in kilom"),
        (lambda: Simulation(Grid((4, 60), 10.0), TIME, 3000.0, 15.0, 8, (0, 0, 5, 5), free_surface=True), "more cells"),
        (lambda: ricker(TimeAxis(50, 1.0), 15.0), r"in milliseconds, write dt=0\.001"),
        (lambda: jax.jit(lambda v: Simulation(GRID, TIME, v, 15.0))(3000.0), "max_velocity .* known before JAX traces"),
    ],
)
def test_settings(make, message, unchecked):
    with pytest.raises(InputError, match=message):
        make()


def test_a_stencil_wider_than_the_grid_is_refused():
    """A wall continues the field by its mirror image, of order - 1 cells where there is a density."""
    narrow = Grid((20, 4), 10.0)
    simulation = Simulation(narrow, TIME, 3000.0, 15.0, 8, (5, 5, 0, 0))
    velocity = np.full(narrow.shape, 2500.0)
    with pytest.raises(InputError, match=r"density model needs more cells .* reaches 7 cells"):
        simulate(velocity, make_survey([[20.0, 10.0]], [], WAVELET), simulation, density=velocity)


def test_numbers_of_other_types_make_the_same_simulation(unchecked):
    """Lists, NumPy and JAX numbers hash and compare as the tuples that they stand for."""
    plain = Simulation(GRID, TIME, 3000.0, 15.0, 4, (0, 8, 8, 8), (3, 5), frequencies=(10.0,))
    grid, time = Grid(np.array([20, 30]), np.float64(10.0)), TimeAxis(np.int64(50), np.float64(1e-3))
    lists = {"widths": [0, 8, 8, 8], "snapshot_steps": np.array([3, 5]), "frequencies": [jnp.float32(10.0)]}
    other = Simulation(grid, time, jnp.float32(3000.0), 15, np.int32(4), **lists)
    assert {other.snapshot_steps, other.grid.shape, other.widths} == {(3, 5), (20, 30), (0, 8, 8, 8)}
    assert other == plain and hash(other) == hash(plain)


def test_bound_on_the_velocity_counts_every_face_of_the_stencil():
    """Air over rock: order 2 sees the faces next to a cell, order 8 those of four cells away, too."""
    z = np.arange(40)[:, None] * np.ones((1, 12))
    velocity, density = np.where(z < 12, 340.0, 3000.0), np.where(z < 12, 1.2, 2000.0)
    grid = Grid(velocity.shape, 10.0)
    bounds = [
        largest_local_velocity(velocity, density, Simulation(grid, TimeAxis(50, 1e-4), 3000.0, 15.0, order, **BARE))
        for order in (2, 8)
    ]
    near = 2 / (density[12, 0] + 1.2), 1 / density[12, 0]
    assert bounds[0] == pytest.approx(3000.0 * np.sqrt(density[12, 0] * (near[0] + 3 * near[1]) / 4))
    assert bounds[1] > 2 * bounds[0]
    flat = largest_local_velocity(
        velocity, np.ones_like(density), Simulation(grid, TimeAxis(50, 1e-4), 3000.0, 15.0, 8, **BARE)
    )
    assert flat == pytest.approx(3000.0)


def test_too_few_points_per_wavelength_warn_with_the_number():
    with pytest.warns(DispersionWarning, match=r"1\.6 points per wavelength .*37\.5 Hz, slowest velocity 600 m/s"):
        run(velocity=600.0)


def test_thin_layers_next_to_slower_cells_warn_with_the_safe_steps():
    """50 N^2 steps where another layer absorbs what runs along, 4 N^2 between walls; slow layers feed nothing."""
    slow_below = np.where(np.arange(GRID.shape[0]) < 10, 3000.0, 2500.0)[:, None] * np.ones(GRID.shape[1])

    def safe(widths, model=slow_below):
        return safe_steps(model, Simulation(GRID, TIME, 3000.0, 15.0, widths=widths))

    assert [safe(widths) for widths in ((3, 9, 4, 9), (3, 9, 0, 0), (0, 3, 0, 0))] == [450, 36, np.inf]
    assert safe((1, 1, 1, 1), np.full(GRID.shape, 2500.0)) == np.inf
    with pytest.warns(GrowthWarning, match=rf"can double in 4 of the {TIME.nt} internal steps"):
        run(velocity=slow_below, widths=(1, 0, 0, 0), **BARE)


def test_a_wavelet_beyond_the_band_without_temporal_dispersion_warns():
    """A spike has most of its amplitude above 3.5 peak frequencies, a Ricker wavelet cut by the record's end little."""
    grid, time = Grid((20, 30), 10.0), TimeAxis(200, 1e-3)
    simulation = Simulation(grid, time, 3000.0, 15.0, 8)

    def survey(wavelet):
        return make_survey([[50.0, 60.0]], [[20.0, 30.0]], wavelet)

    def found(wavelet, **changes) -> list:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            check_inputs(np.full(grid.shape, 2500.0), survey(wavelet), replace(simulation, **changes))
        return [str(warning.message) for warning in raised if warning.category is BandWarning]

    spike = np.eye(time.nt)[100]
    assert "above 52.5 Hz, 3.5 times peak_frequency=15" in found(spike)[0]
    assert not found(spike, time_correction=False)
    assert not found(ricker(time, 15.0)) and not found(ricker(time, 15.0, delay=0.15))
    assert found(ricker(time, 30.0)) and not found(ricker(time, 30.0), peak_frequency=30.0)


def test_good_input_is_not_warned_about(recwarn):
    assert jnp.isfinite(run().gathers).all()
    assert not [w for w in recwarn if issubclass(w.category, DispersionWarning | GrowthWarning)]


@pytest.mark.parametrize(
    ("dtype", "backend"), [(jnp.bfloat16, "xla"), *((kind, "auto") for kind in (jnp.float16, np.int16, np.float64))]
)
def test_models_of_other_types_are_simulated_in_single_precision(dtype, backend):
    """The records are those of the same velocities in float32, and so is the predicted memory."""
    simulation = Simulation(GRID, TIME, 3000.0, 15.0, widths=(0, 0, 0, 0), backend=backend)
    survey = make_survey([(50.0, 60.0)], [(20.0, 30.0)], ricker(TIME, 15.0))
    velocity = np.full(GRID.shape, 2500.0).astype(dtype)
    gathers = simulate(velocity, survey, simulation).gathers
    assert gathers.dtype == jnp.float32
    np.testing.assert_array_equal(gathers, simulate(velocity.astype(np.float32), survey, simulation).gathers)
    assert peak_bytes(simulation, 1, 1, velocity.dtype) == peak_bytes(simulation, 1, 1)
