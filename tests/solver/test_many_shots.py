"""Shots over devices and in groups give the numbers of all shots at once, and take the memory of one group."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.many_shots import shot_mesh, simulate_shots
from data_gen.solver.memory_plan import peak_bytes, plan_memory
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from tests.helpers import relative

# Five points to the shortest wave: what is compared are two ways to compute the same waves.
pytestmark = pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")

SHOTS = 5
GRID, TIME = Grid((24, 30), 10.0), TimeAxis(61, 1.5e-3)
SIMULATION = Simulation(GRID, TIME, 3200.0, 20.0, order=4, snapshot_steps=(30, 60))
SOURCES = [[20.0, 40.0 * shot] for shot in range(1, SHOTS + 1)]
VELOCITY = 2400.0 + 600.0 * jax.random.uniform(jax.random.key(0), GRID.shape)
FIXED = [[20.0, 10.0 * i] for i in range(30)]
MOVING = [[[20.0, x + offset] for offset in (-20.0, 10.0, 30.0)] for _, x in SOURCES]


def survey(receivers, sources=SOURCES):
    return make_survey(sources, receivers, ricker(TIME, 20.0))


@pytest.mark.parametrize(
    ("devices", "at_once", "receivers"),
    [
        (4, None, FIXED),
        (1, 2, MOVING),
        pytest.param(2, 1, MOVING, marks=pytest.mark.slow),
        pytest.param(3, 2, [], marks=pytest.mark.slow),
    ],
)
def test_records_and_gradients_of_all_shots_at_once(devices, at_once, receivers):
    """To 1e-5: another program may round the medium otherwise (6e-8), which grows in 60 steps."""
    shots = survey(receivers)
    mesh = None if devices == 1 else shot_mesh(jax.devices()[:devices])
    split = partial(simulate_shots, survey=shots, simulation=SIMULATION, mesh=mesh, at_once=at_once)
    whole = partial(simulate, survey=shots, simulation=SIMULATION)

    def energy(run):
        def of(velocity):
            records = run(velocity)
            return jnp.sum(records.gathers**2) + jnp.sum(records.snapshots**2), records

        return jax.jit(jax.grad(of, has_aux=True))

    (slope, records), (expected_slope, expected) = energy(split)(VELOCITY), energy(whole)(VELOCITY)
    assert records.gathers.shape == expected.gathers.shape and records.snapshots.shape == (SHOTS, 2, *GRID.shape)
    assert relative(records, expected) < 1e-5
    assert relative(slope, expected_slope) < 1e-5


@pytest.mark.slow
def test_several_sources_with_a_density():
    """Through XLA, whose derivatives of variable density are those of the scan."""
    pairs = survey(FIXED, [[source, [60.0, 100.0]] for source in SOURCES])
    density = 1000.0 + 0.3 * VELOCITY
    split = simulate_shots(VELOCITY, pairs, SIMULATION, density=density, mesh=shot_mesh(), at_once=1)
    assert relative(split, simulate(VELOCITY, pairs, SIMULATION, density=density)) < 1e-5


@pytest.mark.parametrize(
    ("mesh", "at_once", "shots", "message"),
    [
        (jax.make_mesh((4,), ("data",)), None, SHOTS, "mesh axis named 'shots'"),
        (shot_mesh(), None, 3, "3 shots cannot be split over 4 devices"),
        (None, 0, SHOTS, "at least one shot at once"),
    ],
)
def test_wrong_splits(mesh, at_once, shots, message):
    with pytest.raises(InputError, match=message):
        simulate_shots(VELOCITY, survey(FIXED, SOURCES[:shots]), SIMULATION, mesh=mesh, at_once=at_once)


def compiled_bytes(simulation, at_once, derivative):
    """The memory of a compiled derivative, without the native loop's own, which XLA does not see."""
    run = partial(simulate_shots, survey=survey(FIXED), simulation=simulation, at_once=at_once)

    def data(velocity):
        return run(velocity).gathers

    def gradient(velocity):
        return jax.grad(lambda v: jnp.sum(data(v) ** 2))(velocity)

    def gauss_newton(velocity, direction):
        _, push_forward = jax.linearize(data, velocity)
        return jax.linear_transpose(push_forward, velocity)(push_forward(direction))

    def hessian(velocity, direction):
        return jax.jvp(gradient, (velocity,), (direction,))[1]

    chosen = {"gradient": gradient, "gauss_newton": gauss_newton, "hessian": hessian}[derivative]
    arguments = (VELOCITY,) if derivative == "gradient" else (VELOCITY, VELOCITY)
    analysis = jax.jit(chosen).lower(*arguments).compile().memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes


@pytest.mark.parametrize(
    ("derivative", "at_once"),
    [
        ("gradient", 1),
        pytest.param("hessian", 1, marks=pytest.mark.slow),
        pytest.param("gradient", None, marks=pytest.mark.slow),
        pytest.param("gauss_newton", None, marks=pytest.mark.slow),
        pytest.param("gauss_newton", 1, marks=pytest.mark.slow),
        pytest.param("hessian", None, marks=pytest.mark.slow),
    ],
)
def test_a_group_takes_the_memory_that_is_predicted(derivative, at_once):
    """To a fifth, as for gradients of all shots: every step is kept, so that the past is nearly everything."""
    kept = replace(SIMULATION, snapshot_steps=(), memory=Memory("full"))
    predicted = peak_bytes(kept, SHOTS, len(FIXED), strategy="full", derivative=derivative, at_once=at_once)
    assert abs(predicted / compiled_bytes(kept, at_once, derivative) - 1) < 0.2


def test_groups_as_large_as_fit():
    """All at once if they fit, by any exact strategy; else groups; a device's memory for one shot is the least."""
    xla = replace(SIMULATION, backend="xla", snapshot_steps=())

    def peak(strategy, at_once=None, derivative="gradient"):
        return peak_bytes(xla, 12, 30, strategy=strategy, derivative=derivative, at_once=at_once)

    def plan(budget, **options):
        found = plan_memory(xla, 12, 30, budget, groups=True, **options)
        return found.memory, found.at_once

    assert plan(peak("full")) == (Memory("full"), None)
    assert plan(peak("full") - 1) == (Memory("recompute"), None)
    least = min(peak(strategy) for strategy in ("recompute", "boundary"))
    memory, at_once = plan(least - 1)
    assert memory == Memory("full") and at_once in (1, 2, 3, 4, 6) and peak("full", at_once) < least
    assert peak("full", 12 if at_once == 6 else at_once + 1) >= least or at_once == 6
    assert "shots in groups of" in str(plan_memory(xla, 12, 30, least - 1, groups=True))
    assert plan(peak("full"), derivative="hessian")[1] is not None  # three pasts do not fit where one does
    with pytest.raises(InputError, match=r"12 shots do not fit into .*, not even one at a time"):
        plan(1000)
    with pytest.raises(InputError, match="must be one of gradient, gauss_newton, hessian"):
        peak("full", derivative="third")
