"""Let linear algebra compute on one thread, so that its rounding does not depend on the number of cores.

NumPy and SciPy pass products and solutions on to a library that divides sums among its threads. Data sets promise the
same bits on every number of cores, and what their samples are computed with is small.
"""

from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from threading import RLock
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

# The number of threads is one of the process: a second caller must not give it back while the first one computes.
_LOCK = RLock()


@cache
def _libraries() -> ThreadpoolController:
    """Find the process's libraries once, which takes milliseconds; SciPy brings one of its own, so it must be there."""
    import_module("scipy.linalg")
    return ThreadpoolController()


def on_one_thread(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Make a function whose linear algebra in NumPy and SciPy computes on one thread.

    Args:
        function: The function.

    Returns:
        The same function, on one thread.
    """

    @wraps(function)
    def alone(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        with _LOCK, _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return alone
