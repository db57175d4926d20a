"""Read packed surrogates: small files of weights and a card, of one's own and the pretrained ones of the package.

    card            JSON: the config, what an evaluation measured, texts for people, the digest of the arrays
    weights/NAME    array NAME of the model in float16, divided by its largest magnitude
    scale/NAME      that magnitude
    whole/NAME      an array of fewer than SMALL numbers, such as the normalization, as it is
    training_models what describes the models that it has learned from (surrogate/models/training_distance.py), if known

An .npz of these, read without pickle. The pretrained surrogates lie in the package, and their files have the SHA-256
that PRETRAINED states: another file of that name is refused.
"""

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_gen.common.digest import digest_of_all
from data_gen.common.errors import InputError
from data_gen.common.files import read_json
from data_gen.common.sealed import opened
from surrogate.config import TrainConfig
from surrogate.models.surrogate import Surrogate
from surrogate.models.training_distance import TrainingModels
from surrogate.runs.folder import from_plain

FORMAT = 1
CARD = "card.json"  # in the folder of an unpacked run
TRAINING_MODELS = "training_models"  # entry of the file
SMALL = 256  # numbers
FOLDER = Path(__file__).parents[1] / "pretrained"
# SHA-256 of the files of the pretrained surrogates, by their names.
PRETRAINED = {
    "wavefield-small": "753bd461bf2802f858138bc65d3be853b2b0c17410bc13ef43623fc2ca20e4f0",
    "gather-openfwi": "b16301bff6e51eff30e0ad8c154d12135e5ce41912ed10ec2326727fdf788823",
}


@dataclass(frozen=True)
class Packed:
    """Hold a packed surrogate.

    Attributes:
        card: Its card.
        config: Config of its run.
        arrays: Arrays of the model by name.
        training_models: Description of the models that it has learned from; None if there is none.
    """

    card: dict[str, Any]
    config: TrainConfig
    arrays: dict[str, np.ndarray]
    training_models: TrainingModels | None = None

    def create(self, config: TrainConfig | None = None) -> Surrogate:
        """Create the surrogate with its weights.

        Args:
            config: Config with another grid for the surrogate; None: its own config.

        Returns:
            The surrogate.

        Raises:
            InputError: If the arrays are not those of such a model.
        """
        model = (config or self.config).create()
        state = nnx.state(model, nnx.Not(nnx.RngState))
        nnx.update(model, _filled(state, self.arrays))
        model.training_models = self.training_models
        return model


def named_arrays(state: nnx.State) -> dict[str, jax.Array]:
    """Name the arrays of a model, in the order of its leaves.

    Args:
        state: State of the model.

    Returns:
        The arrays by name.
    """
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(state))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _filled(state: nnx.State, arrays: dict[str, np.ndarray]) -> nnx.State:
    expected = {name: leaf.shape for name, leaf in named_arrays(state).items()}
    found = {name: values.shape for name, values in arrays.items()}
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        first = wrong[0]
        raise InputError(
            f"The packed arrays are of another model than the packed config: {first} has shape "
            f"{found.get(first, 'absent')}, but {expected.get(first, 'absent')} is expected. Pack the run again."
        )
    pure = nnx.to_pure_dict(state)
    structure = jax.tree.structure(pure)
    nnx.replace_by_pure_dict(state, jax.tree.unflatten(structure, [jnp.asarray(arrays[name]) for name in expected]))
    return state


def rounded(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Make the entries of an array in the file.

    Args:
        name: Name of the array.
        values: The array.

    Returns:
        Its entries by name, in float16 if it is large.
    """
    if values.size < SMALL or values.dtype != np.float32:
        return {f"whole/{name}": values}
    scale = np.abs(values).max() or np.float32(1)
    return {f"weights/{name}": (values / scale).astype(np.float16), f"scale/{name}": np.asarray(scale, np.float32)}


def restored(entries: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Make the arrays of the entries in a file.

    Args:
        entries: Entries of all arrays.

    Returns:
        The arrays by name.
    """
    arrays = {}
    for entry, values in entries.items():
        kind, _, name = entry.partition("/")
        if kind == "whole":
            arrays[name] = values
        elif kind == "weights":
            arrays[name] = values.astype(np.float32) * entries[f"scale/{name}"]
    return arrays


def digest_of_entries(entries: dict[str, np.ndarray]) -> str:
    """Hash the arrays of the model in a file, by the names of their entries.

    Args:
        entries: The entries; what describes the training models is none of the model's, and left out.

    Returns:
        The hash, 16 hexadecimal digits.
    """
    return digest_of_all(part for name in sorted(entries) if name != TRAINING_MODELS for part in (name, entries[name]))


def packed_file(name: str | Path) -> Path | None:
    """Find the file of a packed surrogate.

    Args:
        name: A file, or the name of a pretrained surrogate.

    Returns:
        The file; None if that is neither, such as the folder of a run.

    Raises:
        InputError: If the file of a pretrained surrogate is not the one that was published, or if something else has
            its name here.
    """
    place = Path(name)
    if place.is_file() and place.suffix == ".npz":
        return place
    if str(name) not in PRETRAINED:
        return None
    file = FOLDER / f"{name}.npz"
    found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "absent"
    if found != PRETRAINED[str(name)]:
        raise InputError(
            f"The file of the pretrained surrogate {name}, {file}, is not the one that was published (SHA-256 {found}, "
            f"expected {PRETRAINED[str(name)]}). Install the package again."
        )
    if not place.exists():
        return file
    card = read_json(place / CARD) if (place / CARD).is_file() else {}
    if card.get("arrays") != read_packed(file).card["arrays"]:
        raise InputError(
            f"{name} is the name of a pretrained surrogate, and there is a {name} here that is another one. Write "
            f"./{name} for the one here, or move it."
        )
    return None  # unpacked here


def read_packed(file: Path) -> Packed:
    """Read a packed surrogate.

    Args:
        file: Its file.

    Returns:
        The surrogate.

    Raises:
        InputError: If the file is none of a packed surrogate, is damaged, or is of a later version.
    """
    entries: dict[str, np.ndarray] = {}
    try:
        with np.load(file, allow_pickle=False) as archive:
            entries = {name: archive[name] for name in archive.files}
        card = dict(json.loads(entries.pop("card").tobytes()))
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, BadZipFile, zlib.error) as error:
        raise InputError(
            f"{file} is not a packed surrogate, or is damaged ({error}). `wave pack` writes such files."
        ) from error
    card = opened(card, file)
    if card.get("format") != FORMAT:
        raise InputError(
            f"{file} has the format {card.get('format')}, but this version reads {FORMAT}. Install the version that "
            "wrote it, or a later one."
        )
    if (found := digest_of_entries(entries)) != card.get("arrays"):
        raise InputError(
            f"{file} is damaged: its arrays are not those that were written (digest {found}, but {card.get('arrays')} "
            "was written). Restore it from a copy."
        )
    known = entries.get(TRAINING_MODELS)
    try:
        training_models = None if known is None else TrainingModels(known)
    except ValueError as error:
        raise InputError(f"{file} is damaged: {error}. Restore it from a copy.") from error
    return Packed(card, from_plain(card["config"], TrainConfig, str(file)), restored(entries), training_models)


def load_card(name: str | Path) -> dict[str, Any]:
    """Read the card of a packed surrogate.

    Args:
        name: A file, or the name of a pretrained surrogate.

    Returns:
        The card: config, texts, and what an evaluation measured.

    Raises:
        InputError: If there is no such surrogate, or its file is damaged.
    """
    return find_packed(name).card


def find_packed(name: str | Path) -> Packed:
    """Find and read a packed surrogate.

    Args:
        name: A file, or the name of a pretrained surrogate.

    Returns:
        The surrogate.

    Raises:
        InputError: If there is no such surrogate, or its file is damaged.
    """
    file = packed_file(name)
    if file is None:
        known = ", ".join(PRETRAINED)
        raise InputError(
            f"{name} is neither a file of a packed surrogate (.npz, as `wave pack` writes it) nor the name of a "
            f"pretrained one. There are: {known}."
        )
    return read_packed(file)
