"""Train on many devices and hosts: one mesh with the axes `data` and `model`, over all devices of all processes.

Along `data` every device has its rows of a batch. Along `model` the spectral weights, the bulk of an operator, are
split by output channel, and so are their optimizer's moments: each channel is transformed back on its own, so a
spectral layer sends nothing before the next layer mixes channels; and the channels, unlike the modes (2 m + 1 along z),
divide evenly. Everything else is on every device. Source of the pattern: M. Shoeybi et al., "Megatron-LM", 2019.

All processes run the same program and must come to the same decisions: facts that only one process can know are
exchanged by `all_gather` or `barrier`.
"""

import json
import os
import resource
import zlib
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
from data_gen.common.ranges import check_fields, ranged

DATA, MODEL = "data", "model"
Tree = TypeVar("Tree")
KILOBYTE = 1024  # the unit in which Linux reports the peak of a process
# The variables that jax's own detection of Slurm reads, and those of Kubernetes in an indexed job.
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
KUBERNETES = ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX")


@dataclass
class ProcessesConfig:
    """Set how several processes work together.

    Attributes:
        distributed: Whether this process joins others: on, off, or auto, which joins where Slurm, Open MPI or
            Kubernetes started several processes, or where `coordinator` is given.
        coordinator: Address `host:port` of process 0, which listens at this address only; null lets jax find it, on the
            loopback if a launcher started all processes on one machine.
        processes: Number of processes; null lets jax find it.
        process: Index of this process, from 0; null lets jax find it.
        timeout_seconds: Longest time to wait for the other processes [s].
    """

    distributed: str = ranged("auto", ("auto", "on", "off"))
    coordinator: str | None = None
    processes: int | None = ranged(None, "[1, inf)")
    process: int | None = ranged(None, "[0, inf)")
    timeout_seconds: int = ranged(300, "[1, inf)")

    def check(self) -> None:
        """Check the values.

        Raises:
            InputError: A value is out of its range, or values do not go together.
        """
        check_fields(self, "parallel")
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
        """Join the other processes, if there are any. Call this before any other use of jax; repeated calls do nothing.

        Raises:
            InputError: The other processes cannot be found, or do not come in time.
        """
        self.check()
        wanted = self.distributed == "on" or bool(self.coordinator) or started_by_launcher()
        if self.distributed == "off" or not wanted or jax.distributed.is_initialized():
            return
        coordinator = self.coordinator or _coordinator_here()
        if coordinator and _is_loopback(coordinator):
            # The GPUs' collectives as well: NCCL would listen at the machine's address.
            os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
        try:
            jax.distributed.initialize(
                coordinator,
                self.processes,
                self.process,
                cluster_detection_method="deactivate" if self.processes else _detection(),
                initialization_timeout=self.timeout_seconds,
                # By default jax listens on every interface, and asks nobody for a password.
                coordinator_bind_address=os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", coordinator),
            )
        except Exception as error:  # from jax, the launcher's variables or Kubernetes: the remedy is the same
            raise InputError(
                f"This process could not join the others of its run ({' '.join(str(error).split())[:300]}). Give "
                "parallel.coordinator=HOST:PORT, parallel.processes and parallel.process, or set "
                "parallel.distributed=off if each process is a run of its own."
            ) from error


@dataclass
class ParallelConfig(ProcessesConfig):
    """Set how several devices and processes train together.

    Attributes:
        model_axis: Number of devices over which the spectral weights of one model are split; 1 keeps them whole.
    """

    model_axis: int = ranged(1, "[1, inf)")

    def create(self, batch_size: int, parts: int = 1) -> "Devices":
        """Make the mesh of all devices.

        Args:
            batch_size: Number of samples in a batch, over all devices.
            parts: Number of parts in which a batch is computed.

        Returns:
            The mesh, and the number of samples that this process reads.

        Raises:
            InputError: The batch or the devices of this process cannot be divided evenly.
        """
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
    """Tell from the environment whether a launcher started this process together with others."""
    several = {"OMPI_COMM_WORLD_SIZE": ("OMPI_COMM_WORLD_SIZE",), "SLURM_NTASKS": SLURM}
    started = any(
        int(os.environ[count]) > 1 for count, needed in several.items() if all(name in os.environ for name in needed)
    )
    return started or all(name in os.environ for name in KUBERNETES)


def _detection() -> str | None:
    # Open MPI 5 no longer publishes the address that jax's own detection reads: there mpi4py finds the others.
    headless = "OMPI_COMM_WORLD_SIZE" in os.environ and "OMPI_MCA_orte_hnp_uri" not in os.environ
    return "mpi4py" if headless else None


def peak_memory() -> int:
    """Measure the largest memory so far, of a device or, where the devices are processors, of this process.

    Returns:
        The peak [bytes]; the largest of all devices of this process.
    """
    statistics = [device.memory_stats() or {} for device in jax.local_devices()]
    known = [entry["peak_bytes_in_use"] for entry in statistics if "peak_bytes_in_use" in entry]
    return max(known, default=KILOBYTE * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _coordinator_here() -> str | None:
    """Choose an address on the loopback if a launcher started all processes on this machine."""
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        return None
    if all(name in os.environ for name in SLURM) and os.environ.get("SLURM_STEP_NUM_NODES") == "1":
        job = f"{os.environ['SLURM_JOB_ID']}.{os.environ.get('SLURM_STEP_ID', '')}"
    elif (size := os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE")) and size == os.environ.get("OMPI_COMM_WORLD_SIZE"):
        job = os.environ.get("PMIX_NAMESPACE", "")
    else:
        return None
    # All processes come to the same port, and jobs seldom to the same: above the range that Linux gives out itself.
    port = os.environ.get("JAX_COORDINATOR_PORT") or 61440 + zlib.crc32(job.encode()) % 4096
    return f"127.0.0.1:{port}"


def _is_loopback(address: str) -> bool:
    host = address.rsplit(":", 1)[0].strip("[]")
    return host == "localhost" or host == "::1" or host.startswith("127.")


def is_main_process() -> bool:
    """Tell whether this is process 0, which alone writes the files of a run."""
    return jax.process_index() == 0


def all_gather(value: Any) -> list[Any]:
    """Exchange a value between all processes; all of them must call this.

    Args:
        value: JSON value of this process.

    Returns:
        The values of all processes, in the order of their indices.
    """
    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.asarray(len(text), np.int32)).ravel()
    rows = multihost_utils.process_allgather(np.pad(text, (0, lengths.max() - len(text))))
    return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]


def local_entry(values: list[Any] | dict[str, Any]) -> Any:
    """Select the value of this process from those of all processes.

    Args:
        values: Values that `all_gather` returned, perhaps in an earlier run.

    Returns:
        The value of this process.

    Raises:
        InputError: The number of processes has changed since then.
    """
    values = [values] if isinstance(values, dict) else values  # earlier versions had one process only
    if len(values) != jax.process_count():
        raise InputError(
            f"This run's last checkpoint was saved by {len(values)} processes, each of which had read its part of the "
            f"data, but now there are {jax.process_count()}. Resume with as many, or start another run."
        )
    return values[jax.process_index()]


def fetch(array: jax.Array) -> np.ndarray:
    """Copy an array to the host of every process, whichever devices hold it; all processes must call this.

    Args:
        array: Array.

    Returns:
        The whole array.
    """
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


@contextmanager
def barrier() -> Iterator[None]:
    """Let processes wait for each other at the end of a block, and fail in all of them if it fails in one.

    No process is then left waiting for one that has given up.

    Raises:
        InputError: The block failed in another process.
    """
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
            raise InputError(f"Process {index} of {len(failures)} could not continue: {failure}")


@dataclass(frozen=True)
class Devices:
    """Hold the mesh of all devices, and place arrays on it.

    Attributes:
        mesh: Mesh with the axes `data` and `model`.
        local_batch_size: Number of samples of a batch that this process reads.
    """

    mesh: Mesh
    local_batch_size: int

    def shard_local(self, batch: Tree) -> Tree:
        """Assemble a global batch from the samples that each process has read, with its rows over `data`.

        Args:
            batch: Arrays `(local_batch_size, ...)`.

        Returns:
            Global arrays `(batch_size, ...)`.
        """
        split = NamedSharding(self.mesh, P(DATA))
        if jax.process_count() == 1:
            return jax.device_put(batch, split)
        return jax.make_array_from_process_local_data(split, jax.tree.map(np.asarray, batch))

    def shard(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Distribute a batch that every process holds as a whole, with its rows over `data`.

        Args:
            batch: Arrays `(b, ...)`, the same in all processes.

        Returns:
            Global arrays; the last row is repeated so that the rows divide evenly.
        """
        split, rows = NamedSharding(self.mesh, P(DATA)), self.mesh.shape[DATA]

        def one(leaf) -> jax.Array:
            leaf = np.asarray(leaf)
            padded = np.pad(leaf, [(0, -len(leaf) % rows)] + [(0, 0)] * (leaf.ndim - 1), mode="edge")
            return jax.make_array_from_callback(padded.shape, split, lambda index: padded[index])

        return {name: one(leaf) for name, leaf in batch.items()}

    def shardings(self, state: Tree) -> Tree:
        """Choose the placement of each array of a training state by its name, for model and optimizer alike.

        Args:
            state: Tree of arrays.

        Returns:
            A tree of shardings with the same structure.

        Raises:
            InputError: The model cannot be split over the devices of the `model` axis.
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
        """Place a state on the mesh, with the values of process 0: those of other machines may differ in the last bit.

        Args:
            state: Tree of arrays.

        Returns:
            The same tree of global arrays.
        """
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
