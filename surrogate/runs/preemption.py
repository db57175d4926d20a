"""Preemption: a scheduler's request to end is noted, and obeyed between two steps.

SIGTERM is what Kubernetes, Slurm and `kill` send; SIGUSR1 what Slurm sends ahead of a time limit (`--signal=USR1@120`).
"""

import signal
import threading

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interruption:
    """While entered, in the main thread: `caught` is the name of the first signal that came, or None."""

    def __init__(self):
        self.caught: str | None = None
        self._before = {}

    def _note(self, number: int, frame: object) -> None:
        self.caught = self.caught or signal.Signals(number).name

    def __enter__(self) -> "Interruption":
        # Python lets only the main thread handle signals: elsewhere they stay what the program makes of them.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
