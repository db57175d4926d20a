"""Compiled programs kept between runs."""

import hashlib
import os
import platform
from pathlib import Path

import jax

from data_gen.common.errors import InputError


def cache_folder() -> Path:
    """Where compiled things are kept, for this user only: `$XDG_CACHE_HOME/wave-surrogate`.

    Raises `InputError` if others could put programs there.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "wave-surrogate"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise InputError(
            f"Compiled programs are kept in {folder}, which others may write to. Make it yours alone (chmod 700), or "
            "point XDG_CACHE_HOME elsewhere."
        )
    return folder


def fingerprint(*parts: str) -> str:
    """A short hash of `parts` and of this processor: machines that share a home folder share no machine code."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else [platform.processor()]
    processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))} or lines)
    return hashlib.sha256("\0".join([platform.machine(), *processor, *parts]).encode()).hexdigest()[:20]


def use_compilation_cache() -> None:
    """Let JAX keep what it compiles, for the next run of the same program. `$JAX_COMPILATION_CACHE_DIR` goes first."""
    if not jax.config.values.get("jax_compilation_cache_dir"):
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / f"xla-{fingerprint()}"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
