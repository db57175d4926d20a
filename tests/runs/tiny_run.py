"""The smallest data set and run, for tests of what lies on disk."""

from pathlib import Path

import jax
import numpy as np
from flax import nnx

from data_gen.dataset import generation as dataset
from surrogate.config import TrainConfig
from surrogate.encodings.schemas import SourceMapConfig
from surrogate.operators.fno import FNOConfig
from surrogate.runs.fit import fit
from surrogate.runs.load import load_surrogate
from surrogate.training.config import TrainingConfig
from surrogate.training.tracking import TrackingConfig
from tests.helpers import tiny_config


def config_of(folder: Path, steps: int = 4) -> TrainConfig:
    return TrainConfig(
        run=str(folder / "run"),
        data=tiny_config(folder / "data"),
        model=FNOConfig(width=4, depth=1, modes=[2, 2], mlp_ratio=2),
        encoding=SourceMapConfig(),
        training=TrainingConfig(steps=steps, warmup_steps=1, batch_size=4, checkpoint_every=2, validate_every=2),
        tracking=TrackingConfig("disabled"),
    )


def train(folder: Path) -> None:
    """Make a data set, `data`, and a run, `run`."""
    dataset.generate(tiny_config(folder / "data"))
    fit(config_of(folder))


def weights(run: Path) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(nnx.to_pure_dict(nnx.state(load_surrogate(run))))]
