"""Data sets have the same bits whoever makes them: the number of cores changes none."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from data_gen.common.contraction import contract
from data_gen.common.digest import digest_of
from data_gen.dataset.records import sample_records
from data_gen.solver.numerics.temporal_dispersion import firing, reading
from data_gen.solver.problem.discretization import lines
from tests.helpers import ROOT, tiny_config


def digests() -> dict[str, str]:
    """Compute the digests of whatever cores might change: weights, products, and the records of a data set."""
    rng = np.random.default_rng(0)
    # So long a sum is divided among the threads of a library's matrix product, even on two cores.
    matrix, values = (rng.standard_normal(shape, "float32") for shape in ((36, 395), (395, 119)))
    spec = tiny_config("unused", nz=150, nx=131).create()
    (depth, _), times = lines(spec.simulation), tuple(np.arange(400) * 1e-3)
    arrays = {
        "product": jax.jit(lambda values: contract(matrix, values, "ij,jk->ik"))(values),
        "reading": reading(times, 5e-4, 11, 80, 15.0).weights,
        "firing": firing(1e-3, 400, 5e-4, 900, 15.0).weights,
        "projection": depth.projection("cells", depth.solved_centers),
        "interpolation": depth.interpolation,
        **next(sample_records(spec, "train", range(1), 1)),
    }
    return {name: digest_of(np.asarray(array)) for name, array in arrays.items()}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can bind a process to a core")
def test_cores_change_no_bit():
    """One core, and a pool of sixteen threads on all cores, compute the same bits."""

    def run(bind: str, threads: int) -> str:
        script = f"import os; {bind}; from tests.dataset.test_cores import digests; print(digests())"
        environment = os.environ | {"NPROC": str(threads)}  # of XLA's pool of threads
        return subprocess.run(
            [sys.executable, "-c", script], env=environment, cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout

    one = run("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})", 1)
    assert "product" in one and one == run("pass", 16)
