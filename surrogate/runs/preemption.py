"""Catch a scheduler's request to end, which training obeys between two steps.

Kubernetes, Slurm and `kill` send SIGTERM; Slurm sends SIGUSR1 ahead of a time limit (`--signal=USR1@120`).
"""

import signal
import threading

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interruption:
    """Catch signals while this context is entered in the main thread: `caught` names the first one, or is None."""

    def __init__(self):
        self.caught: str | None = None
        self._before = {}

    def _note(self, number: int, frame: object) -> None:
        self.caught = self.caught or signal.Signals(number).name

    def __enter__(self) -> "Interruption":
        # Python lets only the main thread handle signals: in other threads the program's handlers stay.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
