"""Register the encodings: which of them a task can have follows from the arrays that both declare."""

from typing import Any, ClassVar, Protocol, runtime_checkable

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from surrogate.encodings.folded_gathers import FoldedGathers, LogFoldedGathers
from surrogate.encodings.gather import CoarseGather, DirectWave, HomogeneousGather
from surrogate.encodings.harmonic import HarmonicBackground, HarmonicCoarse, HarmonicSourceMap
from surrogate.encodings.schemas import EncodingConfig
from surrogate.encodings.state_pair import StatePair
from surrogate.encodings.wavefield import Background, Coarse, SourceMap
from surrogate.protocols import Encoding, Task


@runtime_checkable
class RegisteredEncoding(Encoding, Protocol):
    """An encoding that a config can choose.

    Attributes:
        settings: Class of its settings, whose name is the encoding's; encodings of other arrays may share it.
        inputs: Names of the arrays of an example that it encodes.
        target: Name of the array that is predicted with it.
    """

    settings: ClassVar[type[EncodingConfig]]
    inputs: ClassVar[tuple[str, ...]]
    target: ClassVar[str]

    @classmethod
    def create(cls, spec: DataSpec, config: Any) -> Encoding:
        """Create the encoding.

        Args:
            spec: Description of the data set.
            config: Its settings.

        Returns:
            The encoding.
        """
        ...


ENCODINGS: list[type[RegisteredEncoding]] = [
    SourceMap,
    Background,
    Coarse,
    DirectWave,
    HomogeneousGather,
    CoarseGather,
    HarmonicSourceMap,
    HarmonicBackground,
    HarmonicCoarse,
    StatePair,
    FoldedGathers,
    LogFoldedGathers,
]


def encoding_schemas() -> dict[str, type[EncodingConfig]]:
    """Return the settings of all encodings by name."""
    return {encoding.settings.name: encoding.settings for encoding in ENCODINGS}


def make_encoding(config: EncodingConfig, task: Task) -> Encoding:
    """Create the encoding that a config chooses, for the arrays of a task.

    Args:
        config: Settings of the encoding.
        task: Task that the encoding belongs to.

    Returns:
        The encoding.

    Raises:
        InputError: If no encoding of that name encodes the arrays of the task.
    """
    arrays = task.inputs, task.target
    choices = {e.settings.name: e for e in ENCODINGS if (e.inputs, e.target) == arrays}
    if config.name not in choices:
        raise InputError(
            f"encoding={config.name} cannot be had with task={task.name}, which predicts {task.target} from "
            f"{', '.join(task.inputs)}: encoding must be one of {', '.join(choices) or '(none is registered)'}."
        )
    return choices[config.name].create(task.spec, config)
