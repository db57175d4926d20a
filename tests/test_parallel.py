"""Many devices and processes: the same losses as one, weights that are really split, resume to the bit."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from data_gen.common.errors import InputError
from data_gen.dataset.config import DataConfig
from surrogate import devices as parallel
from surrogate.config import TrainConfig
from surrogate.devices import DATA, MODEL, Devices, ParallelConfig, fetch
from surrogate.encodings.schemas import SourceMapConfig
from surrogate.metrics.errors import relative_l2
from surrogate.models.surrogate import training_statistics
from surrogate.operators.ffno import SeparableConv
from surrogate.operators.fno import FNOConfig
from surrogate.operators.layers.spectral import SpectralConv
from surrogate.operators.tfno import TuckerConv
from surrogate.runs.fit import fit
from surrogate.runs.folder import read_run
from surrogate.runs.load import best_validation, load_surrogate
from surrogate.runs.predict import predict
from surrogate.training.batches import ordered_batches, statistics_batches, training_batches
from surrogate.training.config import TrainingConfig
from surrogate.training.optimizer import make_optimizer
from surrogate.training.state import TrainState
from surrogate.training.step import make_train_step
from tests.helpers import ROOT

# Operators too small for their waves: quick is what counts here.
pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")


def train_config(data: DataConfig, run: str, **parallel: Any) -> TrainConfig:
    training = TrainingConfig(
        steps=6, batch_size=4, warmup_steps=1, log_every=1, validate_every=3, checkpoint_every=3, verify=False, ema=0.9
    )
    config = TrainConfig(
        run=run,
        data=data,
        model=FNOConfig(width=8, depth=1, modes=[4, 4]),
        encoding=SourceMapConfig(),
        training=training,
        parallel=ParallelConfig(**parallel),
    )
    config.tracking.mode = "disabled"
    return config


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def logged(run: Path | str, name: str) -> list[float]:
    rows = [json.loads(row) for row in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [row[name] for row in rows if name in row]


def weights(run: Path | str) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(load_surrogate(run)))]


def steps_by_hand(
    config: TrainConfig, batch_size: int, devices: Devices | None = None
) -> tuple[TrainState, list[float]]:
    """Train as `fit` does, with all devices of this process or with some; returns the state and the losses."""
    model, devices = config.create(), devices or config.parallel.create(batch_size)
    model.set_statistics(training_statistics(model, statistics_batches(config.data, batch_size, model.task)))
    structure, state = TrainState.create(model, make_optimizer(model, config.training))
    state, losses = devices.place(state), []
    step = make_train_step(structure, config.training, shardings=devices.shardings(state))
    with contextlib.closing(
        training_batches(config.data, devices.local_batch_size, config.training.seed, model.task)
    ) as batches:
        for _ in range(config.training.steps):
            state, metrics = step(state, devices.shard_local(next(batches)))
            losses.append(float(metrics["loss"]))
    return state, losses


@pytest.fixture(scope="module")
def alone(data) -> tuple[TrainState, list[float]]:
    """One process, whole models."""
    return steps_by_hand(train_config(data, ""), 4)


def test_four_devices_train_as_one(data, alone):
    """The loss over four devices is that over one: the same sums in another order, 1e-5 in float32."""
    mesh = jax.make_mesh((1, 1), (DATA, MODEL), devices=jax.devices()[:1], axis_types=(AxisType.Auto,) * 2)
    _, losses = steps_by_hand(train_config(data, ""), 4, Devices(mesh, 4))
    assert len(jax.devices()) == 4
    np.testing.assert_allclose(alone[1], losses, rtol=1e-5)


def test_split_weights_train_as_whole_ones(data, alone):
    """Two devices to a model, two models: the weights and both moments are halved, the losses the same sums.

    Float32 sums in another order differ by some 1e-7; 1e-5 leaves room for six steps of Adam to amplify that.
    """
    split = steps_by_hand(train_config(data, "", model_axis=2), 4)
    np.testing.assert_allclose(split[1], alone[1], rtol=1e-5)
    on_one_device = []
    for parts, state in ((1, alone[0]), (2, split[0])):
        named = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
        spectral = [name for name in named if "real" in name or "imaginary" in name]
        assert len(spectral) == 8  # two parts, each with its average and two moments
        for name, leaf in named.items():
            shape = (9, 5, 8, 8 // parts) if name in spectral else leaf.shape
            assert {shard.data.shape for shard in leaf.addressable_shards} == {shape}
        on_one_device.append(sum(leaf.addressable_shards[0].data.nbytes for leaf in named.values()))
    # Half of 8 x 9 x 5 x 8 x 8 numbers of four bytes is gone from each device.
    assert on_one_device[0] - on_one_device[1] == 8 * 9 * 5 * 8 * 8 * 4 // 2


@pytest.mark.parametrize(
    ("layer", "split"),
    [
        (partial(SpectralConv, 4, 4, (2, 1)), P(None, None, None, MODEL)),
        (partial(SeparableConv, 4, (2, 1)), P(None, None, MODEL)),
        (partial(SeparableConv, 4, (2, 1)), P()),
        (partial(TuckerConv, 4, (2, 1), 0.5), P()),
    ],
)
def test_a_split_layer_sends_nothing(layer, split):
    """As the module says: a spectral layer whose samples, and whose weights by output channel, are split needs no
    other device."""
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), (DATA, MODEL))
    graphdef, state = nnx.split(nnx.jit(lambda: layer(rngs=nnx.Rngs(0)))())
    state = jax.device_put(state, NamedSharding(mesh, split))
    x = jax.device_put(jnp.ones((4, 8, 8, 4)), NamedSharding(mesh, P(DATA)))
    program = str(jax.jit(lambda state, x: nnx.merge(graphdef, state)(x)).lower(state, x).compile().as_text())
    assert "dot(" in program
    assert not re.search(r"all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter", program)


@pytest.mark.slow
def test_two_processes(data, alone, tmp_path):
    """Two processes with two devices each: the losses of one process to 1e-5; broken off and resumed, to the bit."""
    config = train_config(data, "", model_axis=2)
    (tmp_path / "config.json").write_text(json.dumps(asdict(config)))
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.two_processes", str(free_port())]
    pair = [
        subprocess.Popen([*command, index, str(tmp_path)], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        for index in "01"
    ]
    try:
        for process in pair:
            _, errors = process.communicate(timeout=400)
            assert process.returncode == 0, errors
    finally:
        for process in pair:
            process.kill()

    np.testing.assert_allclose(logged(tmp_path / "whole", "loss"), alone[1], rtol=1e-5)
    model = load_surrogate(tmp_path / "whole")
    whole = next(ordered_batches(data.path, "validation", 4, model.task))
    prediction = predict(model, whole["velocity"], whole["source"])
    error = float(relative_l2(prediction, jnp.asarray(whole["snapshots"])).mean())
    np.testing.assert_allclose(min(logged(tmp_path / "whole", "validation")), error, rtol=1e-5)
    for name in ("loss", "validation"):
        assert logged(tmp_path / "broken", name) == logged(tmp_path / "whole", name)
    for ours, theirs in zip(weights(tmp_path / "broken"), weights(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    shutil.rmtree(tmp_path / "broken" / "checkpoints" / "last" / "6")
    with pytest.raises(InputError, match="saved by 2 processes"):
        fit(train_config(data, str(tmp_path / "broken")))


@pytest.mark.slow
def test_two_processes_killed(data, tmp_path):
    """Both killed by SIGKILL, by the command line, between two checkpoints; again: the weights of a run left alone."""
    lines = ["data=tiny", f"data.path={data.path}", "encoding=source_map", "model.width=8", "model.depth=1"]
    lines += ["model.modes=[4,4]", "training.steps=60", "training.warmup_steps=1", "training.batch_size=4"]
    lines += ["training.checkpoint_every=5", "tracking.mode=disabled", "parallel.processes=2"]
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}

    def start(run: Path) -> list[subprocess.Popen]:
        address = f"parallel.coordinator=localhost:{free_port()}"
        command = [sys.executable, "train.py", *lines, f"run={run}", address]
        return [
            subprocess.Popen([*command, f"parallel.process={index}"], cwd=ROOT, env=environment) for index in range(2)
        ]

    for run in (tmp_path / "whole", tmp_path / "killed"):
        pair = start(run)
        if run.name == "killed":
            while all(process.poll() is None for process in pair) and not (run / "checkpoints/last/20").exists():
                time.sleep(0.01)
            for process in pair:
                process.kill()
            assert [process.wait() for process in pair] == [-signal.SIGKILL] * 2
            pair = start(run)
        assert [process.wait() for process in pair] == [0, 0]
    for ours, theirs in zip(weights(tmp_path / "killed"), weights(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_whole_batches_spread_evenly():
    """Arrays that every process holds are split over the devices, a remainder padded, and come back as they were."""
    devices = ParallelConfig(model_axis=2).create(4)
    batch = {"velocity": np.arange(15, dtype=np.float32).reshape(5, 3)}
    spread = devices.shard(batch)["velocity"]
    assert spread.shape == (6, 3) and {s.data.shape for s in spread.addressable_shards} == {(3, 3)}
    np.testing.assert_array_equal(fetch(spread)[:5], batch["velocity"])


@pytest.mark.slow
def test_sweep(data, tmp_path):
    """Two values make two runs, each with its own config, and nothing lies about elsewhere."""
    (tmp_path / "here").mkdir()
    command = [sys.executable, str(ROOT / "train.py"), "-m", "training.learning_rate=1e-3,2e-3"]
    command += ["run=${hydra:sweep.dir}/${hydra:job.num}", "data=tiny", f"data.path={data.path}"]
    command += ["encoding=source_map", "model.width=4", "model.depth=1", "model.modes=[2,2]"]
    command += ["training.steps=2", "training.warmup_steps=1", "training.batch_size=4", "tracking.mode=disabled"]
    subprocess.run(command, cwd=tmp_path / "here", check=True, stdout=subprocess.DEVNULL)
    assert [file.name for file in (tmp_path / "here").iterdir()] == ["runs"]
    sweep = tmp_path / "here" / "runs" / "sweep"
    assert sorted(file.name for file in sweep.iterdir()) == ["0", "1", "multirun.yaml"]
    assert [read_run(sweep / job).training.learning_rate for job in "01"] == [1e-3, 2e-3]
    assert best_validation(sweep / "0") == min(logged(sweep / "0", "validation"))


# --- joining ---------------------------------------------------------------------------------------------------

ALONE: dict[str, str] = {}
HERE = {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_ID": "3"}  # all processes on one machine
OPEN_MPI_HERE = {"OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "prterun-1@1"}
SLURM = dict(zip(parallel.SLURM, ("7", "n[1-2]", "2", "1", "0"), strict=True))
OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}


@pytest.mark.parametrize(
    ("environment", "config", "expected"),
    [
        (ALONE, {}, None),
        (SLURM | {"SLURM_NTASKS": "1"}, {}, None),  # an interactive job, or one of submitit's
        ({name: SLURM[name] for name in parallel.SLURM[:3]}, {}, None),  # a shell that is no step of the job
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {}, None),  # a pod that is no indexed job's
        (SLURM, {"distributed": "off"}, None),
        (SLURM, {}, (None, None, None, None)),
        (OPEN_MPI | {"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:1"}, {}, (None, None, None, None)),
        (OPEN_MPI, {}, (None, None, None, "mpi4py")),  # Open MPI 5
        (KUBERNETES, {}, (None, None, None, None)),
        (SLURM, {"coordinator": "a:1"}, ("a:1", None, None, None)),
        (ALONE, {"coordinator": "a:1", "processes": 3, "process": 0}, ("a:1", 3, 0, "deactivate")),
        (ALONE, {"distributed": "on"}, (None, None, None, None)),
        (SLURM | HERE, {}, ("127.0.0.1:62013", None, None, None)),
        (SLURM | HERE | {"JAX_COORDINATOR_PORT": "9"}, {}, ("127.0.0.1:9", None, None, None)),
        (SLURM | HERE | {"JAX_COORDINATOR_ADDRESS": "a:1"}, {}, (None, None, None, None)),
        (OPEN_MPI | OPEN_MPI_HERE, {}, ("127.0.0.1:63899", None, None, "mpi4py")),
    ],
)
def test_when_processes_join(monkeypatch, environment, config, expected):
    """By the launcher's environment, the config or both; one process alone asks nobody.

    Process 0 listens at the coordinator's address only, and on the loopback if all processes are on one machine.
    """
    jaxs = ("JAX_COORDINATOR_PORT", "JAX_COORDINATOR_ADDRESS", "JAX_COORDINATOR_BIND_ADDRESS", "OMPI_MCA_orte_hnp_uri")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "lo")  # is set by the call, and then taken back
    for name in (*parallel.SLURM, *HERE, *OPEN_MPI, *OPEN_MPI_HERE, *KUBERNETES, *jaxs):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    calls = []

    def initialize(*arguments, cluster_detection_method, initialization_timeout, coordinator_bind_address):
        assert coordinator_bind_address == arguments[0]
        calls.append((*arguments, cluster_detection_method))

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    ParallelConfig(**config).initialize()
    assert calls == ([] if expected is None else [expected])


def test_processes_that_cannot_be_found():
    with pytest.raises(InputError, match=r"could not join the others.*parallel.coordinator=HOST:PORT"):
        ParallelConfig(distributed="on").initialize()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"distributed": "maybe"}, "must be one of auto, on, off"),
        ({"model_axis": 0}, "must be at least 1"),
        ({"model_axis": 3}, "does not divide the 4 devices"),
        ({"processes": 2, "process": 0}, "go together"),
        ({"coordinator": "a:1", "process": 0}, "go together"),
        ({"coordinator": "a:1", "processes": 0, "process": 0}, "parallel.processes must be null or at least 1"),
        ({"coordinator": "a:1", "processes": 2, "process": 2}, "from 0 to below parallel.processes"),
    ],
)
def test_bad_configs(config, message):
    with pytest.raises(InputError, match=message):
        ParallelConfig(**config).create(8)


def test_models_that_cannot_be_split():
    devices, rngs = ParallelConfig(model_axis=2).create(8), nnx.Rngs(0)
    with pytest.raises(InputError, match=r"\[7\] channels"):
        devices.shardings(nnx.state(SpectralConv(7, 7, (1, 1), rngs=rngs)))
    with pytest.raises(InputError, match="no such weights"):
        devices.shardings(nnx.state(TuckerConv(8, (1, 1), 0.1, rngs=rngs)))
