"""The planner's prediction against what a process really touches, and its choices."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from data_gen.common.errors import InputError
from data_gen.solver.memory_plan import peak_bytes, plan_memory
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from tests.helpers import ROOT

SIMULATION = Simulation(Grid((200, 200), 10.0), TimeAxis(200, 1e-3), 4500.0, 15.0)
SHOTS, RECEIVERS = 8, 200

# Compiled first, then the resident memory's high-water mark is reset and one gradient is taken.
MEASURE = """
import re, sys
import jax, jax.numpy as jnp, numpy as np
from pathlib import Path
from data_gen.solver.problem.acquisition import make_survey, surface_line
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.simulator import simulate
from data_gen.solver.problem.wavelets import ricker
from tests.solver.test_planner import SHOTS, SIMULATION, Grid, replace

def resident(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

strategy, precision, backend = sys.argv[1:]
simulation = replace(SIMULATION, memory=Memory(strategy, precision=precision), backend=backend)
sources = np.linspace([20.0, 0.0], [20.0, 1990.0], SHOTS).round(-1)
def compiled(simulation, sources, receivers):
    survey = make_survey(sources, receivers, ricker(simulation.time, 15.0))
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(simulate(v, survey, simulation).gathers ** 2)))
    return gradient.lower(jnp.full(simulation.grid.shape, 3000.0)).compile()

# A small one first: what any process needs once, such as threads and the code's own pages, is not counted.
small = replace(simulation, grid=Grid((20, 20), 10.0))
compiled(small, sources[:1], surface_line(small.grid, 20.0))(jnp.full((20, 20), 3000.0)).block_until_ready()
gradient = compiled(simulation, sources, surface_line(simulation.grid, 20.0))
velocity = jnp.full(simulation.grid.shape, 3000.0)
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
gradient(velocity).block_until_ready()
print("peak", resident("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel has no high-water mark to reset")
@pytest.mark.parametrize(
    ("strategy", "precision", "backend"),
    [
        pytest.param("full", "bfloat16", "native", marks=pytest.mark.slow),
        pytest.param("recompute", "same", "native", marks=pytest.mark.slow),
        pytest.param("boundary", "same", "native", marks=pytest.mark.slow),
        pytest.param("full", "same", "xla", marks=pytest.mark.slow),
        pytest.param("recompute", "same", "xla", marks=pytest.mark.slow),
        pytest.param("boundary", "same", "xla", marks=pytest.mark.slow),
    ],
)
def test_prediction_is_within_20_percent(strategy, precision, backend):
    simulation = replace(SIMULATION, memory=Memory(strategy, precision=precision), backend=backend)
    predicted = peak_bytes(simulation, SHOTS, RECEIVERS, strategy=strategy)
    command = [sys.executable, "-c", MEASURE, strategy, precision, backend]
    optimized = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0", "XLA_FLAGS": ""}  # the programs of users
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=optimized).stdout
    match = re.search(r"peak (\d+)", said)
    assert match and abs(predicted / int(match[1]) - 1) < 0.2, (predicted, said)


def test_the_fastest_that_fits():
    native, xla = (replace(SIMULATION, backend=backend) for backend in ("native", "xla"))
    peaks = {
        (backend.backend, strategy): peak_bytes(backend, SHOTS, RECEIVERS, strategy=strategy)
        for backend in (native, xla)
        for strategy in ("full", "recompute", "boundary")
    }
    assert plan_memory(xla, SHOTS, RECEIVERS, peaks["xla", "full"]).memory == Memory("full")
    assert plan_memory(xla, SHOTS, RECEIVERS, peaks["xla", "full"] - 1).memory == Memory("recompute")
    chosen = plan_memory(native, SHOTS, RECEIVERS, peaks["native", "full"])
    assert chosen.memory == Memory("recompute")
    assert chosen.peak == peaks["native", "recompute"]
    assert f"recompute: predicted peak {chosen.peak / 2**20:,.0f} MiB" in str(chosen)
    with pytest.raises(InputError, match="groups of about 4 shots"):
        plan_memory(xla, SHOTS, RECEIVERS, int(0.55 * peaks["xla", "recompute"]))


def test_physics_without_an_adjoint_of_its_own():
    """Variable density has the scan's strategies; the others are refused with a way out."""
    full = peak_bytes(SIMULATION, 1, 1, strategy="full", constant_density=False)
    assert plan_memory(SIMULATION, 1, 1, full, constant_density=False).memory == Memory("full")
    with pytest.raises(InputError, match="Choose Memory"):
        peak_bytes(SIMULATION, 1, 1, strategy="boundary", constant_density=False)
