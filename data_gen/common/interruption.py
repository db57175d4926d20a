"""Obey a request to end: Ctrl-C, a terminal that hangs up, and those of schedulers.

Kubernetes, Slurm and `kill` send SIGTERM; Slurm sends SIGUSR1 ahead of a time limit (`--signal=USR1@120`), and starts
what ends with status 0 anew. A signal that is ignored, as SIGHUP is under `nohup`, stays ignored. Only the main thread
of Python can handle signals: in others the program's handlers stay.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PREEMPTING = (signal.SIGUSR1,)
AGAIN = 0.05  # [s]


class Interrupted(KeyboardInterrupt):
    """End a command, with the exit status 128 + the number of the signal.

    Args:
        number: Number of the signal.
        text: Sentence on what is kept, and how to go on.
    """

    def __init__(self, number: int, text: str = "Nothing is lost that was written before; the same command goes on."):
        super().__init__(text)
        self.number, self.text = number, text

    @property
    def status(self) -> int:
        """Exit status of a command."""
        return 128 + self.number

    def __str__(self) -> str:
        return f"Ended by {signal.Signals(self.number).name}. {self.text}"


@contextmanager
def handled(numbers: tuple[signal.Signals, ...], handler: Callable[[int, object], None]) -> Iterator[None]:
    """Handle signals in another way for a while.

    Args:
        numbers: The signals; those that are ignored stay so.
        handler: Function of the number and the frame.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def ended_at_once() -> Iterator[None]:
    """Raise `Interrupted` at the first signal that ends a command.

    Where Python can raise nothing, such as in a collection of garbage, the signal is sent again a moment later.
    """

    def end(number: int, frame: object) -> None:
        raise Interrupted(number)

    def lost(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, Interrupted):
            threading.Timer(AGAIN, os.kill, (os.getpid(), unraisable.exc_value.number)).start()
        else:
            before(unraisable)

    before, sys.unraisablehook = sys.unraisablehook, lost
    try:
        with handled(ENDING, end):
            yield
    finally:
        sys.unraisablehook = before


class Interruption:
    """Note the first signal while this context is entered, for what ends between two steps and saves.

    A second Ctrl-C raises `Interrupted` at once.

    Attributes:
        caught: Number of the first signal; 0 for none.
    """

    def __init__(self):
        self.caught = 0
        self._handled = handled((*ENDING, *PREEMPTING), self._note)

    def _note(self, number: int, frame: object) -> None:
        if self.caught and number == signal.SIGINT:
            raise Interrupted(number)
        self.caught = self.caught or number

    def __enter__(self) -> "Interruption":
        self._handled.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._handled.__exit__(None, None, None)
