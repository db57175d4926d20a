"""Memory that was freed goes back to the system: after a compilation, and when it is asked for."""

import ctypes
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from data_gen.common import freed_memory

BLOCK, BLOCKS = 64 * 1024, 1000  # [bytes] below glibc's smallest threshold of mmap, so that blocks lie in the arena


def resident() -> int:
    """Resident memory of this process [bytes]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(freed_memory._trim() is None, reason="the C library is not glibc")
def test_freed_blocks_below_a_used_one_return_to_the_system():
    """A used block above them keeps the arena's end where it is, so that freeing alone returns nothing.

    Other threads may allocate meanwhile: nine tenths of the blocks suffice.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    blocks = [libc.malloc(BLOCK) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    above = libc.malloc(BLOCK)
    try:
        for block in blocks:
            libc.free(block)
        before = resident()
        freed_memory.return_freed_memory()
        assert before - resident() > 0.9 * BLOCK * BLOCKS
    finally:
        libc.free(above)


def test_memory_is_returned_after_each_long_compilation_within_the_context(monkeypatch):
    """All compilations are long where the limit is zero; outside of the context nobody listens."""
    calls = []
    monkeypatch.setattr(freed_memory, "LONG", 0.0)
    monkeypatch.setattr(freed_memory, "return_freed_memory", lambda: calls.append(1))
    x = jnp.arange(3.0)
    with freed_memory.returned_after_compiling():
        jax.jit(lambda x: 3 * x + 1)(x)
        within = len(calls)
    jax.jit(lambda x: 5 * x + 2)(x)
    assert within >= 1
    assert len(calls) == within
