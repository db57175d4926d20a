"""Keep freed memory in the process, so that the next training step can use it again.

The temporary arrays of a step are hundreds of megabytes, allocated and freed at each step. glibc returns such blocks to
the system at once, and the system hands out zeroed pages again at the first touch: 70,000 page faults a step for an FNO
of width 32 on 64 x 64 cells, a fifth to a quarter of the processor time. Results are the same bit for bit.
"""

import ctypes
import platform

# Names in <malloc.h>: see mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
NEVER = -1


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory. Other C libraries are left as they are.

    Call this before the first computation: one arena is shared by all threads, since only the first arena can grow past
    64 MB, and threads that already have another arena keep it.

    Returns:
        Whether glibc keeps freed memory.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER))
    return all(libc.mallopt(name, value) == 1 for name, value in settings)
