"""Compile the C++ time loop on first use and hand it to XLA.

The machine's own compiler makes one small library per (floating-point type, order), tuned to this processor, and
keeps it in the user's cache folder under a name that hashes everything it depends on. Nothing is ever loaded from a
data set or a run's folder.
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

from data_gen.caching import cache_folder, fingerprint
from data_gen.errors import InputError

SOURCES = Path(__file__).parent
FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-std=c++17", "-fPIC", "-shared", "-pthread", "-DNDEBUG")
TARGETS = ("forward_1", "forward_2", "adjoint_1", "adjoint_2")


@cache
def compiler() -> str | None:
    """The C++ compiler: `$CXX`, g++ or clang++, if there is one."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    return None


def _compile(dtype: str, order: int) -> Path:
    command = compiler()
    if command is None:
        raise InputError(
            "The native backend needs a C++ compiler (g++ or clang++), but found none. Install one, point CXX at it, "
            "or choose backend='xla'."
        )
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    sources = sorted(path for path in SOURCES.iterdir() if path.suffix in (".h", ".cc"))
    kind = {"float32": "float", "float64": "double"}[dtype]
    defines = (f"-DREAL={kind}", f"-DHALF={order // 2}")
    name = fingerprint(version, metadata.version("jaxlib"), *FLAGS, *defines, *(path.read_text() for path in sources))
    library = cache_folder() / f"wave-{dtype}-{order}-{name}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = Path(folder) / library.name
            arguments = [command, *FLAGS, *defines, f"-I{jax.ffi.include_dir()}", str(SOURCES / "kernel.cc")]
            result = subprocess.run([*arguments, "-o", str(made)], capture_output=True, text=True, check=False)
            if result.returncode:
                raise InputError(
                    f"The native backend could not be compiled by {command}. Choose backend='xla', or repair the "
                    f"compiler. It said:\n{result.stderr[-2000:]}"
                )
            made.replace(library)  # whole or not at all, however many processes do this at once
    return library


@cache
def load(dtype: str, order: int) -> ctypes.CDLL:
    """The library for one floating-point type and order, its handlers registered with XLA."""
    library = ctypes.CDLL(str(_compile(dtype, order)))
    for target in TARGETS:
        capsule = jax.ffi.pycapsule(getattr(library, target))
        jax.ffi.register_ffi_target(target_name(target, dtype, order), capsule, platform="cpu")
    for function in (library.saved_bytes, library.workspace_bytes):
        function.restype = ctypes.c_int64
        function.argtypes = [np.ctypeslib.ndpointer(np.int64, flags="C"), np.ctypeslib.ndpointer(np.int64, flags="C")]
    return library


def target_name(target: str, dtype: str, order: int) -> str:
    """The name XLA knows a handler by."""
    return f"wave_{target}_{dtype}_{order}"


def threads() -> int:
    """Threads that one call uses: the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
