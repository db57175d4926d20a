"""Return memory that was freed to the system.

glibc keeps what a thread frees in an arena of that thread, from which the system gets it back only if it is the
arena's end. XLA compiles in many threads, and frees most of what it needed: several hundred megabytes stay with the
process, in addition to all that it takes later.
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"  # the event that JAX records after each compilation
LONG = 0.2  # [s] compilations that take less leave little behind


@cache
def _trim() -> Callable[[int], int] | None:
    """Find malloc_trim, which glibc alone has."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def return_freed_memory() -> None:
    """Return the free pages of all arenas to the system; does nothing where the C library is not glibc."""
    trim = _trim()
    if trim is not None:
        trim(0)


@contextmanager
def returned_after_compiling() -> Iterator[None]:
    """Return what compilations free to the system, before the compiled program runs."""

    def on_event(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == COMPILED and duration_secs > LONG:
            return_freed_memory()

    jax.monitoring.register_event_duration_secs_listener(on_event)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(on_event)
