"""Presets that a newcomer combines with the defaults build, or are refused with the key to change and its value."""

import re

import pytest

from data_gen.common.errors import InputError
from data_gen.common.hydra_app import configs_folder, typed
from data_gen.common.hydra_help import Command
from surrogate.config import TrainConfig, register

register()
pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")


def composed(*overrides: str) -> TrainConfig:
    return typed(Command(configs_folder(), "train").compose(overrides), TrainConfig)


def test_the_tiny_data_set_trains():
    """With its experiment, and with the modes that the refusal of the default operator names."""
    one = "data.families={inclusions:{min_velocity:2000}}"  # which is traced in a third of the time
    config = composed("experiment=tiny", one)
    assert config.data == composed("data=tiny", one).data
    config.check_training(config.create())
    with pytest.raises(InputError, match="cannot carry 16 x 16 modes") as refusal:
        composed("data=tiny", one).create()
    named = re.search(r"Set (model.modes=\[\d+,\d+\])", str(refusal.value))
    assert named is not None
    composed("data=tiny", one, "training.steps=20", named[1]).create()


@pytest.mark.parametrize(
    ("data", "tasks"),
    [
        ("openfwi", "task=gather or task=inverse"),
        ("gather_small", "task=gather or task=inverse"),
        ("harmonic_small", "task=harmonic"),
    ],
)
def test_a_data_set_without_snapshots_names_its_tasks(data, tasks):
    with pytest.raises(InputError, match=rf"data.records must hold snapshots. .*choose {tasks}\."):
        composed(f"data={data}").create()
