"""Every command ends with the command that may come next."""

import pytest

from data_gen.commands.generate import training_command


@pytest.mark.parametrize(
    ("preset", "overrides", "command"),
    [
        ("demo", ["data=demo"], "wave train experiment=demo data=demo run=runs/mine"),
        (
            "openfwi",
            ["data=openfwi", "executor=ray"],
            "wave train experiment=inverse_reference data=openfwi run=runs/mine",
        ),
        ("tiny", ["data=tiny", "data.path=/tmp/a b"], "wave train data=tiny 'data.path=/tmp/a b' run=runs/mine"),
    ],
)
def test_the_command_after_generation(preset, overrides, command):
    """The experiment made for the preset is proposed with the same data settings, quoted for the shell."""
    assert training_command(preset, overrides, "mine") == command
