"""Make shards with Ray: on this machine's cores and GPUs, or on an existing cluster.

Ray sends functions and arguments to its workers by pickle, so anyone who can connect to a cluster can run code on it. A
cluster started here listens on the loopback only, asks for a token that only this process and its workers know, has no
dashboard and reports no usage. An existing cluster is joined with the token of its owner. Ray has tokens from 2.52 on.
"""

import logging
import os
import secrets
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_gen.common.errors import InputError
from data_gen.common.ranges import check_fields, ranged

LOOPBACK = "127.0.0.1"
TOKEN = secrets.token_hex(32)


@dataclass
class RayConfig:
    """Configure the making of shards with Ray.

    Attributes:
        address: Address of an existing cluster, joined with the token in RAY_AUTH_TOKEN; auto finds one on this
            machine. Null starts a cluster here, which only this process can use.
        workers: Number of concurrent tasks on a cluster started here. Null for one on each GPU or, without a GPU, one
            for each `cpus_per_task` cores.
        cpus_per_task: CPU cores of each shard.
        gpus_per_task: GPUs of each shard. Null for one GPU if the cluster has any.
        max_retries: Number of repetitions of a shard after its worker died or could not read or write.
    """

    address: str | None = None
    workers: int | None = ranged(None, "[1, 65536]")
    cpus_per_task: int = ranged(1, "[1, 65536]")
    gpus_per_task: float | None = ranged(None, "[0, 65536]")
    max_retries: int = ranged(3, "[0, inf)")

    def create(self) -> "RayExecutor":
        """Make the executor; raise `InputError` if Ray is not installed or a number is out of range."""
        check_fields(self, "executor")
        try:
            _import_ray()
        except ImportError as error:
            raise InputError(
                f"executor=ray needs Ray, which cannot be imported here ({error}). Install it with `pip install "
                "-e '.[ray]'`, or choose executor=local."
            ) from error
        if self.address and self.workers is not None:
            raise InputError(
                "executor.workers applies only to a cluster started here; a cluster at an address has its own workers."
            )
        return RayExecutor(self)


@dataclass(frozen=True)
class RayExecutor:
    """Make shards with Ray.

    Attributes:
        config: Cluster and resources.
    """

    config: RayConfig

    def run(self, work: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
        """Call `work` for every shard in the order that Ray chooses. See `Executor.run`.

        Raises:
            InputError: If a call raises it, or if workers keep dying.
        """
        ray = _import_ray()
        from ray.exceptions import RayTaskError, WorkerCrashedError

        with _cluster(self.config):
            gpus = self.config.gpus_per_task
            if gpus is None:
                gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
            task = ray.remote(_call).options(
                num_cpus=self.config.cpus_per_task,
                num_gpus=gpus,
                max_retries=self.config.max_retries,
                retry_exceptions=[OSError, RuntimeError],
            )
            pending = [task.remote(work, shard) for shard in shards]
            while pending:
                (done,), pending = ray.wait(pending)
                try:
                    yield ray.get(done)
                except RayTaskError as error:
                    raise error.cause from error
                except WorkerCrashedError as error:
                    raise InputError(
                        f"A shard's worker died {self.config.max_retries + 1} times: {error} Finished shards stay. "
                        "Check whether memory or time ran out, then run the same command again to resume."
                    ) from error


def _call(work: Callable[[Any], Any], shard: Any) -> Any:
    return work(shard)


def _import_ray() -> Any:
    """Import Ray, which reads these settings once, at its import."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray

    return ray


@contextmanager
def _cluster(config: RayConfig) -> Iterator[None]:
    """Connect to the cluster that the config names or start one, unless this process is already connected to one."""
    ray = _import_ray()
    if ray.is_initialized():
        yield
        return
    try:
        _join(ray, config.address) if config.address else _start(ray, config)
        yield
    finally:
        ray.shutdown()


def _join(ray: Any, address: str) -> None:
    from ray.exceptions import AuthenticationError

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise InputError(
            f"No Ray cluster at executor.address={address} has let this process in: {error} Start one (`ray start "
            "--head`) or leave the address out to use this machine. A cluster with another token refuses as well: give "
            "its token in RAY_AUTH_TOKEN, or in the file that RAY_AUTH_TOKEN_PATH names."
        ) from error
    except AuthenticationError as error:
        raise InputError(
            f"The Ray cluster at executor.address={address} is joined with a token, and none was found. Give the "
            "cluster's in RAY_AUTH_TOKEN, or in the file named by RAY_AUTH_TOKEN_PATH (by default ~/.ray/auth_token). "
            "Where a cluster has none, anyone who reaches it can run code there: if that is as you want it, set "
            "RAY_AUTH_MODE=disabled."
        ) from error


def _start(ray: Any, config: RayConfig) -> None:
    """Start a cluster on the loopback.

    Raises:
        InputError: Ray has chosen another address.
    """
    # Other users of this machine reach its loopback, but do not have the token.
    os.environ.setdefault("RAY_AUTH_TOKEN", TOKEN)
    # Workers import the same package as this process, installed or not.
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    cores = None if config.workers is None else config.workers * config.cpus_per_task
    with warnings.catch_warnings(), _on_loopback():
        # Ray's forked servers become other programs at once, so they never wait for a lock of JAX's threads.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        ray.init(
            address="local",
            num_cpus=cores,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"PYTHONPATH": path}},
        )
    if (address := ray.util.get_node_ip_address()) != LOOPBACK:
        raise InputError(
            f"Ray {ray.__version__} listens at {address} instead of {LOOPBACK}, where other machines may reach it. "
            "Choose executor=local, or start a cluster yourself and give executor.address."
        )


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray listen on the loopback, as it does on macOS and Windows.

    On Linux `ray.init` turns even a given 127.0.0.1 into the machine's address. The switch between the two is the
    environment variable RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER; Ray has read it if the caller had imported Ray before.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
