"""Peak memory that one run adds to a process, on the host or on a GPU."""

import ctypes
import sys
from pathlib import Path
from typing import Self


class HostMeter:
    """Peak resident memory since entering, above the resident memory on entering [bytes] (Linux)."""

    def __enter__(self) -> Self:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # Freed memory kept by malloc would hide what the run needs.
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # Resets VmHWM to VmRSS.
        self.before = _status("VmRSS")
        return self

    def __exit__(self, *_):
        self.after = _status("VmHWM")

    def peak(self) -> int:
        return self.after - self.before


class JaxMeter:
    """Peak of JAX's allocator above what was in use on entering [bytes]; for the first large run of a process."""

    def __enter__(self) -> Self:
        self.before = self._statistics()["bytes_in_use"]
        return self

    def __exit__(self, *_):
        self.after = self._statistics()["peak_bytes_in_use"]

    def peak(self) -> int:
        return self.after - self.before

    def _statistics(self) -> dict[str, int]:
        return sys.modules["jax"].local_devices()[0].memory_stats()


class TorchMeter:
    """Peak of PyTorch's CUDA allocator above what was in use on entering [bytes]."""

    def __enter__(self) -> Self:
        self.cuda = sys.modules["torch"].cuda
        self.cuda.reset_peak_memory_stats()
        self.before = self.cuda.memory_allocated()
        return self

    def __exit__(self, *_):
        self.after = self.cuda.max_memory_allocated()

    def peak(self) -> int:
        return self.after - self.before


def resident_peak() -> int:
    """The largest resident memory of this process so far [bytes] (Linux)."""
    return _status("VmHWM")


def _status(field: str) -> int:
    """A size in /proc/self/status [bytes]."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
