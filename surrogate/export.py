"""Deployment: a trained run as one file that JAX alone runs, on CPU and CUDA, for any batch size, and differentiates once.

    OUT         StableHLO with the weights in it: `jax.export.deserialize(Path(OUT).read_bytes()).call(velocity, source)`
    OUT.json    what it is: inputs, outputs, config, fingerprint of the data, versions, checksum

`python -m surrogate.export run=runs/mine out=mine.stablehlo`; see docs/export.md.
"""

import hashlib
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import hydra
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from hydra.core.config_store import ConfigStore
from jax import export
from omegaconf import DictConfig

from data_gen.caching import use_compilation_cache
from data_gen.dataset import fingerprint
from data_gen.errors import InputError, NumericalError, one_paragraph
from data_gen.files import full_disk_is_told, publish, temporary_name, write_json
from data_gen.sample import SPLITS, DataSpec
from surrogate.config import TrainConfig, read_run, typed
from surrogate.evaluation import count_parameters, environment
from surrogate.model import Surrogate
from surrogate.trainer import best_step, load_surrogate

PLATFORMS = ("cpu", "cuda")
INPUTS, TARGET = ("velocity", "source"), "snapshots"
# Rounding, the two time loops' included, is some 1e-6; a file that is off by more than this is of another function.
LARGEST_DIFFERENCE = 1e-3


@dataclass
class ExportConfig:
    """`python -m surrogate.export`. run: a trained run's folder. out: the file to write. check: compare it first."""

    run: str = ""
    out: str = ""
    check: bool = True


def portable(model: Surrogate) -> Surrogate:
    """The same model in evaluation, its encoding computed by XLA alone: the native time loop's code is in no file."""
    copy, encoding = nnx.clone(model), model.encoding
    assert is_dataclass(encoding) and not isinstance(encoding, type)
    simulation = replace(model.encoding.spec.simulation, backend="xla")
    copy.encoding = replace(encoding, spec=replace(model.encoding.spec, simulation=simulation))
    copy.eval()
    return copy


def examples(spec: DataSpec) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of one item of a batch, by name."""
    return jax.eval_shape(lambda: spec.make_shot(spec.key(0, 0), jnp.array(0)))


def lower(model: Surrogate) -> export.Exported:
    """The model as a function of its inputs alone, for any batch size, on `PLATFORMS`; the weights are constants."""
    frozen, items = portable(model), examples(model.encoding.spec)
    (batch,) = export.symbolic_shape("batch")
    inputs = [jax.ShapeDtypeStruct((batch, *items[name].shape), items[name].dtype) for name in INPUTS]

    def surrogate(*inputs):
        return frozen(*inputs)

    return export.export(jax.jit(surrogate), platforms=PLATFORMS)(*inputs)


def differences(artifact: bytes, model: Surrogate) -> dict[str, float]:
    """Relative L2 between the artifact and the model on a random sample: of the prediction, and of its vjp."""
    spec = model.encoding.spec
    sample = spec.make_shot(spec.key(SPLITS.index("validation"), 0), jnp.array(0))
    inputs = [sample[name][None] for name in INPUTS]
    cotangent = jax.random.normal(jax.random.key(0), (1, *sample[TARGET].shape))

    @nnx.jit
    def of_model(model, *inputs):
        prediction, pull = jax.vjp(model, *inputs)
        return prediction, pull(cotangent)

    prediction, pull = jax.vjp(export.deserialize(bytearray(artifact)).call, *inputs)
    found, expected = (prediction, pull(cotangent)), of_model(model, *inputs)
    return {
        "prediction": _relative(found[0], expected[0]),
        "gradient": _relative(found[1], expected[1]),
    }


def _relative(found: Any, expected: Any) -> float:
    """The largest relative L2 of any array; of one that is zero everywhere, 0 or infinity."""
    errors = []
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        error, norm = float(jnp.linalg.norm(jnp.ravel(a - b))), float(jnp.linalg.norm(jnp.ravel(b)))
        errors.append(error / norm if norm else np.inf if error else 0.0)
    return max(errors)


def describe(artifact: bytes, model: Surrogate, run: TrainConfig, step: int | None) -> dict[str, Any]:
    """What `OUT.json` says of an artifact: enough to call it, and to know what it was trained on."""
    spec = model.encoding.spec
    ranges = input_ranges(spec)
    inputs = [
        {"name": name, "shape": ["batch", *item.shape], "dtype": str(item.dtype), **ranges[name]}
        for name, item in ((name, examples(spec)[name]) for name in INPUTS)
    ]
    target = examples(spec)[TARGET]
    output = {"name": TARGET, "shape": ["batch", *target.shape], "dtype": str(target.dtype), **output_axes(spec)}
    return {
        "format": 1,
        "artifact": {
            "sha256": hashlib.sha256(artifact).hexdigest(),
            "bytes": len(artifact),
            "platforms": list(PLATFORMS),
            "derivatives": "reverse mode, once",
            "calling_convention_version": export.deserialize(bytearray(artifact)).calling_convention_version,
        },
        "inputs": inputs,
        "outputs": [output],
        "grid": {"spacing": spec.simulation.grid.spacing, "unit": "m"},
        "parameters": count_parameters(model),
        "step": step,
        "dataset": {"fingerprint": fingerprint(run.data)},
        "config": asdict(run),
        "versions": environment(),
    }


def input_ranges(spec: DataSpec) -> dict[str, dict[str, Any]]:
    """Unit, meaning and range in training of each input; an operator is trusted in there only."""
    grid, (first, last) = spec.simulation.grid, spec.shots.rows
    depths = [first * grid.spacing, last * grid.spacing]
    return {
        "velocity": {
            "unit": "m/s",
            "axes": ["batch", "z", "x"],
            "least": spec.slowest,
            "largest": spec.mixture.max_velocity,
        },
        "source": {
            "unit": "m",
            "axes": ["batch", "(z, x) from the first cell's centre"],
            "least": [depths[0], 0.0],
            "largest": [depths[1], grid.extent[1]],
        },
    }


def output_axes(spec: DataSpec) -> dict[str, Any]:
    """Meaning of the output's axes, and the times of its snapshots."""
    return {"axes": ["batch", "time", "z", "x"], "times": spec.simulation.snapshot_times.tolist(), "time_unit": "s"}


def write_export(config: ExportConfig) -> tuple[Path, dict[str, Any]]:
    """Write `config.out` and its description; returns its path and the description, `difference` in it if checked.

    Raises `InputError`, before anything is compiled or written, if the run cannot be used or there is a file already;
    `NumericalError`, with nothing written, if the artifact computes something else than the model.
    """
    if not config.out:
        raise InputError("There is no name for the file to write: give out=FILE, such as out=mine.stablehlo.")
    out = Path(config.out)
    description = out.with_name(f"{out.name}.json")
    for file in (out, description):
        if file.exists():
            raise InputError(f"{file} exists already; an export overwrites nothing. Choose another out, or remove it.")
    run, model = read_run(config.run), load_surrogate(config.run)
    artifact = bytes(lower(model).serialize(vjp_order=1))
    content = describe(artifact, model, run, best_step(config.run))
    if config.check:
        content["difference"] = differences(artifact, model)
        if not max(content["difference"].values()) < LARGEST_DIFFERENCE:
            raise NumericalError(
                f"The export of {config.run} computes something else than the model: {content['difference']} relative "
                f"to it, more than {LARGEST_DIFFERENCE:g}. Nothing was written. Please report it with {config.run}."
            )
    with full_disk_is_told(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(out)
        try:
            temporary.write_bytes(artifact)
            publish(temporary, out)
        finally:
            temporary.unlink(missing_ok=True)
        write_json(description, content)
    return out, content


ConfigStore.instance().store(name="export_schema", node=ExportConfig)


@hydra.main(version_base="1.3", config_path=str(Path(__file__).parents[1] / "configs"), config_name="export")
@one_paragraph
def main(composed: DictConfig) -> None:
    """Turn the config into an `ExportConfig`, export, and say what was written."""
    use_compilation_cache()
    out, content = write_export(typed(composed, ExportConfig))
    print(f"{out}: {content['artifact']['bytes'] / 1e6:.1f} MB, described in {out.name}.json")
    if difference := content.get("difference"):
        print(
            f"Against the model, relative L2: {difference['prediction']:.1e}, its gradient {difference['gradient']:.1e}"
        )


if __name__ == "__main__":
    main()
