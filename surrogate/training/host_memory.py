"""Keep freed memory in the process, for the next training step to use again.

A step's temporary arrays are hundreds of megabytes, taken and given back at each step. glibc returns such blocks to the
system at once, which hands out zeroed pages anew at the first touch: 70,000 page faults a step for an FNO of width 32
on 64 x 64 cells, a fifth to a quarter of the processor time. Results are the same to the bit.
"""

import ctypes
import platform

# Names in <malloc.h>: see mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
NEVER = -1


def keep_freed_memory() -> bool:
    """Ask glibc to keep what is freed; whether it will. Other C libraries are left as they are.

    To be called before the first computation: one arena is shared by all threads, since only the first one can grow
    past 64 MB, and threads that already have another keep it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER))
    return all(libc.mallopt(name, value) == 1 for name, value in settings)
