"""Bad input, told in one paragraph: what was expected, what came, what to do."""

import functools
import sys
from collections.abc import Callable
from typing import Any


class InputError(ValueError):
    """Something the user gave cannot be used; raised before anything is compiled or written."""


class DatasetError(InputError):
    """A data set that cannot be used as it is; the message says which file and what to do."""


class NumericalError(FloatingPointError):
    """A computation that is no longer finite; the message says where, and what was kept."""


def one_paragraph(main: Callable[..., Any]) -> Callable[..., Any]:
    """An entry point that ends with the message of an error of this module, and exit status 1, not a traceback."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except (InputError, NumericalError) as error:
            sys.exit(f"error: {error}")

    return wrapped
