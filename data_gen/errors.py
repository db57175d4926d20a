"""Bad input, told in one paragraph: what was expected, what came, what to do."""

import functools
import sys
from collections.abc import Callable
from typing import Any


class InputError(ValueError):
    """Something the user gave cannot be used; raised before anything is compiled or written."""


def one_paragraph(main: Callable[..., Any]) -> Callable[..., Any]:
    """An entry point that ends with an `InputError`'s message and exit status 1 instead of a traceback."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except InputError as error:
            sys.exit(f"error: {error}")

    return wrapped
