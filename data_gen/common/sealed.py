"""Tell damage to JSON values from what was written, by a digest among them."""

import json
from pathlib import Path
from typing import Any

from data_gen.common.digest import digest_of
from data_gen.common.errors import InputError

DIGEST = "digest"  # key of the digest of the other values


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """Add the digest of values to them.

    Args:
        values: Values that JSON can hold.

    Returns:
        The values, with their digest.
    """
    plain = json.loads(json.dumps(values))
    return plain | {DIGEST: digest_of(json.dumps(plain, sort_keys=True))}


def opened(values: dict[str, Any], where: str | Path) -> dict[str, Any]:
    """Check values by their digest, and take it away.

    Args:
        values: Values as `sealed` returned them, or without a digest, as earlier versions wrote them.
        where: Place of the values, for errors.

    Returns:
        The values without their digest.

    Raises:
        InputError: If they are not the values that were written.
    """
    plain = {key: value for key, value in values.items() if key != DIGEST}
    if DIGEST in values and sealed(plain)[DIGEST] != values[DIGEST]:
        raise InputError(
            f"{where} is damaged: its values are not those that were written (digest {sealed(plain)[DIGEST]}, but "
            f"{values[DIGEST]} was written). Restore it from a copy, or make it again in another folder."
        )
    return plain
