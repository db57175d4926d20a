"""Pack an evaluated run into one small file with a card (packed.py), and unpack such a file into a run's folder."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from data_gen.common.errors import InputError
from data_gen.common.files import exclusive, make_folder, read_json, write_bytes, write_json
from data_gen.common.sealed import sealed
from data_gen.dataset.generation import generate
from surrogate.config import TrainConfig
from surrogate.models.surrogate import Surrogate
from surrogate.runs.checkpoints import Checkpoints
from surrogate.runs.error_tables import read_examples
from surrogate.runs.folder import claim_folder, read_run
from surrogate.runs.load import best_step, best_validation, load_surrogate
from surrogate.runs.packed import (
    CARD,
    FORMAT,
    SMALL,
    TRAINING_MODELS,
    Packed,
    digest_of_entries,
    find_packed,
    named_arrays,
    restored,
    rounded,
)
from surrogate.runs.predict import apply_to_batch
from surrogate.runs.timing import training_seconds
from surrogate.runs.training_models import FILE
from surrogate.tasks.common import example

EXAMPLES = 16  # whose errors the card states one by one, so that anybody can check them
# Parts of `metrics.json` that stay behind: of the evaluated folder, and of other data.
ELSEWHERE = ("config", "evaluated", "drawn", "other", "real_model")
LARGEST_ROUNDING = 0.02  # of the error: rounding the weights may not be what an error is made of


def pack(run: str | Path, file: str | Path, texts: dict[str, str]) -> dict[str, Any]:
    """Pack an evaluated run into one file.

    Args:
        run: Folder of the run.
        file: File to write, .npz.
        texts: Texts for people by title, such as `about`, `limits` and `license`.

    Returns:
        The card.

    Raises:
        InputError: If the run was not evaluated, if the file exists or has another suffix, or if the error of the
            rounded weights is another one; no file is written then.
    """
    run, file = Path(run), Path(file)
    if file.suffix != ".npz":
        raise InputError(f"A packed surrogate is an .npz file, but the name is {file}. Give such as mine.npz.")
    if file.exists():
        raise InputError(f"{file} exists already; packing overwrites nothing. Choose another name, or remove it.")
    config = read_run(run)
    measured = run / "metrics.json"
    if not measured.is_file():
        raise InputError(
            f"{run} was not evaluated, so its card could not say how well it predicts. Run `wave evaluate run={run}`."
        )
    if read_json(measured).get("evaluated", {}).get("step") != best_step(run):
        raise InputError(f"The evaluation of {run} is of other weights than its best. Run `wave evaluate run={run}`.")
    if files := [name for name, options in config.data.families.items() if "path" in (options or {})]:
        raise InputError(
            f"The families {', '.join(files)} of {run} read models from files, which a packed surrogate cannot hold. "
            "Share the folder of the run and those files instead."
        )
    metrics = {name: value for name, value in read_json(measured).items() if name not in ELSEWHERE}
    model = load_surrogate(run)
    named = named_arrays(nnx.state(model, nnx.Not(nnx.RngState)))
    entries: dict[str, np.ndarray] = {}
    for name, values in named.items():
        entries |= rounded(name, np.asarray(values))
    if model.training_models is not None:
        entries[TRAINING_MODELS] = model.training_models.features
    card = {
        "format": FORMAT,
        "texts": texts,
        "config": asdict(_portable(config)),
        "step": best_step(run),
        "validation": best_validation(run),
        "training_seconds": training_seconds(run, config.training.batch_size),
        "precision": f"float16, arrays of fewer than {SMALL} numbers in float32",
        "first_errors": read_examples(run / "errors_test.csv")["surrogate.relative_l2"][:EXAMPLES],
        "metrics": metrics,
        "arrays": digest_of_entries(entries),
    }
    packed = Packed(card, config, restored(entries))
    card["rounding"] = _rounding(model, packed.create())
    error = metrics["relative_l2"]["mean"]
    if not card["rounding"] <= LARGEST_ROUNDING * error:
        raise InputError(
            f"Predictions of {run} with weights in float16 differ by {card['rounding']:.2g} from its own, more than "
            f"{LARGEST_ROUNDING:g} of its error of {error:.2g}. Share the folder of the run instead."
        )
    text = json.dumps(sealed(card)).encode()
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **{"card": np.frombuffer(text, np.uint8), **entries})
    make_folder(file.parent)
    write_bytes(file, content.getvalue())
    return card


def _portable(config: TrainConfig) -> TrainConfig:
    """Leave out of a config what is of one machine or one account: places, W&B, devices, the run that it began with."""
    fresh = TrainConfig()
    data = replace(config.data, path=f"data/{Path(config.data.path).name}")
    return replace(config, run=fresh.run, data=data, init=fresh.init, tracking=fresh.tracking, parallel=fresh.parallel)


def _rounding(model: Surrogate, rounded: Surrogate) -> float:
    """Compute the relative L2 difference of two surrogates on a random example."""
    made = {name: values[None] for name, values in jax.jit(lambda: example(model.task))().items()}
    ours, theirs = (np.asarray(apply_to_batch(one, made), np.float64) for one in (model, rounded))
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours))


def unpack(
    name: str | Path,
    folder: str | Path,
    samples: int = EXAMPLES,
    on_progress: Callable[[str], None] = lambda stage: None,
) -> dict[str, Any]:
    """Make the folder of a run from a packed surrogate, for every command that takes run=FOLDER.

    Args:
        name: A file, or the name of a pretrained surrogate.
        folder: Folder of the run to make; if it is that of the same surrogate already, what is missing is made.
        samples: Number of test samples that are drawn from the recipe of its data into `FOLDER/data`, to evaluate it
            on; 0 for none.
        on_progress: Function that is called with the name of each stage.

    Returns:
        The card.

    Raises:
        InputError: If the name is none, if the folder holds something else, or if the data were imported from files,
            which have no recipe.
    """
    packed, folder = find_packed(name), Path(folder)
    if samples and packed.config.data.recorded is not None:
        raise InputError(
            f"{name} was trained on data that were imported from files, so no test samples can be drawn for it. Unpack "
            "it with --samples 0, and evaluate it with data.path=FOLDER, the folder of those data."
        )
    if samples < 0:
        raise InputError(f"--samples is a number of test samples, 0 for none, but got {samples}.")
    known = read_json(folder / CARD).get("arrays") if (folder / CARD).is_file() else None
    if known != packed.card["arrays"] and (known is not None or (folder / "checkpoints").exists()):
        raise InputError(f"{folder} holds the weights of another surrogate or of a training. Choose another folder.")
    model = packed.create()  # refuses arrays that do not fit, before anything is written
    data = replace(packed.config.data, path=str(folder / "data"))
    claim_folder(folder, replace(packed.config, run=str(folder), data=data))
    with exclusive(folder / "unpack.lock"):
        write_json(folder / CARD, packed.card)  # first: it says whose the weights are
        if packed.training_models is not None:
            packed.training_models.save(folder / FILE)
        checkpoints = Checkpoints(folder)
        try:
            if checkpoints.best_step is None:
                progress = {"validation": packed.card["validation"]}
                checkpoints.save_best(packed.card["step"], nnx.to_pure_dict(nnx.state(model)), progress)
        finally:
            checkpoints.close()
        if samples:
            on_progress(f"simulating {samples} test samples")
            generate(replace(data, source="disk", train=0, validation=1, test=samples))
    return packed.card
