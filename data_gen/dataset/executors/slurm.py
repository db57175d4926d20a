"""Shards made by jobs of a Slurm array, submitted by submitit; or by its stand-ins for machines without Slurm.

The shards are dealt out to `jobs` jobs. Whatever a job leaves undone, because it was killed, ran out of time or never
began, is dealt out again. submitit talks to its jobs by pickles in `folder`, which must be yours alone, and on a disk
that all nodes see; so must the data set's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_gen.common.errors import InputError

CLUSTERS = ("slurm", "local", "debug")


@dataclass
class SlurmConfig:
    """cluster: slurm, local (a process for each job) or debug (this process). folder: of submitit's logs and messages.

    jobs: in the array. parallel: of them at once. timeout_minutes, cpus_per_task, gpus_per_node, memory_gb, partition:
    of each job. max_retries: how often what a job left undone is submitted again. poll_seconds: between looks at the
    jobs. extra: other settings of submitit's Slurm executor, such as `slurm_account`.
    """

    cluster: str = "slurm"
    folder: str = "runs/submitit"
    jobs: int = 16
    parallel: int = 16
    timeout_minutes: int = 240
    cpus_per_task: int = 2
    gpus_per_node: int = 0
    memory_gb: float = 8.0
    partition: str | None = None
    max_retries: int = 3
    poll_seconds: float = 10.0
    extra: dict[str, Any] = field(default_factory=dict)

    def create(self) -> "SlurmExecutor":
        """The executor. Raises `InputError` if submitit or Slurm is missing, or for numbers that cannot be."""
        try:
            import submitit
        except ImportError as error:
            raise InputError(
                f"executor=slurm needs submitit, which cannot be imported here ({error}). Install it with `pip install "
                "-e '.[slurm]'`, or choose executor=local."
            ) from error
        if self.cluster not in CLUSTERS:
            raise InputError(f"executor.cluster must be one of {', '.join(CLUSTERS)}, but is {self.cluster!r}.")
        if self.cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
            raise InputError(
                "executor=slurm needs `srun`, which is not on this machine's path. Run it where jobs are submitted, or "
                "choose executor.cluster=local to try it here."
            )
        for name in ("jobs", "parallel", "timeout_minutes", "cpus_per_task"):
            if getattr(self, name) < 1:
                raise InputError(f"executor.{name} must be at least 1, but is {getattr(self, name)}.")
        return SlurmExecutor(self)


@dataclass(frozen=True)
class SlurmExecutor:
    """See `data_gen.dataset.executors`."""

    config: SlurmConfig

    def run(self, work: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
        """Call `work` for every shard, a list of them in each job; results come as jobs end.

        Raises the `InputError` of a call that cannot be made, and one of its own if jobs keep failing.
        """
        undone, failure = list(shards), ""
        for _ in range(self.config.max_retries + 1):
            left = []
            for hand, job in self._submit(work, undone):
                if error := job.exception():
                    left, failure = left + hand, " ".join(str(error).split())[:300]
                    continue
                results, refusal = job.result()
                yield from results
                if refusal:
                    raise InputError(refusal)
            undone = left
            if not undone:
                return
        raise InputError(
            f"{len(undone)} shards are still undone after {self.config.max_retries + 1} tries; finished ones stay. The "
            f"last job to fail said: {failure}... Its log is in {self.config.folder}."
        )

    def _submit(self, work: Callable[[Any], Any], shards: list[Any]) -> Iterator[tuple[list[Any], Any]]:
        """Deal the shards out to an array of jobs; yields each hand with its job when that has ended."""
        from submitit.helpers import as_completed

        hands = [shards[i :: self.config.jobs] for i in range(min(self.config.jobs, len(shards)))]
        jobs = self._executor().map_array(_call_all, [work] * len(hands), hands)
        by_job = dict(zip([job.job_id for job in jobs], hands, strict=True))
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
    """The results for the first shards, up to one that could not be made, and why it could not."""
    results: list[Any] = []
    try:
        for shard in shards:
            results.append(work(shard))
    except InputError as error:
        return results, str(error)
    return results, ""
