"""Every derivative that one engine has, all have, at once and in the loops over shots that bound memory.

Engines map the stiffness m, the injections q and the receivers' weights to gathers and fields: models, wavelets and
positions enter by nothing else. 40 steps of rounding, two sums deep: 1e-12.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from data_gen.solver.engines import rules, scan
from data_gen.solver.engines.native import NativeEngine
from data_gen.solver.engines.xla_adjoint import ReversalEngine
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.medium import Medium
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from tests.helpers import relative

STEPS = 40
ENGINES = {
    "scan": (None, Memory("full")),
    "scan recomputes": (None, Memory("recompute", every=7)),
    "XLA keeps": (ReversalEngine(), Memory("full")),
    "XLA runs backwards": (ReversalEngine(), Memory("boundary")),
    "native keeps": (NativeEngine(), Memory("full")),
    "native recomputes": (NativeEngine(), Memory("recompute", every=7)),
    "native runs backwards": (NativeEngine(), Memory("boundary")),
}


def one_shot(engine):
    """The map from m `(20, 18)`, weights `(2, 2)` and q `(steps, 3)` to gathers and fields, with one layer."""
    loop, memory = ENGINES[engine]
    grid, time = Grid((16, 18), 10.0), TimeAxis(STEPS, 1e-3)
    simulation = Simulation(grid, time, 3000.0, 25.0, 2, (0, 4, 0, 0), memory=memory, time_correction=False)
    geometry = jnp.array([70, 71, 71], jnp.int32), jnp.array([[100, 101], [200, 0]], jnp.int32)

    def shoot(m, weights, q):
        arguments = (q, *geometry, weights, simulation)
        if loop is None:
            return scan.propagate(Medium(m, None), *arguments)
        return rules.propagate(m, *arguments, engine=loop)

    return shoot


def by_scan(shoot, m, weights, q):
    """One group of shots after the other, and a sum carried along."""

    def group(total, q):
        gathers, fields = jax.vmap(shoot, (None, None, 0))(m, weights, q)
        return total + jnp.sum(gathers), (gathers, fields)

    total, records = lax.scan(group, 0.0, q[:, None])
    return jax.tree.map(lambda x: x[:, 0], records), total


def with_total(records):
    return records, jnp.sum(records[0])


LOOPS = {
    "at once": lambda shoot, m, weights, q: with_total(jax.vmap(shoot, (None, None, 0))(m, weights, q)),
    "map": lambda shoot, m, weights, q: with_total(lax.map(partial(shoot, m, weights), q)),
    "scan": by_scan,
}


def draw(seed):
    """Values for m, weights and q: velocities of 2400 to 3000 m/s."""
    keys = jax.random.split(jax.random.key(seed), 3)
    m = 6.0 + 3.0 * jax.random.uniform(keys[0], (20, 18))
    return m, jax.random.normal(keys[1], (2, 2)), jax.random.normal(keys[2], (2, STEPS, 3))


@cache
def derivatives(engine, loop):
    """Records and their derivatives by m, weights and q, each compiled in the same program."""
    point, direction = draw(0), draw(1)
    records = partial(LOOPS[loop], one_shot(engine))

    def misfit(*point):
        (gathers, _), total = records(*point)
        return jnp.sum(jnp.sin(gathers)) + total**2

    def along(*point):
        return sum(jnp.vdot(g, d) for g, d in zip(gradient(*point), direction, strict=True))

    gradient = jax.grad(misfit, (0, 1, 2))

    def compute():
        values, born = jax.jvp(records, point, direction)
        return {
            "records": values,
            "jvp": born,
            "gradient": gradient(*point),
            "Gauss-Newton": jax.vjp(records, *point)[1](born),
            "transpose in the wavelets": jax.linear_transpose(partial(records, *point[:2]), point[2])(born),
            "forward over reverse": jax.jvp(gradient, point, direction)[1],
            "reverse over reverse": jax.grad(along, (0, 1, 2))(*point),
        }

    return jax.jit(compute)()


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("engine", "loop"),
    [
        *(("native keeps", loop) for loop in LOOPS),
        *((engine, "scan") for engine in ("native recomputes", "native runs backwards")),
        *(
            slow(engine, loop)
            for engine in ("native recomputes", "native runs backwards")
            for loop in ("at once", "map")
        ),
        *(slow(engine, loop) for engine in list(ENGINES)[1:3] for loop in LOOPS),
        *(slow("XLA runs backwards", loop) for loop in LOOPS),
        slow("scan", "scan"),
    ],
)
def test_every_engine_has_every_derivative(engine, loop, float64):
    """All are those of the scan with JAX's own derivatives, all shots at once."""
    expected = derivatives("scan", "at once")
    for name, values in derivatives(engine, loop).items():
        assert relative(values, expected[name]) < 1e-12, name


@pytest.mark.parametrize("loop", ["scan", "XLA runs backwards"])
@pytest.mark.parametrize("widths", [(0, 0, 0, 0), (0, 4, 0, 0)])
def test_float32_stays_with_64_bit_numbers(loop, widths, float64):
    """Stencils, profiles and weights take the type of the model."""
    memory = ENGINES[loop][1]
    grid, time = Grid((16, 18), 10.0), TimeAxis(STEPS, 1e-3)
    simulation = Simulation(grid, time, 3000.0, 25.0, 2, widths, (20,), half_width=2, memory=memory, backend="xla")
    survey = make_survey([[50.0, 80.0]], [[20.0, 100.0]], ricker(time, 25.0))
    shapes = jax.eval_shape(lambda v: simulate(v, survey, simulation), jnp.full(grid.shape, 2500.0, jnp.float32))
    assert {shapes.gathers.dtype, shapes.snapshots.dtype} == {jnp.dtype("float32")}
