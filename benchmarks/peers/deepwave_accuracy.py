"""Deepwave on the problems of `benchmarks.accuracy`, with `deepwave.time_dispersion` where a case says so.

Cells are repeated an odd number of times only, so that points stay on cells. See deepwave.py for the equation and the
settings. Its correction takes the spectrum of the record as it ends, so records that end amid waves come out wrong near
both ends: it is given records that last longer, and room for twice their length.
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from collections.abc import Callable

import deepwave
import torch
from deepwave.time_dispersion import correct_receivers, correct_source

from benchmarks.accuracy_cases import PEAK_FREQUENCY
from benchmarks.accuracy_peers import PeerCase as Case
from benchmarks.peers import FORWARD
from benchmarks.peers.deepwave import configurations, device, meter, versions

__all__ = ["Case", "configurations", "device", "meter", "prepare", "versions"]

LONGER = 0.05  # [s] more to record where its correction is used: more gains nothing
COURANT_NUMBER = 0.784  # just under the limit of order 8: the time step is the one asked for


def prepare(case: Case, quantity: str, configuration: str) -> Callable:
    velocity, problem = torch.from_numpy(case.velocity), case.problem
    sources = torch.from_numpy(case.cells(problem.sources))[:, None].long()
    receivers = torch.from_numpy(case.cells(problem.receivers)).long().tile(len(sources), 1, 1)
    steps = case.steps + (round(LONGER / case.step) if case.corrected else 0)
    wavelet = torch.from_numpy(-case.wavelet(steps) / case.spacing**2).float()

    def gathers(velocity):
        fired = correct_source(wavelet, case.step, nt_out=2 * steps)[:steps] if case.corrected else wavelet
        output = deepwave.scalar(
            velocity,
            case.spacing,
            case.step,
            source_amplitudes=fired.expand(len(sources), 1, -1),
            source_locations=sources,
            receiver_locations=receivers,
            accuracy=case.order,
            pml_width=case.cells_of_layers,
            pml_freq=PEAK_FREQUENCY,
            max_vel=float(problem.velocity.max()),
            courant_number=COURANT_NUMBER,
            check_output_finite=False,
        )
        assert output.info.step_ratio == 1
        heard = output.receiver_amplitudes
        if case.corrected:
            heard = correct_receivers(heard, case.step, nt_out=2 * steps)[..., : case.steps]
        return heard.transpose(1, 2)

    def forward():
        with torch.no_grad():
            return gathers(velocity)

    def gradient():
        leaf = velocity.detach().requires_grad_()
        return torch.autograd.grad(0.5 * (gathers(leaf) ** 2).sum(), leaf)[0]

    return forward if quantity == FORWARD else gradient
