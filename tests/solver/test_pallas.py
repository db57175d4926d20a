"""The on-chip kernel against the solver, in Pallas' interpreters on the CPU, and its translation for CUDA.

Both do the same float32 arithmetic in another order: 40 steps, each rounding at 6e-8, are far below 1e-5.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.experimental import on_chip
from data_gen.solver.experimental.on_chip import make_layout, simulate_on_chip
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from tests.helpers import relative
from tests.theory import BARE

pytestmark = pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")


def problem(order=4, widths=(3, 3, 3, 3), *, shape=(5, 6), nt=40, off=0.0, **options):
    """Two shots next to the sides, three receivers; `off` [m] moves them off the grid."""
    grid, time = Grid(shape, 10.0), TimeAxis(nt, 1.5e-3)
    simulation = Simulation(grid, time, 3000.0, 30.0, order, widths, half_width=2 if off else 0, **options)
    sources, receivers = [[20.0, 10.0], [30.0, 40.0]], [[10.0, 10.0], [10.0, 40.0], [30.0, 20.0]]
    survey = make_survey(np.array(sources) + off, np.array(receivers) + off, ricker(time, 30.0))
    z, x = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    return jnp.asarray(2300.0 + 300.0 * np.sin(z) + 300.0 * np.cos(x)), survey, simulation


@pytest.mark.parametrize(
    ("order", "widths", "options"),
    [
        (2, (0, 0, 0, 0), BARE | {"substeps": 2}),
        (4, (0, 2, 3, 2), {}),
        (4, (0, 2, 3, 0), {"off": 3.7, "free_surface": True}),
        (8, (3, 0, 0, 2), {}),
    ],
)
def test_agrees_with_the_solver(order, widths, options):
    """CPML, rigid walls and a free surface on each side and none, points on and off the grid."""
    velocity, survey, simulation = problem(order, widths, **options)
    expected = simulate(velocity, survey, simulation).gathers
    assert relative(simulate_on_chip(velocity, survey, simulation, interpret=True), expected) < 1e-5


def test_batches_of_models():
    """`vmap` over models adds a dimension to the kernel's grid."""
    velocity, survey, simulation = problem(2, (2, 2, 2, 2))
    models = jnp.stack([velocity, 0.9 * velocity])
    expected = jax.vmap(lambda v: simulate(v, survey, simulation).gathers)(models)
    run = partial(simulate_on_chip, survey=survey, simulation=simulation, interpret=True)
    assert relative(jax.vmap(run)(models), expected) < 1e-5


@pytest.mark.slow
def test_threads(monkeypatch):
    """Two warpgroups, simulated with their barrier and with shared memory that starts as NaN: no race between them.

    Each that waits holds a thread of XLA's pool: four, on two cores, would wait for ever.
    """
    params = pytest.importorskip("jax._src.pallas.mosaic_gpu.interpret.params")
    callbacks = pytest.importorskip("jax._src.pallas.mosaic_gpu.interpret.gpu_callbacks")
    monkeypatch.setattr(on_chip, "WARPGROUPS", 2)
    velocity, survey, simulation = problem(2, (2, 0, 0, 2), shape=(4, 7), nt=6)
    survey = survey._replace(sources=survey.sources[:1], wavelets=jnp.ones((1, 6)))
    interpret = params.InterpretGPUParams(detect_races=True)
    gathers = simulate_on_chip(velocity, survey, simulation, interpret=interpret)
    assert relative(gathers, simulate(velocity, survey, simulation).gathers) < 1e-5
    assert not callbacks.get_races().races_found


@pytest.mark.parametrize("models", [False, True])
def test_translates_for_cuda(models):
    """Layouts, memory spaces and barriers pass Mosaic's checks; compiling its module takes CUDA's plugin."""
    velocity, survey, simulation = problem(8, (3, 0, 0, 2))
    run = partial(simulate_on_chip, survey=survey, simulation=simulation)
    traced = jax.jit(jax.vmap(run)).trace(velocity[None]) if models else jax.jit(run).trace(velocity)
    assert "mosaic_gpu" in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_budget():
    """70 x 70 cells fit at every order; a larger grid is refused with its bytes.

    Three fields of 160 + 4 rows and a kilobyte for the barrier; four of 160 rows in registers; rows of 512 bytes.
    """
    for order in (2, 4, 6, 8):
        make_layout(problem(order, (20, 20, 20, 20), shape=(70, 70))[2], on_chip.WARPGROUPS)
    velocity, survey, simulation = problem(4, (20, 20, 20, 20), shape=(120, 70))
    with pytest.raises(InputError, match=r"160 x 110 cells .* 252928 bytes of shared memory and 327680 bytes of reg"):
        simulate_on_chip(velocity, survey, simulation)


@pytest.mark.parametrize("lacking", [{"internal_spacing": 15.0}, {"snapshot_steps": (3,)}, {"frequencies": (10.0,)}])
def test_what_the_kernel_lacks(lacking):
    velocity, survey, simulation = problem(**lacking)
    with pytest.raises(InputError, match=r"gathers only.*use simulate"):
        simulate_on_chip(velocity, survey, simulation)


def test_variable_density_is_refused():
    velocity, survey, simulation = problem()
    with pytest.raises(InputError, match="constant density"):
        simulate_on_chip(velocity, survey, simulation, density=jnp.ones_like(velocity))
