"""`wave invert run=R` inverts in the simulation of R."""

from dataclasses import asdict
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from data_gen.common.errors import InputError
from data_gen.common.files import write_json
from data_gen.common.hydra_app import typed
from data_gen.dataset.config import DataConfig
from surrogate.commands.invert import stored_data
from surrogate.config import InvertConfig, TrainConfig
from tests.helpers import tiny_config

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def run(tmp_path):
    """Folder of a run, as far as its config."""
    write_json(tmp_path / "config.json", asdict(TrainConfig(data=tiny_config("data/tiny"))))
    return str(tmp_path)


def data_of(*overrides: str) -> DataConfig:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        HydraConfig.instance().set_config(compose("invert", overrides=list(overrides), return_hydra_config=True))
        return stored_data(typed(compose("invert", overrides=list(overrides)), InvertConfig))


def test_the_run_gives_what_the_command_line_leaves(run, capsys):
    """The preset's own record length gives way, and the command says so; another true model may be drawn."""
    expected = tiny_config("data/tiny")
    assert data_of("inversion=gathers", f"run={run}") == expected
    assert "nt: 801 -> 121" in capsys.readouterr().out
    expected.seed = 7
    assert data_of(f"run={run}", "data.seed=7", "data.nt=121") == expected
    assert data_of("data=lecture", f"run={run}").nt == data_of("data=lecture").nt


def test_what_contradicts_the_run_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"data.nt is 100 on the command line, but 121 in the run"):
        data_of(f"run={run}", "data.nt=100")
    with pytest.raises(InputError, match="is not a run"):
        data_of(f"run={tmp_path / 'absent'}")
