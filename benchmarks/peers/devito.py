"""Devito: its generated C with OpenMP, for `m p_tt - laplacian p + damp p_t = 0`, forward only, shot after shot.

The equation, the sponge `damp` and its formula are those of Devito's own seismic examples, in whose units (km/s and
ms) the sponge is written. A source adds `src dt^2 / m` to the cell, so `src = w / spacing^2`; sample i is at `i dt`.
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportIndexIssue=false, reportCallIssue=false

import os
from collections.abc import Callable
from functools import cache
from importlib.metadata import version

import numpy as np
from devito import Eq, Function, Grid, Operator, SparseTimeFunction, TimeFunction, configuration, solve

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.memory import HostMeter

configuration["compiler"] = os.environ.get("DEVITO_ARCH", "gcc")
configuration["language"] = "openmp"
configuration["log-level"] = "ERROR"

# How OpenMP shares out the rows of a grid: in turn, or evenly beforehand. (There are no blocks to tune in 2-D.)
OPTIONS = {"dynamic": {}, "static": {"par-dynamic-work": 10**9}}

meter = HostMeter


def versions() -> dict[str, str]:
    return {"devito": version("devito")}


def device() -> str:
    return "cpu"


def configurations(case: Case, quantity: str) -> tuple[str, ...]:
    return tuple(OPTIONS)


def prepare(case: Case, quantity: str, option: str) -> Callable:
    side = case.side + 2 * case.width
    grid = Grid((side, side), extent=(cases.SPACING * (side - 1),) * 2, dtype=np.float32)
    pressure = TimeFunction(name="p", grid=grid, time_order=2, space_order=case.order)
    slowness = [Function(name="m", grid=grid, space_order=case.order) for _ in range(case.models)]
    damp = Function(name="damp", grid=grid, space_order=0)
    cells = cases.receivers(case)
    source = SparseTimeFunction(name="src", grid=grid, npoint=1, nt=case.steps)
    gather = SparseTimeFunction(name="rec", grid=grid, npoint=len(cells), nt=case.steps)

    update = solve(slowness[0] * pressure.dt2 - pressure.laplace + damp * pressure.dt, pressure.forward)
    step = grid.stepping_dim.spacing
    operator = Operator(
        [
            Eq(pressure.forward, update),
            source.inject(field=pressure.forward, expr=source * step**2 / slowness[0]),
            gather.interpolate(expr=pressure),
        ],
        subs=grid.spacing_map,
        name="Forward",
        opt=("advanced", OPTIONS[option]),
    )
    _ = operator.cfunction  # Compiles.
    source_positions = (cases.sources(case) + case.width) * cases.SPACING

    @cache
    def fill():
        """Devito allocates on first touch: in the first run, where its memory is counted."""
        for function, velocity in zip(slowness, cases.velocities(case), strict=True):
            function.data[:] = 1 / (np.pad(velocity, case.width, mode="edge") / 1000) ** 2
        damp.data[:] = sponge(side, case.width)
        source.data[:, 0] = cases.wavelet(case) / cases.SPACING**2
        gather.coordinates.data[:] = (cells + case.width) * cases.SPACING

    def run():
        fill()
        gathers = np.empty((case.gathers, case.steps, len(cells)), np.float32)
        for i in range(case.gathers):
            source.coordinates.data[0] = source_positions[i % case.shots]
            pressure.data_with_halo[:] = 0
            operator.apply(m=slowness[i // case.shots], dt=1000 * cases.TIME_STEP, time_m=0, time_M=case.steps - 1)
            gathers[i] = gather.data
        return gathers

    return run


def sponge(side: int, width: int, spacing: float = cases.SPACING) -> np.ndarray:
    """`initialize_damp` of Devito's examples: growing from the inner edge of each layer outwards."""
    depth = np.maximum(width - np.arange(side) + 1, 0) / width * (np.arange(side) < width)
    depth = np.maximum(depth, depth[::-1])
    profile = 1.5 * np.log(1000) / width * (depth - np.sin(2 * np.pi * depth) / (2 * np.pi)) / spacing
    return profile[:, None] + profile
