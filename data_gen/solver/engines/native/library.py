"""Compile the C++ time loop on first use and hand it to XLA.

The machine's own compiler makes one small library per (direction, components, floating-point type, order), tuned
to this processor, and keeps it in the user's cache folder under a name that hashes everything it depends on. Nothing
is ever loaded from a data set or a run's folder.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path

import jax
import numpy as np

from data_gen.common.compile_cache import cache_folder, fingerprint
from data_gen.common.errors import InputError

SOURCES = Path(__file__).parent
FLAGS = ("-march=native", "-mprefer-vector-width=512", "-std=c++17", "-fPIC", "-shared", "-pthread", "-DNDEBUG")
# The same code as -O3 makes of these loops, in two thirds of the time.
GNU_FLAGS = ("-O2", "-ftree-loop-vectorize", "-fvect-cost-model=dynamic", "-fno-tree-slp-vectorize")


@cache
def compiler() -> str | None:
    """The C++ compiler: `$CXX`, g++ or clang++, if there is one."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    return None


def _compile(direction: str, components: int, dtype: str, order: int) -> Path:
    command = compiler()
    if command is None:
        raise InputError(
            "The native backend needs a C++ compiler (g++ or clang++), but found none. Install one, point CXX at it, "
            "or choose backend='xla'."
        )
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    flags = (*FLAGS, *(GNU_FLAGS if "Free Software Foundation" in version else ("-O3",)))
    sources = sorted(path for path in SOURCES.iterdir() if path.suffix in (".h", ".cc"))
    kind = {"float32": "float", "float64": "double"}[dtype]
    defines = (f"-DREAL={kind}", f"-DHALF={order // 2}", f"-DDIRECTION={direction}", f"-DCOMPONENTS={components}")
    name = fingerprint(version, metadata.version("jaxlib"), *flags, *defines, *(path.read_text() for path in sources))
    library = cache_folder() / f"{direction}{components}-{dtype}-{order}-{name}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = Path(folder) / library.name
            arguments = [command, *flags, *defines, f"-I{jax.ffi.include_dir()}", str(SOURCES / "kernel.cc")]
            result = subprocess.run([*arguments, "-o", str(made)], capture_output=True, text=True, check=False)
            if result.returncode:
                raise InputError(
                    f"The native backend could not be compiled by {command}. Choose backend='xla', or repair the "
                    f"compiler. It said:\n{result.stderr[-2000:]}"
                )
            made.replace(library)  # whole or not at all, however many processes do this at once
    return library


@cache
def load(direction: str, components: int, dtype: str, order: int) -> ctypes.CDLL:
    """The library for "forward" or "adjoint" of so many components, its handler known to XLA as `target_name`."""
    library = ctypes.CDLL(str(_compile(direction, components, dtype, order)))
    capsule = jax.ffi.pycapsule(library.handler)
    jax.ffi.register_ffi_target(target_name(direction, components, dtype, order), capsule, platform="cpu")
    for function in (library.saved_bytes, library.workspace_bytes):
        function.restype = ctypes.c_int64
        function.argtypes = [np.ctypeslib.ndpointer(np.int64, flags="C"), np.ctypeslib.ndpointer(np.int64, flags="C")]
    return library


def target_name(direction: str, components: int, dtype: str, order: int) -> str:
    """The name XLA knows a handler by."""
    return f"wave_{direction}_{components}_{dtype}_{order}"


def threads() -> int:
    """Threads that one call uses: the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
