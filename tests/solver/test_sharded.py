"""A model split over devices gives the numbers of one device, and each device holds its own rows only."""

import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding

from data_gen.common.errors import InputError
from data_gen.solver.many_devices import MODEL, simulate_sharded, slab_mesh
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from tests.helpers import relative
from tests.theory import BARE

pytestmark = pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")

LAYERS = {"order": 4, "widths": (8, 8, 8, 8)}
FREE_SURFACE = {"order": 8, "widths": (0, 8, 5, 9), "free_surface": True}
WALLS = {"order": 2, "widths": (0, 0, 0, 0), "substeps": 2, **BARE}
MIXED = {"order": 6, "widths": (8, 0, 3, 8)}


def problem(nz=24, nt=61, **options):
    """A rough model; off-grid points, 8 cells wide, over every boundary between slabs and over the sides' images."""
    time = TimeAxis(nt, 1.5e-3)
    simulation = Simulation(Grid((nz, 20), 10.0), time, 3200.0, 20.0, half_width=4, backend="xla", **options)
    receivers = [[4.0, 3.0], [58.0, 55.5], [115.0, 100.0], [123.0, 187.0], [178.0, 52.0], [228.0, 90.0]]
    survey = make_survey([[57.3, 83.0], [121.0, 141.7]], receivers, ricker(time, 20.0))
    return 2400.0 + 600.0 * jax.random.uniform(jax.random.key(0), simulation.grid.shape), survey, simulation


def split(count):
    """`simulate` over `count` devices."""
    return partial(simulate_sharded, mesh=slab_mesh(jax.devices()[:count]))


def temporary_bytes(compiled):
    """Return the temporary memory of one device [bytes]."""
    analysis = compiled.memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes


def compare(options, staggered, counts, bound):
    velocity, survey, simulation = problem(snapshot_steps=(60,), memory=Memory("full"), **options)
    density = 1000.0 + 0.3 * velocity if staggered else None
    whole = simulate(velocity, survey, simulation, density=density)
    # The wave has crossed the whole model, so no slab's share is trivial.
    rows = jnp.linalg.norm(whole.snapshots[0, 0], axis=1)
    assert rows[1:].min() > 1e-3 * rows.max()
    for count in counts:
        gathers, snapshots, _ = split(count)(velocity, survey, simulation, density=density)
        assert relative(gathers, whole.gathers) < bound
        assert relative(snapshots, whole.snapshots) < bound
        shards = snapshots.addressable_shards
        assert [shard.data.shape for shard in shards] == [(2, 1, 24 // count, 20)] * count
        assert gathers.sharding.is_fully_replicated


@pytest.mark.parametrize(
    ("options", "staggered", "counts"),
    [
        pytest.param(LAYERS, False, (1, 4), marks=pytest.mark.slow),
        (WALLS, True, (4,)),
        pytest.param(MIXED, True, (2,), marks=pytest.mark.slow),
    ],
    ids=["layers", "walls", "mixed"],
)
def test_equals_one_device(options, staggered, counts, float64):
    """The arithmetic of every cell is the same; only the sums of the gathers are in another order."""
    compare(options, staggered, counts, 1e-12)


def test_equals_one_device_float32():
    """As above, 60 steps of rounding at 6e-8."""
    compare(FREE_SURFACE, False, (3,), 1e-5)


def test_gradient_and_memory(float64):
    """The gradient, intervals recomputed, by model and survey; rows stay where they are, so memory divides too.

    Each of four devices has 128 rows and two layers of 8, against 512 and two layers: 144 / 528 = 0.27 of the fields,
    and all of the wavelets and gathers, which are small. Models are samples: constant cells are cut off as a whole.
    """
    velocity, survey, simulation = problem(
        512, 60, order=2, widths=(8, 8, 0, 0), medium="samples", memory=Memory(every=20)
    )

    def compiled(run, velocity):
        def loss(velocity, survey):
            return jnp.sum(run(velocity, survey, simulation).gathers ** 2)

        return jax.jit(jax.grad(loss, argnums=(0, 1))).lower(velocity, survey).compile()

    spread = jax.device_put(velocity, NamedSharding(slab_mesh(), MODEL))
    whole, slabs = compiled(simulate, velocity), compiled(split(4), spread)
    expected, computed = whole(velocity, survey), slabs(spread, survey)
    for a, b in zip(jax.tree.leaves(computed), jax.tree.leaves(expected), strict=True):
        assert relative(a, b) < 1e-12
    assert computed[0].sharding.is_equivalent_to(spread.sharding, 2)
    assert temporary_bytes(slabs) < 0.35 * temporary_bytes(whole)
    program = slabs.as_text() or ""
    collectives = re.findall(r"(all-gather|all-to-all|all-reduce|collective-permute)\(", program)
    assert set(collectives) == {"all-reduce", "collective-permute"}
    # The largest field of the program is a slab continued by one row on each side.
    assert max(int(rows) for rows in re.findall(r"f64\[(?:\d+,)*(\d+),20\]", program)) == 128 + 8 + 8 + 2


def test_refusals():
    """Bad meshes are refused before anything is compiled, and the error says what would work."""
    velocity, survey, simulation = problem(**LAYERS)
    with pytest.raises(InputError, match=r"24 rows and the mesh 4 devices.*Take 32 rows, or .* one of \[2, 3\]"):
        split(4)(velocity, survey, replace(simulation, order=8))
    for change in ({"backend": "native"}, {"memory": Memory("boundary")}, {"memory": Memory("full", None, "bfloat16")}):
        with pytest.raises(InputError, match="Choose backend='auto'"):
            split(4)(velocity, survey, replace(simulation, **change))
    with pytest.raises(InputError, match="mesh axis named 'slab'"):
        simulate_sharded(velocity, survey, simulation, jax.make_mesh((4,), ("data",)))
    with pytest.raises(InputError, match="positive everywhere"):
        split(4)(-velocity, survey, simulation)
