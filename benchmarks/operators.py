"""Train all operators with all encodings at one equal budget: `python -m benchmarks.operators [--seconds 120]`.

The data set is one of these, cut short by `--train` and `--test`:

- `data=reference`, with the preset of every operator;
- `--data reference_small`: half as many wavelengths a side, with about half the presets' modes;
- `--data demo`: the data set and the settings of `make demo` (`experiment=demo`), for the FNOs only.

The cost of a step is measured before the training, for all operators in turn and `ROUNDS` times, and its median decides
the number of steps, so that all operators spend the same time. Time is core-seconds on a CPU: the processor time of
this process. Other processes disturb it less than the clock, and least where this process has a core of its own
(`taskset -c 0 python -m ...`). On other devices it is seconds of the clock. The learning rate decays over these steps.
`--steps N` gives all operators the same number of steps instead. The errors are those of the last weights, on the test
split. A second seed trains for as many steps as the first, so that only the seed differs. Rows are saved as they come:
an interrupted command resumes.
"""

import argparse
import json
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hydra import compose, initialize_config_dir

from benchmarks.report import machine, results_path, slug, write_rows
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.errors import NumericalError
from data_gen.common.hydra_app import typed
from data_gen.dataset import generation as dataset
from surrogate.config import TrainConfig, register
from surrogate.models.surrogate import count_parameters
from surrogate.runs.checkpoints import CheckpointError
from surrogate.runs.fit import fit
from surrogate.runs.load import load_surrogate
from surrogate.runs.predict import predict_batch
from surrogate.training.batches import ordered_batches
from surrogate.training.host_memory import keep_freed_memory

CLASSIC = ["model.block=classic", "model.norm=none", "model.local=false"]
DEEP = ["model.depth=8", "model.width=22"]  # twice the blocks of the presets, and as many parameters
OPERATORS: dict[str, list[str]] = {
    "fno": [],
    "fno, gated": ["model.gated=true"],
    "fno, products": ["model=fno_reference"],
    "fno, gated, deep": ["model.gated=true", *DEEP],
    "fno, classic": CLASSIC,
    "fno, classic, deep": [*CLASSIC, *DEEP],
    "ffno": ["model=ffno"],
    "tfno": ["model=tfno"],
    "ufno": ["model=ufno"],
    "uno": ["model=uno"],
    "unet": ["model=unet"],
    "deeponet": ["model=deeponet"],
    "multiscale": ["model=multiscale"],
}
HALF = ["model.modes=[9,9]"]  # 8 cycles a side, padding counted
# The presets' modes belong to the waves of the reference; on half as many wavelengths:
SMALL = {
    **dict.fromkeys(OPERATORS, HALF),
    "ffno": ["model.modes=[13,13]"],
    "unet": [],
    "multiscale": ["model.first.modes=[7,7]", "model.second.modes=[13,13]", "model.cutoff=[4,4]"],
}
ENCODINGS = ("source_map", "background", "coarse")
COARSE = "coarse solver alone"
# A step's cost is the median over as many short trainings of as many steps, the clock read every few steps.
ROUNDS, COSTED, COSTED_EVERY = 3, 40, 4


@dataclass(frozen=True)
class Data:
    """Name the folder of the data set and the trainings, the preset of the data, and its numbers of samples."""

    folder: Path
    preset: str
    train: int
    test: int


def configured(data: Data, operator: str, encoding: str, seed: int, steps: int) -> TrainConfig:
    """Return the config of one training, which validates and keeps only its last weights."""
    run = data.folder / slug(f"{operator} {encoding} {seed} {steps}")
    lines = [
        f"data={data.preset}",
        f"data.path={data.folder / data.preset}",
        f"data.train={data.train}",
        f"data.test={data.test}",
    ]
    lines += [f"encoding={encoding}", f"run={run}", "tracking.mode=disabled"]
    lines += OPERATORS[operator] + (SMALL[operator] if data.preset == "reference_small" else [])
    settings: dict[str, Any] = {"steps": steps, "seed": seed, "warmup_steps": min(50, steps - 1)}
    if data.preset == "demo":
        lines.append("experiment=demo")
    else:
        settings["learning_rate"] = 3e-3
    settings |= {"validate_every": steps, "checkpoint_every": steps, "verify": "false"}
    lines += [f"training.{name}={value}" for name, value in settings.items()]
    return typed(compose("train", overrides=lines), TrainConfig)


def unit() -> str:
    """Name what is spent: seconds of processor time, or of the clock where another device computes."""
    return "core_s" if jax.default_backend() == "cpu" else "wall_s"


def clocked(config: TrainConfig, every: int) -> dict[int, float]:
    """Train, and return the time [s] at every `every`-th step."""
    clock = {"core_s": time.process_time, "wall_s": time.perf_counter}[unit()]
    times: dict[int, float] = {}

    def mark(step: int, values: dict[str, float]) -> None:
        if step % every == 0:
            times[step] = clock()

    config.training.log_every = every
    fit(config, mark)
    return times


def step_costs(config: TrainConfig) -> np.ndarray:
    """Return measurements of the time of one step [s], without compilation; the short training is thrown away."""
    shutil.rmtree(config.run, ignore_errors=True)
    times = clocked(config, COSTED_EVERY)
    shutil.rmtree(config.run)
    return np.diff([times[step] for step in sorted(times)]) / COSTED_EVERY


def errors_of(config: TrainConfig, predict: Callable[[Any], jax.Array]) -> dict[str, float]:
    """Return mean errors over the test split: in total, and by band of wavenumbers."""
    task = config.task.create(config.data.create())
    errors = [
        jax.tree.map(np.asarray, task.errors(predict(batch), jax.tree.map(jnp.asarray, batch)))
        for batch in ordered_batches(config.data.path, "test", 16, task)
    ]
    joined = jax.tree.map(lambda *leaves: float(np.concatenate(leaves).mean()), *errors)
    return {"relative_l2": joined["relative_l2"], **{f"{k}_k": v for k, v in joined["bands"].items()}}


def steps_within(data: Data, operators: list[str], encoding: str, seed: int, budget: float) -> dict[str, int]:
    """Return the number of steps of each operator that takes the time of the budget."""
    costs: dict[str, list[np.ndarray]] = {name: [] for name in operators}
    for _ in range(ROUNDS):
        for name in operators:
            costs[name].append(step_costs(configured(data, name, encoding, seed, COSTED)))
    return {name: max(1, round(budget / float(np.median(np.concatenate(costs[name]))))) for name in operators}


def measure(data: Data, operator: str, encoding: str, seed: int, steps: int) -> dict[str, Any]:
    """Train an operator, test the last weights, and return the row of results."""
    chosen = configured(data, operator, encoding, seed, steps)
    shutil.rmtree(chosen.run, ignore_errors=True)  # of an interrupted training, whose time is unknown
    first = max(1, steps // 20)
    row: dict[str, Any] = {"operator": operator, "encoding": encoding, "seed": seed}
    row |= {"parameters": count_parameters(chosen.create()), "steps": steps}
    try:
        times = clocked(chosen, first)
        spent = (times[steps - steps % first] - times[first]) / (steps - steps % first - first) * steps
        model = load_surrogate(chosen.run)
    except (NumericalError, CheckpointError) as error:
        row |= {"relative_l2": None, "failure": str(error)}
    else:
        row |= {unit(): spent} | errors_of(chosen, lambda batch: predict_batch(model, batch))
    shutil.rmtree(chosen.run)
    return row


def kept_rows(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the rows to resume from; exit if they were measured with other settings."""
    if not path.exists():
        return []
    kept = json.loads(path.read_text(encoding="utf-8"))
    if there := {name: kept.get(name) for name, value in settings.items() if kept.get(name) != value}:
        raise SystemExit(
            f"{path} holds rows taken with {there}, which do not compare with rows taken with {settings}. Keep "
            "them and name another folder with --out, or remove the file."
        )
    return kept["rows"]


def table(rows: list[dict[str, Any]]) -> str:
    """Format relative L2 by operator and encoding in Markdown: mean of the seeds +- half their range, and steps."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["operator"], row["encoding"]), []).append(row)

    def cell(operator: str, encoding: str) -> str:
        if not (seeds := found.get((operator, encoding))):
            return ""
        errors = [row["relative_l2"] for row in seeds if row["relative_l2"] is not None]
        if len(errors) < len(seeds):
            return f"{len(seeds) - len(errors)} of {len(seeds)} diverged"
        spread = f" ± {(max(errors) - min(errors)) / 2:.4f}" if len(errors) > 1 else ""
        steps = f" ({seeds[0]['steps']})" if "steps" in seeds[0] else ""
        return f"{np.mean(errors):.4f}{spread}{steps}"

    lines = [["operator", "parameters", *ENCODINGS], ["---"] * (2 + len(ENCODINGS))]
    for operator in dict.fromkeys(row["operator"] for row in rows if row["encoding"]):
        count = next(row["parameters"] for row in rows if row["operator"] == operator)
        lines.append([operator, f"{count / 1e6:.2f} M", *(cell(operator, encoding) for encoding in ENCODINGS)])
    lines.append([COARSE, "", "", "", cell(COARSE, "")])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operators", description=__doc__)
    parser.add_argument("--seconds", type=float, default=240.0, help="of each training, on a CPU of processor time")
    parser.add_argument("--steps", type=int, default=0, help="the same steps for all, instead of the same time")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--operators", nargs="+", default=list(OPERATORS), choices=OPERATORS)
    parser.add_argument("--encodings", nargs="+", default=list(ENCODINGS), choices=ENCODINGS)
    parser.add_argument("--data", default="reference", choices=("reference", "reference_small", "demo"))
    parser.add_argument("--train", type=int, default=4000, help="training samples")
    parser.add_argument("--test", type=int, default=128, help="test samples")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "operators", help="the data set and the trainings")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    options = parser.parse_args()
    keep_freed_memory()  # as train.py does
    use_compilation_cache()
    register()
    warnings.simplefilter(
        "ignore", UserWarning
    )  # some operators keep fewer modes than the waves have: it is in the docs
    budget = {"steps": options.steps} if options.steps else {unit(): options.seconds}
    name = "operators" + {"reference": "", "reference_small": "-small", "demo": "-demo"}[options.data]
    name += f"-{options.steps}-steps" if options.steps else ""
    settings = {"data": options.data, "budget": budget, "train": options.train, "test": options.test, "batch_size": 8}
    rows = kept_rows(results_path(options.out, name), settings)
    settings["machine"] = machine()
    done = {(row["operator"], row["encoding"], row["seed"]) for row in rows}
    counts = {(row["operator"], row["encoding"]): row["steps"] for row in rows if "steps" in row}
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        data = Data(options.work, options.data, options.train, options.test)
        first = configured(data, options.operators[0], "coarse", 0, 100)
        dataset.generate(first.data)
        if (COARSE, "", 0) not in done:
            coarse = first.task.create(first.data.create()).methods()["coarse_solver"]
            rows.append({"operator": COARSE, "encoding": "", "seed": 0, **errors_of(first, coarse)})
        for seed in options.seeds:
            for encoding in options.encodings:
                waiting = [operator for operator in options.operators if (operator, encoding, seed) not in done]
                steps = {name: options.steps or counts.get((name, encoding), 0) for name in waiting}
                uncounted = [name for name in waiting if not steps[name]]
                steps |= steps_within(data, uncounted, encoding, seed, options.seconds) if uncounted else {}
                for operator in waiting:
                    row = measure(data, operator, encoding, seed, steps[operator])
                    counts[operator, encoding] = row["steps"]
                    rows.append(row)
                    print("  ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()), flush=True)
                    write_rows(options.out, name, settings, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
