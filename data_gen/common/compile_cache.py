"""Keep compiled programs between runs."""

import atexit
import hashlib
import os
import platform
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path

import jax


def cache_folder() -> Path:
    """Return the folder for compiled programs of this user: `$XDG_CACHE_HOME/wave-surrogate`.

    If that folder cannot be made or written, or if others may put programs there, one warning says so, and a temporary
    folder takes its place until the process ends.

    Returns:
        An existing folder that only this user may write to.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "wave-surrogate"
    except RuntimeError:
        return _temporary_folder("this user has no home folder. Set HOME")
    fault = _fault(folder)
    return _temporary_folder(fault) if fault else folder


def _fault(folder: Path) -> str:
    """Return why programs cannot be kept in a folder, or nothing."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        return f"{folder} cannot be made ({error.strerror}). Make room there"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} cannot be written. Make it yours (chmod 700)"
    if not only_ours(folder):
        return f"others may write to {folder}. Make it yours alone (chmod 700)"
    return ""


@cache
def _temporary_folder(fault: str) -> Path:
    warnings.warn(
        f"Compiled programs are lost when this process ends: {fault}, or point XDG_CACHE_HOME elsewhere.",
        UserWarning,
        stacklevel=2,
    )
    folder = tempfile.mkdtemp(prefix="wave-surrogate-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def only_ours(path: Path) -> bool:
    """Tell whether a file or folder belongs to this user and nobody else may write to it.

    Args:
        path: An existing file or folder.

    Returns:
        True if it is safe to load programs from there.
    """
    status = path.stat()
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def processor_name() -> str:
    """Read the name of this machine's processor.

    Returns:
        The model's name, or the architecture where the system does not tell it.
    """
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def fingerprint(*parts: str) -> str:
    """Hash texts together with this processor, so that machines that share a home folder share no machine code.

    Args:
        *parts: Everything else that a compiled program depends on.

    Returns:
        20 hexadecimal digits.
    """
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else [platform.processor()]
    processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))} or lines)
    return hashlib.sha256("\0".join([platform.machine(), *processor, *parts]).encode()).hexdigest()[:20]


def use_compilation_cache() -> None:
    """Let JAX keep compiled programs for the next run; a set `$JAX_COMPILATION_CACHE_DIR` is left as it is."""
    if not jax.config.values.get("jax_compilation_cache_dir"):
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / f"xla-{fingerprint()}"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
