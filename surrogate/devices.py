"""Many devices and hosts: one mesh with the axes `data` and `model`, over all devices of all processes.

Along `data` every device has its rows of a batch. Along `model` the spectral weights, the bulk of an operator, are
split by output channel, and so are their optimizer's moments: each channel is transformed back on its own, so a
spectral layer sends nothing before the next layer mixes channels; and the channels, unlike the modes (2 m + 1 along z),
divide evenly. Everything else is on every device. Source of the pattern: M. Shoeybi et al., "Megatron-LM", 2019.

All processes run the same program and must come to the same decisions: what only one of them can know goes through
`all_gather` or `barrier`.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from data_gen.common.errors import InputError

DATA, MODEL = "data", "model"
Tree = TypeVar("Tree")
# What jax's own detection of Slurm asks for, and the Kubernetes of an indexed job.
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
KUBERNETES = ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX")


@dataclass
class ParallelConfig:
    """distributed: auto (where Slurm, Open MPI or Kubernetes started several processes, or `coordinator` is given), on
    or off. coordinator: `host:port` of process 0; processes, process: their number and this one's index; none: found by
    jax. timeout_seconds: to wait for the others. model_axis: devices that share the spectral weights of one model.
    """

    distributed: str = "auto"
    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    timeout_seconds: int = 300
    model_axis: int = 1

    def check(self) -> None:
        """Raise `InputError` for values that cannot be."""
        if self.distributed not in ("auto", "on", "off"):
            raise InputError(f"parallel.distributed must be auto, on or off, but is {self.distributed!r}.")
        if self.model_axis < 1 or self.timeout_seconds < 1:
            raise InputError(
                "parallel.model_axis and parallel.timeout_seconds must be at least 1, but are "
                f"{self.model_axis} and {self.timeout_seconds}."
            )
        if (self.processes is None) != (self.process is None) or (self.processes and not self.coordinator):
            raise InputError(
                "parallel.processes and parallel.process go together, and with parallel.coordinator, but got "
                f"{self.processes}, {self.process} and {self.coordinator!r}. Give all three, or leave them to jax."
            )
        if self.processes is not None and not 0 <= (self.process or 0) < self.processes:
            raise InputError(
                f"parallel.process must be from 0 to below parallel.processes, but they are {self.process} and "
                f"{self.processes}."
            )

    def initialize(self) -> None:
        """Join the other processes, if there are any; before anything else is asked of jax, and once in a process.

        Raises `InputError` if they cannot be found or do not come in time.
        """
        self.check()
        wanted = self.distributed == "on" or bool(self.coordinator) or started_by_launcher()
        if self.distributed == "off" or not wanted or jax.distributed.is_initialized():
            return
        try:
            jax.distributed.initialize(
                self.coordinator,
                self.processes,
                self.process,
                cluster_detection_method="deactivate" if self.processes else _detection(),
                initialization_timeout=self.timeout_seconds,
            )
        except Exception as error:  # of jax, of the launcher's variables, of Kubernetes: the remedy is the same
            raise InputError(
                f"This process could not join the others of its run ({' '.join(str(error).split())[:300]}). Give "
                "parallel.coordinator=HOST:PORT, parallel.processes and parallel.process, or set "
                "parallel.distributed=off if each process is a run of its own."
            ) from error

    def create(self, batch_size: int, parts: int = 1) -> "Devices":
        """The mesh. Raises `InputError` unless a batch in `parts` and this process's devices divide evenly."""
        self.check()
        devices, here = jax.device_count(), jax.local_device_count()
        if here % self.model_axis:
            raise InputError(
                f"parallel.model_axis = {self.model_axis} does not divide the {here} devices of this process. "
                "Each process must hold whole models: choose a divisor."
            )
        rows = devices // self.model_axis
        if batch_size % (rows * parts):
            split = f"over {devices} devices" + (f", {self.model_axis} to a model" if self.model_axis > 1 else "")
            split += f" in {parts} parts" if parts > 1 else ""
            raise InputError(
                f"training.batch_size = {batch_size} cannot be split {split}. Make it a multiple of {rows * parts}."
            )
        mesh = jax.make_mesh((rows, self.model_axis), (DATA, MODEL), axis_types=(AxisType.Auto,) * 2)
        return Devices(mesh, batch_size // jax.process_count())


def started_by_launcher() -> bool:
    """Whether the environment is one in which a launcher started this process among others."""
    several = {"OMPI_COMM_WORLD_SIZE": ("OMPI_COMM_WORLD_SIZE",), "SLURM_NTASKS": SLURM}
    started = any(
        int(os.environ[count]) > 1 for count, needed in several.items() if all(name in os.environ for name in needed)
    )
    return started or all(name in os.environ for name in KUBERNETES)


def _detection() -> str | None:
    # Open MPI 5 no longer says where its head is, which jax's own detection reads: there mpi4py finds the others.
    headless = "OMPI_COMM_WORLD_SIZE" in os.environ and "OMPI_MCA_orte_hnp_uri" not in os.environ
    return "mpi4py" if headless else None


def is_main_process() -> bool:
    """Whether this process is the one that writes what is written once."""
    return jax.process_index() == 0


def all_gather(value: Any) -> list[Any]:
    """JSON values of all processes, in their order; all must call it."""
    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.asarray(len(text), np.int32)).ravel()
    rows = multihost_utils.process_allgather(np.pad(text, (0, lengths.max() - len(text))))
    return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]


def local_entry(values: list[Any] | dict[str, Any]) -> Any:
    """This process's of what `all_gather` gave. Raises `InputError` if there were other processes then."""
    values = [values] if isinstance(values, dict) else values  # as one process alone wrote it before there were others
    if len(values) != jax.process_count():
        raise InputError(
            f"This run's last checkpoint was saved by {len(values)} processes, each of which had read a share of the "
            f"data, but here are {jax.process_count()}. Go on with as many, or start another run."
        )
    return values[jax.process_index()]


@contextmanager
def barrier() -> Iterator[None]:
    """A block that fails in all processes if it fails in one: nobody is left waiting for those who gave up."""
    error: Exception | None = None
    try:
        yield
    except Exception as raised:
        error = raised
    failures = all_gather(None if error is None else str(error))
    if error is not None:
        raise error
    for index, failure in enumerate(failures):
        if failure is not None:
            raise InputError(f"Process {index} of {len(failures)} could not go on: {failure}")


@dataclass(frozen=True)
class Devices:
    """A mesh, and the rows of a batch that this process reads."""

    mesh: Mesh
    local_batch_size: int

    def shard_local(self, batch: Tree) -> Tree:
        """The global batch of which every process holds its share: rows over `data`."""
        split = NamedSharding(self.mesh, P(DATA))
        if jax.process_count() == 1:
            return jax.device_put(batch, split)
        return jax.make_array_from_process_local_data(split, jax.tree.map(np.asarray, batch))

    def shard(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """A batch that all processes hold whole, its rows over `data`; the last one repeated to divide evenly."""
        split, rows = NamedSharding(self.mesh, P(DATA)), self.mesh.shape[DATA]

        def one(leaf) -> jax.Array:
            leaf = np.asarray(leaf)
            padded = np.pad(leaf, [(0, -len(leaf) % rows)] + [(0, 0)] * (leaf.ndim - 1), mode="edge")
            return jax.make_array_from_callback(padded.shape, split, lambda index: padded[index])

        return {name: one(leaf) for name, leaf in batch.items()}

    def fetch(self, array: jax.Array) -> np.ndarray:
        """A global array, whole, on the host of every process; all must call it."""
        return np.asarray(multihost_utils.process_allgather(array, tiled=True))

    def shardings(self, state: Tree) -> Tree:
        """Where each array of a training state belongs: model and optimizer alike, told by its name.

        Raises `InputError` if a model is to be split that cannot be.
        """
        count = self.mesh.shape[MODEL]
        channels: list[int] = []

        def one(path: tuple, leaf) -> NamedSharding:
            if count == 1 or not _is_spectral(path, leaf):
                return NamedSharding(self.mesh, P())
            channels.append(leaf.shape[-1])
            return NamedSharding(self.mesh, P(*[None] * (leaf.ndim - 1), MODEL))

        shardings = jax.tree_util.tree_map_with_path(one, state)
        if count > 1 and (not channels or any(n % count for n in channels)):
            raise InputError(
                f"parallel.model_axis = {count} splits dense spectral weights by output channel, but this model has "
                f"{f'{sorted(set(channels))} channels' if channels else 'no such weights'}. "
                "Set parallel.model_axis=1, or choose a width that it divides."
            )
        return shardings

    def place(self, state: Tree) -> Tree:
        """A state on the mesh. Process 0's values count: those of other machines may differ in the last bit."""
        shardings = self.shardings(state)
        if jax.process_count() == 1:
            return jax.device_put(state, shardings)
        host = multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, state))
        return jax.tree.map(
            lambda leaf, sharding: jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index]),
            host,
            shardings,
        )


def _is_spectral(path: tuple, leaf) -> bool:
    names = {str(getattr(key, "key", getattr(key, "name", ""))) for key in path}
    return leaf.ndim >= 3 and not names.isdisjoint(("real", "imaginary"))
