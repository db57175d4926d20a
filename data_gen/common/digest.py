"""Tell contents apart by a short digest."""

import hashlib
from collections.abc import Iterable

import numpy as np


def digest_of(*parts: str | np.ndarray) -> str:
    """Hash texts and arrays.

    Args:
        *parts: The texts and arrays.

    Returns:
        The first 16 hexadecimal digits of the SHA-256.
    """
    return digest_of_all(parts)


def digest_of_all(parts: Iterable[str | np.ndarray]) -> str:
    """Hash texts and arrays one after the other, so that no more than one of them need be in memory.

    Args:
        parts: The texts and arrays.

    Returns:
        The first 16 hexadecimal digits of the SHA-256.
    """
    content = hashlib.sha256()
    for part in parts:
        text = part if isinstance(part, str) else f"{part.dtype} {part.shape}"
        content.update(text.encode())
        content.update(b"" if isinstance(part, str) else np.ascontiguousarray(part).tobytes())
    return content.hexdigest()[:16]
