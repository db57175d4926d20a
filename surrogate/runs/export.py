"""Export a trained run as one file that JAX alone runs and differentiates, for any batch size, on CPU and CUDA.

    OUT         StableHLO with the weights in it; `jax.export.deserialize` makes it a function of the task's inputs
    OUT.json    its description: inputs, output, config, fingerprint of the data, versions, checksum

`python -m surrogate.export run=runs/mine out=mine.stablehlo`; see docs/guides/export.md.
"""

import hashlib
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

from data_gen.common.errors import InputError, NumericalError
from data_gen.common.files import exclusive, explain_full_disk, make_folder, write_bytes, write_json
from data_gen.dataset.manifest import fingerprint
from data_gen.solver.problem.simulation import Simulation
from surrogate.config import TrainConfig
from surrogate.metrics.errors import norm
from surrogate.models.surrogate import Surrogate, count_parameters
from surrogate.runs.folder import read_run
from surrogate.runs.load import best_step, load_surrogate
from surrogate.runs.provenance import environment
from surrogate.tasks.common import example

FORMAT = 1
PLATFORMS = ("cpu", "cuda")
# Rounding, including that of two different time loops, is about 1e-6; a larger difference than this means a defect.
LARGEST_DIFFERENCE = 1e-3


@dataclass
class ExportConfig:
    """Hold the config of an export, as `wave export-model` reads it.

    Attributes:
        run: Folder of the trained run.
        out: File to write; its description is written to the same name with `.json` added.
        check: Compare the file with the model before it is written.
    """

    run: str = ""
    out: str = ""
    check: bool = True


def through_xla(part: Any) -> Any:
    """Let every simulation in a frozen dataclass, such as an encoding, run in XLA's time loop and no other code.

    Args:
        part: Frozen dataclass, or any other value.

    Returns:
        The dataclass with its simulations changed; any other value as it is.
    """
    if isinstance(part, Simulation):
        return replace(part, backend="xla")
    if not is_dataclass(part) or isinstance(part, type):
        return part
    old = {field.name: getattr(part, field.name) for field in fields(part) if field.init}
    new = {name: through_xla(value) for name, value in old.items()}
    changed = {name: value for name, value in new.items() if value is not old[name]}
    return replace(part, **changed) if changed else part


def lower(model: Surrogate) -> export.Exported:
    """Lower a model in evaluation to a function of its inputs alone, on `PLATFORMS`; the weights are constants of it.

    The file cannot hold the code of the native time loop, so simulations inside the encoding run through XLA.

    Args:
        model: Trained surrogate.

    Returns:
        The exported function.
    """
    frozen, task = nnx.clone(model), model.task
    frozen.encoding = through_xla(model.encoding)
    frozen.eval()
    shapes = jax.eval_shape(lambda: example(task))
    (batch,) = export.symbolic_shape("batch")
    inputs = [jax.ShapeDtypeStruct((batch, *shapes[name].shape), shapes[name].dtype) for name in task.inputs]

    def surrogate(*inputs):
        return frozen(*inputs)

    return export.export(jax.jit(surrogate), platforms=PLATFORMS)(*inputs)


def differences(artifact: bytes, model: Surrogate) -> dict[str, float]:
    """Compare an artifact with the model on a random example.

    Args:
        artifact: Serialized function.
        model: Surrogate that it was made from.

    Returns:
        Relative L2 difference of the `prediction`, and of its vjp, the `gradient`.
    """
    made = jax.jit(lambda: example(model.task))()
    inputs = [jnp.asarray(made[name])[None] for name in model.task.inputs]

    @nnx.jit
    def of_model(model, *inputs):
        prediction, pull = jax.vjp(model, *inputs)
        return prediction, pull(jnp.cos(jnp.arange(prediction.size)).reshape(prediction.shape))

    prediction, pull = jax.vjp(export.deserialize(bytearray(artifact)).call, *inputs)
    gradient = pull(jnp.cos(jnp.arange(prediction.size)).reshape(prediction.shape))
    expected = of_model(model, *inputs)
    return {"prediction": _relative(prediction, expected[0]), "gradient": _relative(gradient, expected[1])}


def _relative(found: Any, expected: Any) -> float:
    """Return the largest relative L2 of any array; 0 for an array that should be zero and is, infinity if it is not."""
    errors = []
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        error, size = (float(norm(jnp.ravel(x), (0,))) for x in (a - b, b))
        errors.append(error / size if size else np.inf if error else 0.0)
    return float(np.max(errors))  # NaN if one is NaN, which Python's `max` may pass over


def describe(exported: export.Exported, artifact: bytes, model: Surrogate, run: TrainConfig) -> dict[str, Any]:
    """Make the content of `OUT.json`: enough to call an artifact, and to know what it was trained on.

    Args:
        exported: Exported function.
        artifact: The function, serialized.
        model: Surrogate that it was made from.
        run: Config of the run.

    Returns:
        Description of the artifact, as JSON values.
    """
    task = model.task
    known = task.signature()

    def entry(name: str, aval: Any) -> dict[str, Any]:
        shape = [size if isinstance(size, int) else str(size) for size in aval.shape]
        return {"name": name, "shape": shape, "dtype": str(aval.dtype), **known.get(name, {})}

    return {
        "format": FORMAT,
        "artifact": {
            "sha256": hashlib.sha256(artifact).hexdigest(),
            "bytes": len(artifact),
            "platforms": list(exported.platforms),
            "derivatives": "reverse mode, once",
            "calling_convention_version": exported.calling_convention_version,
        },
        "task": task.name,
        "inputs": [entry(name, aval) for name, aval in zip(task.inputs, exported.in_avals, strict=True)],
        "outputs": [entry(task.target, aval) for aval in exported.out_avals],
        "spacing": {"value": task.spec.simulation.grid.spacing, "unit": "m"},
        "parameters": count_parameters(model),
        "step": best_step(run.run),
        "dataset": {"fingerprint": fingerprint(run.data)},
        "config": asdict(run),
        "versions": environment(),
    }


def write_export(config: ExportConfig) -> tuple[Path, dict[str, Any]]:
    """Write `config.out` and its description.

    Args:
        config: Config of the export.

    Returns:
        Path of the file, and its description, which holds the `difference` if the file was checked.

    Raises:
        InputError: If the run cannot be used, if a file exists already, or if another process writes it; raised before
            anything is compiled or written.
        NumericalError: If the artifact computes something else than the model; no file is written then.
    """
    if not config.out:
        raise InputError("There is no name for the file to write: give out=FILE, such as out=mine.stablehlo.")
    out, run = Path(config.out), replace(read_run(config.run), run=config.run)
    _check_new(out)
    with explain_full_disk(out.parent):
        make_folder(out.parent)
        with exclusive(out.with_name(f".{out.name}.lock"), wait=False):
            return out, _write(config, run, out)


def _write(config: ExportConfig, run: TrainConfig, out: Path) -> dict[str, Any]:
    _check_new(out)  # also what another process wrote before the lock was free
    model = load_surrogate(config.run)
    exported = lower(model)
    artifact = bytes(exported.serialize(vjp_order=1))
    content = describe(exported, artifact, model, run)
    if config.check:
        content["difference"] = differences(artifact, model)
        if not all(difference < LARGEST_DIFFERENCE for difference in content["difference"].values()):
            raise NumericalError(
                f"The export of {config.run} computes something else than its model: relative to it, it differs by "
                f"{content['difference']}, more than {LARGEST_DIFFERENCE:g}. No file was written. Evaluate the run: if "
                "its predictions are finite, this is a defect to report."
            )
    write_bytes(out, artifact)
    write_json(_description(out), content)
    return content


def _description(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")


def _check_new(out: Path) -> None:
    for file in (out, _description(out)):
        if file.exists():
            raise InputError(f"{file} exists already; an export overwrites nothing. Choose another out, or remove it.")
