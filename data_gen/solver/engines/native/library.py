"""Compile the C++ time loop on first use and hand it to XLA.

The machine's own compiler makes one small library per (direction, components, floating-point type, order), tuned
to this processor, and keeps it in the user's cache folder under a name that hashes everything it depends on, and its
own bytes. A library is never loaded from a data set or a run's folder, nor if others may write to it or it is damaged.

The oldest compilers that were tried are GCC 11 and Clang 14.
"""

import ctypes
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path

import jax
import numpy as np

from data_gen.common.compile_cache import cache_folder, fingerprint, only_ours
from data_gen.common.errors import InputError

SOURCES = Path(__file__).parent
FLAGS = ("-std=c++17", "-fPIC", "-shared", "-pthread", "-DNDEBUG")
# By the processor's family; for any other the compiler's own choice is kept.
TUNING = {
    **dict.fromkeys(("x86_64", "AMD64", "i686"), ("-march=native", "-mprefer-vector-width=512")),
    **dict.fromkeys(("aarch64", "arm64"), ("-mcpu=native",)),
}
# The same code as -O3 makes of these loops, in two thirds of the time.
GNU_FLAGS = ("-O2", "-ftree-loop-vectorize", "-fvect-cost-model=dynamic", "-fno-tree-slp-vectorize")
LEAST_GNU, LEAST_CLANG = 11, 14
REMEDY = "Repair the compiler, point CXX at another (GCC 11 or Clang 14 at least), or choose backend='xla'."


@cache
def compiler() -> tuple[str, ...] | None:
    """Find the C++ compiler: `$CXX`, which may have arguments ("ccache g++"), else g++ or clang++.

    Returns:
        The command's words, or None if there is no compiler.
    """
    if chosen := shlex.split(os.environ.get("CXX", "")):
        name, *arguments = chosen
        # A name that is not found is kept: the failure to start it names it, where another compiler would hide it.
        return shutil.which(name) or name, *arguments
    return next(((path,) for path in map(shutil.which, ("g++", "clang++")) if path), None)


def compiler_flags(version: str, machine: str) -> tuple[str, ...]:
    """Choose the flags for a compiler and a processor.

    Args:
        version: The compiler's answer to `--version`.
        machine: The processor's family, as `platform.machine()` has it.

    Returns:
        Flags for a fast shared library; x86 has some that compilers for others refuse.
    """
    return (*TUNING.get(machine, ()), *FLAGS, *(GNU_FLAGS if _is_gnu(version) else ("-O3",)))


def _is_gnu(version: str) -> bool:
    return "Free Software Foundation" in version


def _run(command: tuple[str, ...]) -> str:
    """Return the output of a command of the compiler, or raise `InputError` with what it said."""
    try:
        result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    except OSError as error:
        raise InputError(f"The C++ compiler {command[0]} cannot be started ({error.strerror}). {REMEDY}") from error
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        errors = [line.strip() for line in lines if "error" in line] or lines or [f"status {result.returncode}"]
        said = "; ".join(errors[:3])
        raise InputError(
            f"The native backend could not be compiled by {command[0]}. {REMEDY} The compiler said: {said}"
        )
    return result.stdout


@cache
def _version(command: tuple[str, ...]) -> str:
    """Return a compiler's answer to `--version`, or raise `InputError` if it is too old."""
    version = _run((*command, "--version"))
    found = re.search(r"\b\d+\b", version.partition("\n")[0])
    name, least = ("GCC", LEAST_GNU) if _is_gnu(version) else ("Clang", LEAST_CLANG)
    if found and int(found[0]) < least:
        raise InputError(
            f"The native backend needs GCC {LEAST_GNU} or Clang {LEAST_CLANG} at least, but {command[0]} is {name} "
            f"{found[0]}. Install a newer one, point CXX at it, or choose backend='xla'."
        )
    return version


def _compile(direction: str, components: int, dtype: str, order: int) -> Path:
    """Return the library, from the cache if an intact one is there."""
    command = compiler()
    if command is None:
        raise InputError(
            "The native backend needs a C++ compiler (GCC 11 or Clang 14 at least), but found none. Install g++ or "
            "clang++, point CXX at one, or choose backend='xla'."
        )
    version = _version(command)
    flags = compiler_flags(version, platform.machine())
    sources = sorted(path for path in SOURCES.iterdir() if path.suffix in (".h", ".cc"))
    kind = {"float32": "float", "float64": "double"}[dtype]
    defines = (f"-DREAL={kind}", f"-DHALF={order // 2}", f"-DDIRECTION={direction}", f"-DCOMPONENTS={components}")
    name = fingerprint(
        version, metadata.version("jaxlib"), *flags, *defines, *(path.read_text(encoding="utf-8") for path in sources)
    )
    folder, stem = cache_folder(), f"{direction}{components}-{dtype}-{order}-{name}"
    for library in sorted(folder.glob(f"{stem}-*.so")):
        if only_ours(library) and library.stem == f"{stem}-{_digest(library)}":
            return library
        library.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "library.so"
        headers = f"-I{jax.ffi.include_dir()}"
        _run((*command, *flags, *defines, headers, str(SOURCES / "kernel.cc"), "-o", str(made)))
        made.chmod(0o700)
        # Whole or not at all, however many processes do this at once.
        return made.replace(folder / f"{stem}-{_digest(made)}.so")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@cache
def load(direction: str, components: int, dtype: str, order: int) -> ctypes.CDLL:
    """Load one library, compiling it first where needed, and register its handler with XLA as `target_name`.

    Args:
        direction: "forward" or "adjoint".
        components: 1 for a field, 2 for a field and its tangent.
        dtype: "float32" or "float64".
        order: Order of the differences in space.

    Returns:
        The library.

    Raises:
        InputError: If there is no compiler, it is too old, or it fails.
    """
    try:
        library = ctypes.CDLL(str(_compile(direction, components, dtype, order)))
    except OSError as error:
        raise InputError(f"The compiled native backend cannot be stored or loaded ({error}). {REMEDY}") from error
    capsule = jax.ffi.pycapsule(library.handler)
    jax.ffi.register_ffi_target(target_name(direction, components, dtype, order), capsule, platform="cpu")
    for function in (library.saved_bytes, library.workspace_bytes):
        function.restype = ctypes.c_int64
        function.argtypes = [np.ctypeslib.ndpointer(np.int64, flags="C"), np.ctypeslib.ndpointer(np.int64, flags="C")]
    return library


@cache
def fault(dtype: str, order: int) -> str:
    """Say why the native time loop cannot run on this machine.

    Args:
        dtype: "float32" or "float64".
        order: Order of the differences in space.

    Returns:
        The error's text, or nothing where the loop can run.
    """
    try:
        load("forward", 1, dtype, order)
    except InputError as error:
        return str(error)
    return ""


def target_name(direction: str, components: int, dtype: str, order: int) -> str:
    """Return the name by which XLA knows a handler.

    Args:
        direction: "forward" or "adjoint".
        components: 1 for a field, 2 for a field and its tangent.
        dtype: "float32" or "float64".
        order: Order of the differences in space.

    Returns:
        A name that no other handler has.
    """
    return f"wave_{direction}_{components}_{dtype}_{order}"


def threads() -> int:
    """Count the threads that one call uses: the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
