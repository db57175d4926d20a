"""Describe the models that a run learns from, in a file of its folder; see surrogate/models/training_distance.py."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.dataset.config import DataConfig
from data_gen.dataset.generation import data_source
from data_gen.dataset.sample import ONLINE
from surrogate.models.training_distance import FEWEST, TrainingModels
from surrogate.protocols import Task

FILE = "training_models.npy"
MOST = 512  # models that are described


def write_training_models(folder: Path, config: DataConfig, task: Task) -> None:
    """Describe training models in a run's folder, if the task reads models and there are enough of them.

    Those of a split are evenly spaced; online, they are the first of the stream. A file that is there is kept. Models
    that the weights of `init.run` were trained on do not count: further training may have forgotten them.

    Args:
        folder: Folder of the run.
        config: Config of the data set.
        task: Task of the run.
    """
    online = config.source == "online"
    count = MOST if online else min(MOST, config.train)
    if "velocity" not in task.inputs or count < FEWEST or (folder / FILE).exists():
        return
    if online:
        spec = task.spec
        draw = jax.jit(lambda items: jax.lax.map(lambda item: spec.draw(spec.key(ONLINE, item)).velocity, items))
        velocities = np.asarray(draw(jnp.arange(count, dtype=jnp.uint32)))
    else:
        records = data_source(config.path, "train")
        chosen = np.linspace(0, len(records) - 1, count).astype(int)
        velocities = (records[int(index)]["velocity"] for index in chosen)
    TrainingModels.of(velocities).save(folder / FILE)


def read_training_models(folder: Path) -> TrainingModels | None:
    """Read what a run's folder says of its training models.

    Args:
        folder: Folder of the run.

    Returns:
        The training models; None if it says nothing, such as that of an earlier version.

    Raises:
        InputError: If the file is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return TrainingModels(np.load(file, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} is damaged ({error}). Restore it from a copy, or remove it.") from error
