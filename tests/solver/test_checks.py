"""Bad input is reported in one paragraph, before anything is compiled."""

import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.checks import DispersionWarning
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate

GRID, TIME = Grid((20, 30), 10.0), TimeAxis(50, 1e-3)


def run(velocity=2500.0, source=(50.0, 60.0), receiver=(20.0, 30.0), wavelet=None, density=None, **options):
    settings = {"max_velocity": 3000.0, "peak_frequency": 15.0, "order": 8}
    simulation = Simulation(GRID, TIME, **(settings | options))
    survey = make_survey([source], [receiver], ricker(TIME, 15.0) if wavelet is None else wavelet)
    return simulate(np.broadcast_to(np.float32(velocity), GRID.shape), survey, simulation, density=density)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_velocity": 9000.0}, r"CFL limit: dt = 0\.001 s .* 10 m .* 9000 m/s, .* dt = 0\.000616"),
        ({"velocity": 9000.0}, r"CFL limit: dt = 0\.001 s .* 10 m .* 9000 m/s, .* dt = 0\.000616"),
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


def test_too_few_points_per_wavelength_warn_with_the_number():
    with pytest.warns(DispersionWarning, match=r"1\.6 points per wavelength .*37\.5 Hz, slowest velocity 600 m/s"):
        run(velocity=600.0)


def test_good_input_is_not_warned_about(recwarn):
    assert jnp.isfinite(run().gathers).all()
    assert not [w for w in recwarn if issubclass(w.category, DispersionWarning)]
