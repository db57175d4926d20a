"""Make shards in jobs of a Slurm array, submitted by submitit, or by its substitutes on machines without Slurm.

The shards are distributed over `jobs` jobs. Shards that a job leaves unfinished, because it was killed, ran out of time
or never started, are distributed again. submitit communicates with its jobs by pickles in `folder`. No other user may
have write access to that folder, and all nodes must see it and the folder of the data set.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_gen.common.errors import InputError
from data_gen.common.ranges import check_fields, ranged

CLUSTERS = ("slurm", "local", "debug")


@dataclass
class SlurmConfig:
    """Configure the making of shards with Slurm.

    Attributes:
        cluster: Place of the jobs: slurm, local (one process for each job) or debug (this process).
        folder: Folder of submitit's logs and messages; all nodes must see it.
        jobs: Number of jobs in the array.
        parallel: Largest number of jobs that run at the same time.
        timeout_minutes: Time limit of each job [min].
        cpus_per_task: CPU cores of each job.
        gpus_per_node: GPUs of each job.
        memory_gb: Memory of each job [GB].
        partition: Slurm partition. Null for the cluster's default.
        max_retries: Number of times that unfinished shards are submitted again.
        poll_seconds: Time between checks of the jobs [s].
        extra: Other settings of submitit's Slurm executor, such as slurm_account.
    """

    cluster: str = ranged("slurm", CLUSTERS)
    folder: str = "runs/submitit"
    jobs: int = ranged(16, "[1, 65536]")
    parallel: int = ranged(16, "[1, 65536]")
    timeout_minutes: int = ranged(240, "[1, inf)")
    cpus_per_task: int = ranged(2, "[1, 65536]")
    gpus_per_node: int = ranged(0, "[0, 65536]")
    memory_gb: float = ranged(8.0, "[0, inf)")
    partition: str | None = None
    max_retries: int = ranged(3, "[0, inf)")
    poll_seconds: float = ranged(10.0, "[0, inf)")
    extra: dict[str, Any] = field(default_factory=dict)

    def create(self) -> "SlurmExecutor":
        """Make the executor; raise `InputError` if submitit or Slurm is missing or a number is out of range."""
        check_fields(self, "executor")
        try:
            import submitit
        except ImportError as error:
            raise InputError(
                f"executor=slurm needs submitit, which cannot be imported here ({error}). Install it with `pip install "
                "-e '.[slurm]'`, or choose executor=local."
            ) from error
        if self.cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
            raise InputError(
                "executor=slurm needs `srun`, which is not on this machine's path. Run it where jobs are submitted, or "
                "choose executor.cluster=local to try it here."
            )
        return SlurmExecutor(self)


@dataclass(frozen=True)
class SlurmExecutor:
    """Make shards in Slurm jobs.

    Attributes:
        config: Cluster and resources.
    """

    config: SlurmConfig

    def run(self, work: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
        """Call `work` for every shard, several in each job; results arrive as jobs end. See `Executor.run`.

        Raises:
            InputError: If a call raises it, or if jobs keep failing.
        """
        unfinished, failure = list(shards), ""
        for _ in range(self.config.max_retries + 1):
            failed = []
            for portion, job in self._submit(work, unfinished):
                if error := job.exception():
                    failed, failure = failed + portion, " ".join(str(error).split())[:300]
                    continue
                results, refusal = job.result()
                yield from results
                if refusal:
                    raise InputError(refusal)
            unfinished = failed
            if not unfinished:
                return
        raise InputError(
            f"{len(unfinished)} shards are still unfinished after {self.config.max_retries + 1} tries; finished ones "
            f"stay. The last failed job reported: {failure}... Its log is in {self.config.folder}."
        )

    def _submit(self, work: Callable[[Any], Any], shards: list[Any]) -> Iterator[tuple[list[Any], Any]]:
        """Distribute the shards over an array of jobs; yield the shards of each job, and the job, when it has ended."""
        from submitit.helpers import as_completed

        portions = [shards[i :: self.config.jobs] for i in range(min(self.config.jobs, len(shards)))]
        jobs = self._executor().map_array(_call_all, [work] * len(portions), portions)
        by_job = dict(zip([job.job_id for job in jobs], portions, strict=True))
        for job in as_completed(jobs, poll_frequency=self.config.poll_seconds):
            yield by_job[job.job_id], job

    def _executor(self):
        import submitit

        config = self.config
        folder = Path(config.folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        executor = submitit.AutoExecutor(folder=folder, cluster=config.cluster)
        executor.update_parameters(
            name="data_gen",
            timeout_min=config.timeout_minutes,
            cpus_per_task=config.cpus_per_task,
            gpus_per_node=config.gpus_per_node,
            mem_gb=config.memory_gb,
            slurm_array_parallelism=config.parallel,
            **({"slurm_partition": config.partition} if config.partition else {}),
            **config.extra,
        )
        return executor


def _call_all(work: Callable[[Any], Any], shards: Sequence[Any]) -> tuple[list[Any], str]:
    """Call `work` for each shard up to one that fails; return the results and the message of that failure."""
    results: list[Any] = []
    try:
        for shard in shards:
            results.append(work(shard))
    except InputError as error:
        return results, str(error)
    return results, ""
