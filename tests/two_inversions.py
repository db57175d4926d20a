"""One of two processes that invert together, for inversion/test_shot_sharding.py.

`python -m tests.two_inversions PORT INDEX FOLDER LAST` inverts into FOLDER, and kills itself at iteration LAST, unless
that is negative.
"""

import os
import signal
import sys
from pathlib import Path

from surrogate.config import InvertConfig
from surrogate.inversion import descent
from surrogate.inversion.descent import InversionConfig
from surrogate.inversion.shot_sharding import ShotsConfig
from surrogate.runs.invert import run_inversion
from tests.helpers import tiny_config


def inversion(folder: Path | str, parallel: ShotsConfig) -> InvertConfig:
    """Four shots; no data set is read."""
    settings = InversionConfig(iterations=5, shots=4, optimizer="lbfgs")
    return InvertConfig(out=str(folder), data=tiny_config("unused"), inversion=settings, parallel=parallel)


def main(port: str, index: str, folder: str, last: str) -> None:
    descent.STORE_EVERY = 0.0
    parallel = ShotsConfig(coordinator=f"localhost:{port}", processes=2, process=int(index))
    parallel.initialize()

    def kill(iteration: int, values: dict[str, float]) -> None:
        if iteration == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    run_inversion(inversion(folder, parallel), kill)


if __name__ == "__main__":
    main(*sys.argv[1:])
