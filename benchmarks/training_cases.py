"""Define the cases of `benchmarks.training`: one FNO, and arrays that are the same in every process.

The FNO is neuraloperator's with its defaults, but for positions, which it is not given. With s = spectral layer + bias
(modes -16..16 x 0..16), w = 32, and gelu the exact one:

    x <- L2 gelu(L1 x);  four times x <- gelu(g x + M2 gelu(M1 gelu(s(x) + S x)));  y = P2 gelu(P1 x)

where the last block has no gelu but M's; widths w -> 2 w -> w of L, w -> w / 2 -> w of M, w -> 2 w -> out of P.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

TRAIN, INFERENCE = "train", "inference"
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-4


@dataclass(frozen=True)
class Case:
    """A batch on a square grid of `side` cells, and the operator that is compared with neuraloperator's.

    operator: "same", which is theirs; "classic" or "residual", FNOs of our own. steps: training steps, or predictions,
    of one timed run. seed: of weights and batch. compiled: whether `torch.compile` is tried, which takes its minute.
    """

    name: str
    side: int
    operator: str = "same"
    batch: int = 8
    inputs: int = 3
    outputs: int = 8
    width: int = 32
    depth: int = 4
    modes: int = 16
    steps: int = 5
    seed: int = 0
    compiled: bool = True

    def warm_up(self) -> Self:
        """A short run that starts threads and pools."""
        return replace(self, side=2 * self.modes + 2, batch=1, steps=1, compiled=False)


CASES = {
    case.name: case
    for case in (
        Case("64x64", 64),
        Case("128x128", 128),
        Case("64x64, our classic block", 64, "classic"),
        Case("128x128, our classic block", 128, "classic"),
        Case("64x64, our residual block", 64, "residual"),
        Case("128x128, our residual block", 128, "residual"),
    )
}


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Inputs `(batch, side, side, inputs)` and targets `(batch, side, side, outputs)`: white noise, float32."""
    random = np.random.default_rng(case.seed)
    shape = (case.batch, case.side, case.side)
    inputs, targets = (random.standard_normal((*shape, n), np.float32) for n in (case.inputs, case.outputs))
    return inputs, targets


def weights(case: Case) -> dict[str, np.ndarray]:
    """The FNO's weights at the start, float32: `(in, out)` of linear, `(k_z, k_x, in, out)` of spectral layers."""
    random, w, m = np.random.default_rng(case.seed + 1), case.width, case.modes

    def layer(name: str, fan_in: int, fan_out: int) -> dict[str, np.ndarray]:
        kernel = random.standard_normal((fan_in, fan_out), np.float32) / np.float32(np.sqrt(fan_in))
        return {f"{name}.kernel": kernel, f"{name}.bias": random.standard_normal(fan_out, np.float32) / 10}

    found = layer("lift.0", case.inputs, 2 * w) | layer("lift.1", 2 * w, w)
    found |= layer("project.0", w, 2 * w) | layer("project.1", 2 * w, case.outputs)
    for i in range(case.depth):
        for part in ("real", "imaginary"):
            kernel = random.standard_normal((2 * m + 1, m + 1, w, w), np.float32)
            found[f"blocks.{i}.spectral.{part}"] = kernel / np.float32(np.sqrt(2 * w))
        found |= layer(f"blocks.{i}.skip", w, w) | layer(f"blocks.{i}.mlp.0", w, w // 2)
        found |= layer(f"blocks.{i}.mlp.1", w // 2, w)
        found[f"blocks.{i}.gate"] = np.ones(w, np.float32)
    return found
