"""Freed memory is kept for the next training step."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

# Page faults of touching the first 256 MB of a block for the second time, by plain malloc as XLA does.
SCRIPT = """
import ctypes, resource
from surrogate.training.host_memory import keep_freed_memory

if {keep}:
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc({size})
    ctypes.memset(block, 1, 2**28)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to keep memory")
@pytest.mark.parametrize(
    "size", [2**28, 2**31 + 2**28]
)  # a limit of 2**31 - 1 bytes is the largest there is, but for none
def test_memory_is_touched_without_page_faults_once_it_is_kept(size: int):
    def faults(keep: bool) -> int:
        command = [sys.executable, "-c", SCRIPT.format(keep=keep, size=size)]
        root = Path(__file__).parent.parent
        return int(subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout)

    # At least one fault for each huge page of 2 MB if the system was given the block back; none but strays if not.
    assert faults(keep=False) >= 2**28 // 2**21
    assert faults(keep=True) < 16
