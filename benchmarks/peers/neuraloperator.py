"""neuraloperator 2: its FNO, PyTorch's AdamW; run eagerly or compiled, whichever is faster.

`n_modes=(33, 33)` keeps the wavenumbers -16..16 x 0..16 (its other even choice, 32, leaves out +16 alone).
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import os
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import torch
from neuralop.models import FNO

from benchmarks import training_cases as cases
from benchmarks.memory import HostMeter, TorchMeter
from benchmarks.training_cases import TRAIN, Case
from surrogate.training.host_memory import keep_freed_memory

keep_freed_memory()  # as ours does; a fifth (64 x 64) to two fifths (128 x 128) off its training step
if not torch.cuda.is_available():
    torch.set_num_threads(os.cpu_count() or 1)


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("neuraloperator", "torch")}


def device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def meter() -> HostMeter | TorchMeter:
    return HostMeter() if device() == "cpu" else TorchMeter()


def configurations(case: Case, quantity: str) -> tuple[str, ...]:
    return ("eager", "compiled") if case.compiled else ("eager",)


def parameters(case: Case) -> int:
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in _model(case).parameters())


def prepare(case: Case, quantity: str, configuration: str) -> Callable:
    place = torch.device("cpu" if device() == "cpu" else "cuda")
    inputs, targets = (torch.from_numpy(x).movedim(-1, 1).contiguous().to(place) for x in cases.batch(case))
    model = _model(case).to(place)
    called = torch.compile(model) if configuration == "compiled" else model
    optimizer = torch.optim.AdamW(model.parameters(), cases.LEARNING_RATE, weight_decay=cases.WEIGHT_DECAY)
    first = []

    def predict() -> torch.Tensor:
        with torch.inference_mode():
            return called(inputs)

    def step() -> None:
        optimizer.zero_grad()
        error = torch.linalg.vector_norm(called(inputs) - targets, dim=(1, 2, 3))
        loss = (error / torch.linalg.vector_norm(targets, dim=(1, 2, 3))).mean()
        loss.backward()
        optimizer.step()

    once = step if quantity == TRAIN else predict

    def run() -> np.ndarray:
        for _ in range(case.steps):
            once()
        if place.type == "cuda":
            torch.cuda.synchronize()
        if not first:  # after so many steps, and never again: predictions of what was trained
            first.append(predict().movedim(1, -1).cpu().numpy())
        return first[0]

    return run


def _model(case: Case) -> torch.nn.Module:
    """The FNO with the weights of `training_cases`."""
    modes = 2 * case.modes + 1
    model = FNO((modes, modes), case.inputs, case.outputs, case.width, n_layers=case.depth, positional_embedding=None)
    found = {name: torch.from_numpy(array) for name, array in cases.weights(case).items()}
    names = {"lift": "lifting", "project": "projection"}
    state = {}
    for name, value in found.items():
        part, *rest = name.split(".")
        if part in names:
            layer, kind = rest
            key = f"{names[part]}.fcs.{layer}.{'weight' if kind == 'kernel' else 'bias'}"
        else:
            key = _block_key(*rest)
        if key.endswith("imaginary"):
            continue
        if "convs" in key and key.endswith("weight.tensor"):
            value = torch.complex(value, found[name.replace("real", "imaginary")]).permute(2, 3, 0, 1)
        elif value.ndim == 2:
            value = value.T[..., None]
        elif "channel_mlp_skips" in key:
            value = value[None, :, None, None]
        elif "convs" in key:
            value = value[:, None, None]
        state[key] = value.contiguous()
    model.load_state_dict(state)
    return model


def _block_key(index: str, layer: str, *rest: str) -> str:
    """The name of one weight of block `index`."""
    if layer == "spectral":
        return f"fno_blocks.convs.{index}.weight.tensor" if rest == ("real",) else "imaginary"
    if layer == "skip":  # its bias is the spectral layer's
        return f"fno_blocks.fno_skips.{index}.conv.weight" if rest == ("kernel",) else f"fno_blocks.convs.{index}.bias"
    if layer == "gate":
        return f"fno_blocks.channel_mlp_skips.{index}.weight"
    number, kind = rest
    return f"fno_blocks.channel_mlp.{index}.fcs.{number}.{'weight' if kind == 'kernel' else 'bias'}"
