"""Devito on the problems of `benchmarks.accuracy`: see devito.py; points between cells by its windowed sinc."""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportIndexIssue=false, reportCallIssue=false

from collections.abc import Callable

import numpy as np
from devito import Eq, Function, Grid, Operator, SparseTimeFunction, TimeFunction, solve

from benchmarks.accuracy_peers import PeerCase as Case
from benchmarks.peers.devito import device, meter, sponge, versions

__all__ = ["Case", "configurations", "device", "meter", "prepare", "versions"]


def configurations(case: Case, quantity: str) -> tuple[str, ...]:
    return ("default",)


def prepare(case: Case, quantity: str, configuration: str) -> Callable:
    problem, width, spacing = case.problem, case.cells_of_layers, case.spacing
    velocity = np.pad(case.velocity, width, mode="edge")
    grid = Grid(velocity.shape, extent=tuple(spacing * (n - 1) for n in velocity.shape), dtype=np.float32)
    pressure = TimeFunction(name="p", grid=grid, time_order=2, space_order=case.order)
    slowness = Function(name="m", grid=grid, space_order=case.order)
    damp = Function(name="damp", grid=grid, space_order=0)
    sources, receivers = ((case.cells(p) + width) * spacing for p in (problem.sources, problem.receivers))
    how = {} if case.refinement % 2 else {"interpolation": "sinc", "r": 4}
    source = SparseTimeFunction(name="src", grid=grid, npoint=1, nt=case.steps, **how)
    gather = SparseTimeFunction(name="rec", grid=grid, npoint=len(receivers), nt=case.steps, **how)
    update = solve(slowness * pressure.dt2 - pressure.laplace + damp * pressure.dt, pressure.forward)
    step = grid.stepping_dim.spacing
    operator = Operator(
        [
            Eq(pressure.forward, update),
            source.inject(field=pressure.forward, expr=source * step**2 / slowness),
            gather.interpolate(expr=pressure),
        ],
        subs=grid.spacing_map,
        name="Accuracy",
    )
    slowness.data[:] = 1 / (velocity / 1000) ** 2
    # The profile is written for cells of 10 m: a finer grid has the same layer in meters.
    damp.data[:] = sponge(velocity.shape[0], width, spacing)
    source.data[:, 0] = case.wavelet(case.steps) / spacing**2
    gather.coordinates.data[:] = receivers

    def run():
        gathers = np.empty((len(sources), case.steps, len(receivers)), np.float32)
        for i, position in enumerate(sources):
            source.coordinates.data[0] = position
            pressure.data_with_halo[:] = 0
            operator.apply(dt=1000 * case.step, time_m=0, time_M=case.steps - 1)
            gathers[i] = gather.data
        return gathers

    return run
