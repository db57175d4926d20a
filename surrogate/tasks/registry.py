"""Register the tasks: `task=NAME` chooses what is predicted from what."""

from surrogate.tasks.base import TaskConfig
from surrogate.tasks.gather import GatherConfig
from surrogate.tasks.harmonic import HarmonicConfig
from surrogate.tasks.inverse import InverseConfig
from surrogate.tasks.propagator import PropagatorConfig
from surrogate.tasks.wavefield import WavefieldConfig

TASKS: dict[str, type[TaskConfig]] = {
    config.name: config for config in (WavefieldConfig, PropagatorConfig, InverseConfig, GatherConfig, HarmonicConfig)
}
