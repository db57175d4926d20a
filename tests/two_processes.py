"""One of two processes that train together, for test_parallel.py: `python -m tests.two_processes PORT INDEX FOLDER`.

Trains the run FOLDER/whole; and the run FOLDER/broken, which an exception ends after its checkpoint at step 3, and
which is then resumed.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from data_gen.common.errors import InputError
from surrogate.config import TrainConfig
from surrogate.devices import all_gather, barrier
from surrogate.runs.fit import fit
from surrogate.runs.folder import from_plain
from surrogate.runs.load import load_surrogate
from tests.helpers import listening


class Killed(Exception):
    """Nobody else's."""


def end_after_checkpoint(step: int, values: dict[str, float]) -> None:
    """A progress callback that ends the run."""
    if step == 5:
        raise Killed


def main(port: str, index: str, folder: str) -> None:
    file = Path(folder) / "config.json"
    config = from_plain(json.loads(file.read_text()), TrainConfig, str(file))
    config.parallel = replace(config.parallel, coordinator=f"localhost:{port}", processes=2, process=int(index))
    config.parallel.initialize()
    config.parallel.initialize()  # again is no mistake: the jobs of a sweep share a process
    assert all_gather({"process": int(index) * "x"}) == [{"process": ""}, {"process": "x"}]
    try:
        with barrier():
            if index == "1":
                raise InputError("no disk")
        raise AssertionError("one failed, so both do")
    except InputError as error:
        assert str(error) == "no disk" if index == "1" else "Process 1 of 2 could not continue: no disk" in str(error)

    if sys.platform == "linux":  # nothing listens on every interface
        assert (sockets := listening()) and not any(set(address) == {"0"} for address in sockets)
    fit(replace(config, run=f"{folder}/whole"))
    broken = replace(config, run=f"{folder}/broken")
    try:
        fit(broken, end_after_checkpoint)
        raise AssertionError("it was to be ended")
    except Killed:
        pass
    fit(broken)
    load_surrogate(broken.run)  # where a run starts from another's weights


if __name__ == "__main__":
    main(*sys.argv[1:])
