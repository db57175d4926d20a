"""Configs of runs from before each task and each encoding had settings of its own are read; misspelled ones are not."""

from dataclasses import asdict
from typing import Any

import pytest

from data_gen.common.errors import InputError
from data_gen.dataset.config import with_solver_of_its_time
from surrogate.config import TrainConfig
from surrogate.encodings.schemas import BackgroundConfig, CoarseConfig, NoneConfig, SourceMapConfig
from surrogate.operators.fno import FNOConfig
from surrogate.operators.unet import UNetConfig
from surrogate.runs.folder import from_plain
from surrogate.tasks.propagator import PropagatorConfig
from surrogate.tasks.wavefield import WavefieldConfig

TASK = {"unroll": 4, "noise": 0.0, "pushforward": False}
ENCODING = {"radius": 2.0, "velocity": 2500.0}


def read(**values: Any) -> TrainConfig:
    return from_plain({"encoding": {"name": "none"}} | values, TrainConfig, "config.json")


@pytest.mark.parametrize(
    ("stored", "task", "encoding"),
    [
        (
            {
                "task": TASK | {"name": "propagator", "unroll": 2, "noise": 0.01},
                "encoding": ENCODING | {"name": "none"},
            },
            PropagatorConfig(unroll=2, noise=0.01),
            NoneConfig(),
        ),
        (
            {
                "task": TASK | {"name": "wavefield", "unroll": 2},
                "encoding": ENCODING | {"name": "coarse", "radius": 3.0, "ratio": 1.5},
            },
            WavefieldConfig(),
            CoarseConfig(ratio=1.5),
        ),
        (
            {"encoding": ENCODING | {"name": "source_map", "radius": 3.0}},
            WavefieldConfig(),
            SourceMapConfig(radius=3.0),
        ),
        ({"encoding": {"name": "background", "velocity": 2000}}, WavefieldConfig(), BackgroundConfig(velocity=2000.0)),
    ],
)
def test_settings_of_other_names_are_left_out(stored, task, encoding):
    """Those of the run's own name keep their values, and what is read is read again as it is."""
    config = read(**stored)
    assert config.task == task and config.encoding == encoding
    assert read(**asdict(config)) == config


def test_an_operator_without_a_name_is_an_fno():
    assert read(model={"width": 8}).model == FNOConfig(width=8)
    assert read(model={"name": "unet", "width": 8}).model == UNetConfig(width=8)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"task": {"name": "wavefield", "unrol": 2}}, "unrol"),
        ({"task": {"name": "wavefield", "radius": 2.0}}, "radius"),
        ({"encoding": {"name": "coarse", "ratio": 2.0, "radios": 2.0}}, "radios"),
        ({"model": {"name": "unet", "modes": [4, 4]}}, "modes"),
        ({"task": {"name": "wavefeild"}}, "Unknown task 'wavefeild': task.name must be one of wavefield, propagator"),
        ({"encoding": {"name": None}}, "Unknown encoding None: encoding.name must be one of source_map"),
        ({"model": "unet"}, "does not fit"),
    ],
)
def test_what_no_version_wrote_is_refused(stored, message):
    with pytest.raises(InputError, match=message):
        read(**stored)


@pytest.mark.parametrize("stored", [{}, {"encoding": ENCODING}, {"encoding": {"name": "coarse"}}])
def test_runs_with_an_earlier_coarse_solver_are_refused(stored):
    """Their operator would silently read another field; they have no `encoding.ratio`, which all runs have since."""
    with pytest.raises(InputError, match=r"earlier version: there is no encoding\.ratio.*Train it again"):
        from_plain(stored, TrainConfig, "config.json")


def test_a_stored_seed_of_more_than_32_bits_is_what_was_drawn_by_it():
    """Earlier versions took it modulo 2^32; new data sets and runs refuse it."""
    assert with_solver_of_its_time({"seed": 2**33 + 5})["seed"] == 5
    assert with_solver_of_its_time({"seed": 5})["seed"] == 5
