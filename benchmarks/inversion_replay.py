"""Keep every evaluation of a misfit in a file, so that an optimizer that was killed repeats its path at no cost.

SciPy's and PyTorch's optimizers cannot store their state, but are deterministic: given the same values and gradients
they ask for the same models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_gen.common.digest import digest_of
from data_gen.common.files import make_folder, publish, temporary_name

Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Replay:
    """Keep evaluations in a folder."""

    folder: Path

    def of(self, name: str, function: Evaluate) -> Evaluate:
        """The function, which returns what is kept of an earlier run where the same model is asked for in turn."""
        make_folder(self.folder)
        count = [0]

        def evaluate(model: np.ndarray) -> tuple[float, np.ndarray]:
            path, asked = self.folder / f"{name}-{count[0]:04d}.npz", digest_of(model)
            count[0] += 1
            if path.exists():
                with np.load(path, allow_pickle=False) as kept:
                    if str(kept["model"]) == asked:
                        return float(kept["value"]), kept["gradient"].astype(np.float64)
            value, gradient = function(model)
            rounded = gradient.astype(np.float32)  # what a later run reads
            temporary = temporary_name(path).with_suffix(".npz")
            np.savez(temporary, model=np.array(asked), value=np.float64(value), gradient=rounded)
            publish(temporary, path)
            return value, rounded.astype(np.float64)

        return evaluate
