"""The solvers, one module each, with one way of asking. Only a solver's own worker process imports its module.

A module has

    versions() -> {package: version}
    device() -> "cpu", or the GPU's name
    meter() -> a context in which `peak()` is the memory [bytes] added since it was entered (memory.py)
    configurations(case, quantity) -> names of the ways worth trying; the fastest is timed
    prepare(case, quantity, configuration) -> run

`prepare` compiles. `run()` computes once, blocks until done, and returns an array: for "forward" the gathers
`(gathers, steps, receivers)`, sample i at time `i dt` for the source `w` of `cases.wavelet`; for "gradient" the
gathers' misfit `sum(gathers^2) / 2` and its gradient with respect to velocity, of which `(models, side, side)` is
returned.
"""

from dataclasses import dataclass

FORWARD, GRADIENT = "forward", "gradient"


@dataclass(frozen=True)
class Peer:
    """Describe a solver without importing it.

    walled: it has the lecture's physics (rigid walls, order 2, density) and is compared with ours set up the same.
    tolerance: how far whole records and gradients may be from ours, in relative L2.
    """

    title: str
    tolerance: float
    quantities: tuple[str, ...] = (FORWARD, GRADIENT)
    walled: bool = False


PEERS = {
    # CPMLs as ours, but for the theoretical reflection (1e-3, ours 1e-5), and SWEEP's slopes of second order.
    "deepwave": Peer("Deepwave", tolerance=5e-3),
    "sweep": Peer("SWEEP (JAX)", tolerance=5e-3),
    # A sponge, which does reflect.
    "devito": Peer("Devito", tolerance=0.3, quantities=(FORWARD,)),
    # No layer, only rounding.
    "lecture_numpy": Peer("lecture, NumPy", tolerance=1e-4, quantities=(FORWARD,), walled=True),
    "lecture_jax": Peer("lecture, JAX", tolerance=1e-4, walled=True),
}
