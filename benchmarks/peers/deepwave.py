"""Deepwave: `scalar`, its compiled C or CUDA backend.

Its equation is `laplacian p - p_tt / v^2 = f`, so the source is `f = -w / spacing^2`; sample i is at time `i dt`.
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from collections.abc import Callable
from importlib.metadata import version

import deepwave
import numpy as np
import torch

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.memory import HostMeter, TorchMeter
from benchmarks.peers import FORWARD

# A time step as long as asked: its default of 0.6 would halve the step, order 4 is stable up to 0.866.
COURANT_NUMBER = 0.7

# Numbers under 1e-38 ahead of the waves are slow to compute with; its threads inherit the setting from this one.
torch.set_flush_denormal(True)


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("deepwave", "torch")}


def device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def meter() -> HostMeter | TorchMeter:
    return HostMeter() if device() == "cpu" else TorchMeter()


def configurations(case: Case, quantity: str) -> tuple[str, ...]:
    return ("default",)


def prepare(case: Case, quantity: str, configuration: str) -> Callable:
    place = torch.device("cpu" if device() == "cpu" else "cuda")
    velocity = torch.from_numpy(cases.velocities(case)).to(place)
    velocity = velocity if case.models > 1 else velocity[0]
    each = (case.gathers // case.shots, 1, 1)
    amplitudes = torch.from_numpy(-cases.wavelet(case) / cases.SPACING**2).float().to(place)
    sources = torch.from_numpy(np.tile(cases.sources(case)[:, None], each)).to(place)
    receivers = torch.from_numpy(np.tile(cases.receivers(case), (case.gathers, 1, 1))).to(place)

    def gathers(velocity):
        output = deepwave.scalar(
            velocity,
            cases.SPACING,
            cases.TIME_STEP,
            source_amplitudes=amplitudes.expand(case.gathers, 1, -1),
            source_locations=sources,
            receiver_locations=receivers,
            accuracy=case.order,
            pml_width=case.width,
            pml_freq=cases.PEAK_FREQUENCY,
            max_vel=cases.FASTEST,
            courant_number=COURANT_NUMBER,
            check_output_finite=False,
        )
        assert output.info.step_ratio == 1 and output.info.pml_width == (case.width,) * 4
        return output.receiver_amplitudes.transpose(1, 2)

    def forward():
        with torch.no_grad():
            return gathers(velocity)

    def gradient():
        leaf = velocity.detach().requires_grad_()
        misfit = 0.5 * (gathers(leaf) ** 2).sum()
        (result,) = torch.autograd.grad(misfit, leaf)
        return result.reshape(case.models, case.side, case.side)

    compute = forward if quantity == FORWARD else gradient

    def run():
        result = compute()
        return result if place.type == "cpu" else _arrived(result)

    return run


def _arrived(result: torch.Tensor) -> torch.Tensor:
    torch.cuda.synchronize()
    return result
