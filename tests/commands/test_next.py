"""Every command ends with the command that may come next."""

import pytest

from data_gen.commands.generate import training_command


@pytest.mark.parametrize(
    ("preset", "path", "command"),
    [
        ("demo", "data/mine", "wave train experiment=demo data.path=data/mine run=runs/mine"),
        ("openfwi", "data/o", "wave train experiment=inverse_reference data.path=data/o run=runs/o"),
        ("tiny", "/tmp/a b", "wave train experiment=tiny 'data.path=/tmp/a b' 'run=runs/a b'"),
    ],
)
def test_the_command_after_generation(preset, path, command):
    """The experiment made for the preset is proposed, quoted for the shell; the manifest says the rest of the data."""
    assert training_command(preset, path) == command
