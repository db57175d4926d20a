"""Where a prediction's time goes: encoding, and layers of the operator, `python -m benchmarks.profile_operator [run]`.

Each part is compiled by itself, on inputs of the shapes that it has within a prediction of shots through one model, and
all parts take turns: medians. So the sum of the parts is not the whole, which XLA fuses; `gradient` is that of the
sum of squares of the operator's output, by its input. GFLOP are those that XLA counts, and GFLOP/s say how far from the
machine a part is. The run may be the name of a pretrained surrogate, a packed file or a folder.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich import box
from rich.console import Console
from rich.table import Table

from surrogate.inversion.forward import spread_sources
from surrogate.models.surrogate import Surrogate
from surrogate.operators.base import GridOperator
from surrogate.operators.layers.patches import to_whole_blocks
from surrogate.operators.layers.products import Projection
from surrogate.operators.layers.recompute import compiler_options
from surrogate.protocols import ShotTask
from surrogate.runs.load import load_surrogate
from surrogate.runs.timing import time_per_sample

Part = tuple[Callable[..., Any], tuple[jax.Array, ...]]


def parts_of(model: Surrogate, shots: int) -> dict[str, Part]:
    """Name to (function, inputs) of the whole prediction and its parts."""
    task, operator = model.task, model.operator
    if not isinstance(task, ShotTask) or not isinstance(operator, GridOperator):
        raise SystemExit(f"The run must predict shots by an operator on a grid, but it is of task={task.name}.")
    grid, depth = task.spec.simulation.grid, min(task.spec.shots.rows) * task.spec.simulation.grid.spacing
    low, high = task.spec.slowest, task.spec.mixture.max_velocity
    velocity = jnp.linspace(low, high, grid.shape[0], dtype=jnp.float32)[:, None] * jnp.ones(grid.shape[1], jnp.float32)
    sources = jnp.asarray(spread_sources(grid, shots, depth), jnp.float32)
    key, height_width = jax.random.key(0), task.shape
    channels = model.encoding.media + model.encoding.channels
    x = jax.random.normal(key, (shots, *height_width, channels))
    blocks = to_whole_blocks(x, operator.patch).shape[1:3]
    cells = tuple(side // operator.patch for side in blocks)
    padded = tuple(side + 2 * round(operator.padding * side) for side in cells)
    h = jax.random.normal(key, (shots, *padded, operator.lift.out_features))
    lifted = jax.random.normal(key, (shots, *cells, operator.lift.in_features))
    parts: dict[str, Part] = {
        "prediction": (model.shots, (velocity, sources)),
        "encoding": (lambda v, s: task.encode_shots(model.encoding, v, s), (velocity, sources)),
        "operator": (operator, (x,)),
        "gradient of the operator": (jax.grad(lambda x: jnp.sum(operator(x) ** 2)), (x,)),
        "lift": (operator.lift, (lifted,)),
        "body": (operator.body, (h,)),
    }
    parts |= {name: (layer, (h,)) for name, layer in _layers(operator)}
    projection = Projection(operator.project, operator.products, operator.spread, operator.patch)
    inner = jax.random.normal(key, (shots, *cells, operator.lift.out_features))
    return parts | {"projection": (projection, (inner, x))}


def _layers(operator: GridOperator) -> list[tuple[str, Callable[..., Any]]]:
    """The layers of the first block, where the operator consists of Fourier blocks."""
    blocks = getattr(operator, "blocks", None)
    if not blocks:
        return []
    found = [(f"one of {len(blocks)} blocks", blocks[0])]
    names = {"spectral_norm": "  norm", "spectral": "  spectral layer", "local": "  3x3 convolution", "mlp": "  MLP"}
    found += [(title, getattr(blocks[0], name)) for name, title in names.items() if getattr(blocks[0], name, None)]
    return found


def table_of(model: Surrogate, shots: int, repeats: int) -> Table:
    """Time all parts in turns."""
    graphdef, state = nnx.split(model)
    compiled, flops = {}, {}
    for name, (function, inputs) in parts_of(nnx.merge(graphdef, state), shots).items():
        program = jax.jit(function, compiler_options=compiler_options()).lower(*inputs).compile()
        counted: Any = program.cost_analysis()
        flops[name] = float(counted.get("flops", np.nan)) if counted else np.nan
        compiled[name] = lambda _, program=program, inputs=inputs: program(*inputs)
    seconds = time_per_sample(compiled, {}, 1, repeats)
    title = f"{model.task.name}, {shots} shots through one model, {model.task.shape[0]} x {model.task.shape[1]}"
    table = Table("part", "ms", "GFLOP", "GFLOP/s", title=title, box=box.SIMPLE_HEAD)
    for name, each in seconds.items():
        work = flops[name] / 1e9
        # A native solver's work is not XLA's to count.
        rate = "" if name in ("prediction", "encoding") else f"{work / each['median']:.0f}"
        table.add_row(name, f"{1e3 * each['median']:.2f}", f"{work:.3f}" if rate else "", rate)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile_operator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", nargs="?", default="gather-openfwi", help="run, packed file or pretrained surrogate")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    Console().print(table_of(load_surrogate(options.run), options.shots, options.repeats))


if __name__ == "__main__":
    main()
