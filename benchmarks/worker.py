"""Run one solver in a separate process, so that allocators, thread pools and their environment do not mix.

The child (`python -m benchmarks.worker PEER [CHECKOUT]`) answers one JSON request a line: `{"do": name, ...}` with a
JSON object, arrays going through .npy files. The parent holds it as a `Worker` and asks with `ask`. With a checkout,
the child measures the project's code of that folder (see revisions.py), by the benchmarks of this one.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.accuracy_peers import PeerCase
from benchmarks.cases import Case as SolverCase
from benchmarks.checkouts import use_checkout
from benchmarks.training_cases import Case as TrainingCase

TimedCase = SolverCase | TrainingCase  # with a short run that starts libraries and threads
Case = TimedCase | PeerCase
ROOT = Path(__file__).parent.parent
# The longest that runs are repeated for, to choose between a peer's configurations [s].
PATIENCE = 10.0


class WorkerError(Exception):
    """A peer is not installed, or failed; carries the last line of its traceback, and the rest as a note."""


class Worker:
    """A solver's process; a context that ends it."""

    def __init__(self, peer: str, checkout: Path | None = None):
        self.peer = peer
        self.arguments = [peer] if checkout is None else [peer, str(checkout)]
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        # OMP_WAIT_POLICY stays unset: "passive" makes the peers several times slower on small grids, where threads
        # meet every few microseconds, while by default an idle team falls asleep within milliseconds.
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        cores = len(os.sched_getaffinity(0))
        environment |= {"OMP_NUM_THREADS": str(cores), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", *self.arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.log.close()

    def ask(self, do: str, **request) -> dict[str, Any]:
        """The answer to one request; raises `WorkerError`. A process that has died is started afresh."""
        if self.process.poll() is not None:
            self.process = self._start()
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do} | request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        reply = json.loads(line) if line else {"error": f"ended with {self.process.wait()}:\n{self._log_end()}"}
        if "error" in reply:
            error = WorkerError(f"{self.peer}: {reply['error'].strip().splitlines()[-1]}")
            error.add_note(reply["error"])
            raise error
        return reply

    def array(self, case: Case, quantity: str) -> np.ndarray:
        """Return the result of the prepared run."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "result.npy")
            self.ask("save", case=asdict(case), quantity=quantity, path=str(path))
            return np.load(path)

    def _log_end(self) -> str:
        self.log.seek(0)
        return self.log.read()[-2000:]


class Session:
    """The child's side: every public method answers the request of its name."""

    def __init__(self, peer: str):
        self._peer: Any = importlib.import_module(f"benchmarks.peers.{peer}")
        self._runs: dict[tuple[Case, str], Callable] = {}

    def case(self, fields: dict) -> Case:
        """A case of the kind that the peer takes, from what JSON carried."""
        return self._peer.Case(**fields)

    def about(self) -> dict:
        return {"versions": self._peer.versions(), "device": self._peer.device()}

    def prepare(self, case: Case, quantity: str) -> dict:
        """Compile and run, and keep; the fastest of the peer's configurations if it has several."""
        candidates = self._peer.configurations(case, quantity)
        best, chosen = float("inf"), ""
        for candidate in candidates:
            run = self._peer.prepare(case, quantity, candidate)
            seconds = _shortest(run, of=1 if len(candidates) == 1 else 3)
            if seconds < best:
                best, chosen, self._runs[case, quantity] = seconds, candidate, run
        return {"configuration": chosen}

    def time(self, case: Case, quantity: str) -> dict:
        """Seconds of one run, and those of all cores together."""
        run = self._runs[case, quantity]
        start, used = time.perf_counter(), time.process_time()
        run()
        return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - used}

    def save(self, case: Case, quantity: str, path: str) -> dict:
        result = self._runs[case, quantity]()
        result = result.cpu() if hasattr(result, "cpu") else result
        np.save(path, np.asarray(result))
        return {}

    def forget(self) -> dict:
        """Give the memory of all prepared runs back."""
        self._runs.clear()
        return {}

    def memory(self, case: TimedCase, quantity: str, configuration: str) -> dict:
        """Bytes that the first run adds at its peak; after a short one, that libraries and threads are there."""
        self._peer.prepare(case.warm_up(), quantity, configuration)()
        run = self._peer.prepare(case, quantity, configuration)
        with self._peer.meter() as meter:
            run()
        return {"bytes": meter.peak()}

    def parameters(self, case: Case) -> dict:
        """Real numbers that are trained; of operators only."""
        return {"count": self._peer.parameters(case)}

    def compile(self, case: Case, quantity: str, cache: str) -> dict:
        """Seconds to compile; of ours only."""
        return {"seconds": self._peer.compile_seconds(case, quantity, cache)}


def _shortest(run: Callable, of: int) -> float:
    """Seconds of the fastest of some runs, fewer if they are long."""
    seconds = []
    while len(seconds) < of and sum(seconds) < PATIENCE:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main(peer: str, checkout: str | None = None) -> None:
    if checkout is not None:
        use_checkout(Path(checkout))
    # Whatever a library prints goes to the log; the pipe carries replies alone.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    session = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            session = session or Session(peer)
            if "case" in request:
                request["case"] = session.case(request["case"])
            reply = getattr(session, request.pop("do"))(**request)
        except Exception:
            reply = {"error": traceback.format_exc()}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
