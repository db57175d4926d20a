"""SWEEP's JAX path: its `Acoustic` equation by `PropJax`.

It adds the wavelet to the field as it is, so `v^2 dt^2 w / spacing^2` is handed in, traced, that the gradient sees
the velocity in it; and it records after the step, so its sample i is ours i + 1.
"""
# pyright: reportMissingImports=false

from collections.abc import Callable
from importlib.metadata import version

import jax.numpy as jnp
import numpy as np
from sweep.equations.acoustic import Acoustic
from sweep.propagator.jax import PropJax
from sweep.propagator.options import BoundarySaving, Ckpt, Full

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.peers import FORWARD, jax_programs
from benchmarks.peers.jax_programs import compiled, device, meter

__all__ = ["configurations", "device", "meter", "prepare", "versions"]

# Fields that its scan keeps of each step when nothing is recomputed (measured), and the most it may keep [bytes].
KEPT_FIELDS, KEPT_LIMIT = 1.5, 8e9


def versions() -> dict[str, str]:
    return jax_programs.versions() | {"sweep-solver": version("sweep-solver")}


def configurations(case: Case, quantity: str) -> tuple[str, ...]:
    """List the fields kept for the reverse pass, with the unrolling of the loop."""
    if quantity == FORWARD:
        return ("full 1", "full 2", "full 4")
    kept = 4 * KEPT_FIELDS * case.cells * case.gathers * case.steps
    return (*(("full 1",) if kept < KEPT_LIMIT else ()), "chunks 1", "boundary 1", "boundary 2")


def prepare(case: Case, quantity: str, configuration: str) -> Callable:
    name, unroll = configuration.split()
    memory = {"full": Full(), "chunks": Ckpt(chunks=round(case.steps**0.5)), "boundary": BoundarySaving()}[name]
    propagator = PropJax(
        Acoustic(spatial_order=case.order, backend="jax"),
        shape=(case.side, case.side),
        source_type=["h1"],
        receiver_type=["h1"],
        abcn=case.width,
        dh=cases.SPACING,
        dt=cases.TIME_STEP,
        memory=memory,
        scan_unroll=int(unroll),
    )
    assert propagator.pad == (case.width,) * 4
    rows, columns = cases.sources(case).T
    # Its positions are (x, z).
    sources = np.tile(cases.sources(case)[:, ::-1], (case.models, 1))
    receivers = np.tile(cases.receivers(case)[:, ::-1], (case.gathers, 1, 1))

    def gathers(velocities, wavelet):
        at_sources = velocities[:, rows, columns].reshape(-1, 1)
        amplitudes = (at_sources * cases.TIME_STEP / cases.SPACING) ** 2 * wavelet
        model = velocities[:, None] if case.models > 1 else velocities[0]
        record = propagator(
            amplitudes, sources, receivers, models=[model], pml_freq=cases.PEAK_FREQUENCY, max_vel=cases.FASTEST
        )[..., 0]
        return jnp.pad(record[:, :-1], ((0, 0), (1, 0), (0, 0)))

    return compiled(gathers, quantity, cases.velocities(case), cases.wavelet(case).astype(np.float32))
