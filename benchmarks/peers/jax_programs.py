"""Share code between the peers written in JAX: ahead-of-time compilation, misfit and gradient, device and memory."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import version

import jax
import jax.numpy as jnp

from benchmarks.memory import HostMeter, JaxMeter
from benchmarks.peers import FORWARD


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("jax", "jaxlib")}


def device() -> str:
    first = jax.local_devices()[0]
    return "cpu" if first.platform == "cpu" else first.device_kind


def meter() -> AbstractContextManager:
    return HostMeter() if device() == "cpu" else JaxMeter()


def program(gathers: Callable, quantity: str) -> Callable:
    """`gathers(velocities, ...)` itself, or its misfit with the gradient with respect to the velocities."""

    def misfit(velocities, *rest):
        return 0.5 * jnp.sum(gathers(velocities, *rest) ** 2)

    return gathers if quantity == FORWARD else jax.value_and_grad(misfit)


def compiled(gathers: Callable, quantity: str, *arguments) -> Callable:
    """The run of `program`, compiled for `arguments`."""
    arguments = jax.device_put(arguments)
    ready = jax.jit(program(gathers, quantity)).lower(*arguments).compile()

    def run():
        result = jax.block_until_ready(ready(*arguments))
        return result if quantity == FORWARD else result[1]

    return run
