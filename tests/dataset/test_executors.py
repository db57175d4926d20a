"""Executors: whoever makes the shards, and whoever dies of it, the data set is the same."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import submitit
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from ray.exceptions import AuthenticationError

from data_gen.commands import manage as cli
from data_gen.commands.generate import register
from data_gen.common.errors import InputError
from data_gen.dataset import generation as dataset
from data_gen.dataset.executors import Executor
from data_gen.dataset.executors.local import Local, LocalConfig
from data_gen.dataset.executors.ray import RayConfig, _cluster
from data_gen.dataset.executors.slurm import SlurmConfig
from tests.dataset.test_data import assert_same_data_set, finished, generation, wait_for, writers
from tests.helpers import LOOPBACK, ROOT, listening, tiny_config


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    config = tiny_config(tmp_path_factory.mktemp("data") / "local")
    dataset.generate(config)
    return config


def slurm(folder, **changes) -> SlurmConfig:
    return SlurmConfig(folder=str(folder / "jobs"), jobs=3, poll_seconds=0.05, **changes)


def check_work(executor: Executor, folder: Path) -> None:
    """Every shard is made although one worker dies at its first try; errors of input are passed on unchanged."""

    # Inner functions: they go to the workers whole, who need not have this file.
    def work(shard: int) -> int:
        died = folder / "died"
        if shard == 4 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return shard**2

    def refuse(shard: int) -> int:
        raise InputError(f"no shard {shard}")

    assert sorted(executor.run(work, range(7))) == [shard**2 for shard in range(7)]
    assert (folder / "died").exists()
    with pytest.raises(InputError, match=r"^no shard 1$"):
        list(executor.run(refuse, [1]))


def test_local_executor_stops_at_the_first_failure():
    """Each shard is made once, the first alone; after a failure no other shard is started."""
    done = []

    def work(shard):
        done.append(shard)
        if shard == 1:
            raise InputError("no more")
        time.sleep(0.01)
        return shard

    assert list(Local().run(work, [])) == [] and sorted(Local().run(work, range(2, 40))) == list(range(2, 40))
    assert done[0] == 2 and sorted(done) == list(range(2, 40))
    done.clear()
    with pytest.raises(InputError, match="no more"):
        list(Local().run(work, range(400)))
    assert done[:2] == [0, 1] and len(done) < 100


@pytest.fixture
def impatient(monkeypatch):
    """submitit gives a dead job's result 15 s to appear, for slow network disks."""
    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 0)


def test_slurm_work(tmp_path, impatient):
    """submitit's substitute for Slurm runs a process for each job."""
    check_work(slurm(tmp_path, cluster="local").create(), tmp_path)


def test_slurm_gives_up(tmp_path, impatient):
    def die(shard: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    executor = slurm(tmp_path, cluster="local", max_retries=1).create()
    with pytest.raises(InputError, match=r"2 shards are still unfinished after 2 tries; finished ones stay.*log is in"):
        list(executor.run(die, [1, 2]))


def test_slurm_makes_the_same_data_set(local, tmp_path):
    """Three jobs in this process make the data set of the local executor."""
    config = replace(local, path=str(tmp_path / "set"))
    dataset.generate(config, slurm(tmp_path, cluster="debug").create())
    assert_same_data_set(local.path, config.path)


def test_ray_work(tmp_path):
    """Ray's own cluster makes the shards, and no other machine and no other user of this one can reach it.

    Left alone, Ray listens at the machine's address, or at every one.
    """
    executor = RayConfig(workers=2).create()
    with _cluster(executor.config):
        check_work(executor, tmp_path)
        if sys.platform == "linux":
            sockets = listening()
            assert len(sockets) >= 5 and set(sockets) <= set(LOOPBACK)
        assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
        assert os.environ["RAY_AUTH_MODE"] == "token" and len(os.environ["RAY_AUTH_TOKEN"]) == 64


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (ConnectionError("refused"), r"has let this process in: refused.*another token.*RAY_AUTH_TOKEN"),
        (AuthenticationError("no token"), r"with a token, and none was found.*RAY_AUTH_MODE=disabled"),
    ],
)
def test_ray_cluster_that_cannot_be_joined(monkeypatch, failure, message):
    """A cluster of another machine asks for its token; the message says where it is put."""
    monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(failure))
    with pytest.raises(InputError, match=message):
        list(RayConfig(address="10.0.0.1:6379").create().run(abs, [1]))


def test_ray_off_the_loopback_is_refused(monkeypatch):
    """A version of Ray that chooses another address makes nothing."""
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "192.0.2.2")
    with pytest.raises(InputError, match=r"listens at 192.0.2.2 instead of 127.0.0.1.*executor=local"):
        list(RayConfig().create().run(abs, [1]))


@pytest.mark.slow
def test_ray_worker_killed(local, tmp_path):
    """If one of two workers is killed during a shard, the data set is still finished, with the same bits."""
    path = tmp_path / "set"
    process = generation(path, "executor=ray", "executor.workers=2")
    wait_for(lambda: len(writers(path)) == 2 or process.poll() is not None)
    victim = min(writers(path))
    assert victim != process.pid and finished(path) < 7
    os.kill(victim, signal.SIGKILL)
    assert process.wait() == 0
    assert_same_data_set(local.path, path)


def test_absent_libraries(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"needs Ray, which cannot be imported.*\[ray\]'"):
        RayConfig().create()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"needs submitit, which cannot be imported.*\[slurm\]'"):
        SlurmConfig().create()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LocalConfig(at_once=0), "at_once must be from 1"),
        (RayConfig(workers=0), "workers must be null or from 1"),
        (RayConfig(address="auto", workers=2), "only to a cluster started here"),
        (RayConfig(max_retries=-1), "max_retries must be at least 0"),
        (SlurmConfig(cluster="pbs"), "must be one of slurm, local, debug"),
        (SlurmConfig(cluster="local", jobs=0), "executor.jobs must be from 1"),
    ],
)
def test_bad_configs(config, message):
    with pytest.raises(InputError, match=message):
        config.create()


def test_slurm_without_slurm(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="needs `srun`"):
        SlurmConfig().create()


@pytest.mark.parametrize(("name", "schema"), [("local", LocalConfig), ("ray", RayConfig), ("slurm", SlurmConfig)])
def test_configs_compose(name, schema):
    """The group's YAML files have the defaults of their schemas."""
    register()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        composed = compose("generate", [f"executor={name}"])
    assert OmegaConf.to_object(composed.executor) == schema()


def test_help(capsys):
    """The help of the main command and of each subcommand is printed without Hydra."""
    for arguments in ([], *([name] for name in cli.COMMANDS)):
        assert cli.is_command([*arguments, "--help"])
        with pytest.raises(SystemExit, match="0"):
            cli.main([*arguments, "--help"])
        assert f"usage: wave {' '.join(arguments)}".rstrip() in capsys.readouterr().out
    assert not cli.is_command(["data=tiny", "--help"]) and not cli.is_command([])
