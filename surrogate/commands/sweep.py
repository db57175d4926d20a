"""Name the winner of a sweep: Hydra calls `Winner` around the runs of `wave train -m`."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from data_gen.common.console import print_next, print_table
from surrogate.devices import is_main_process
from surrogate.report.trainings import Training, read_trainings, validation_tables


class Winner(Callback):
    """Rank the runs of a sweep by their best validation when the sweep ends.

    Runs made by this process may have any folder. Those that a launcher makes in other processes, such as Slurm jobs,
    are found below the folder of the sweep.
    """

    def __init__(self):
        self._folders: list[Path] = []

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Note the folder of a run.

        Args:
            config: Config of the run.
            job_return: Result of the run.
            kwargs: More that Hydra gives.
        """
        self._folders.append(Path(config.run))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the runs, the best first, and the command that evaluates it.

        Args:
            config: Config of the sweep.
            kwargs: More that Hydra gives.
        """
        if not is_main_process():
            return
        sweep = Path(config.hydra.sweep.dir)
        rank([t for folder in self._folders or [sweep] if folder.is_dir() for t in read_trainings(folder)])


def rank(trainings: list[Training]) -> None:
    """Print runs by their best validation, and the command that evaluates the best one.

    Args:
        trainings: Runs of a sweep; nothing is printed if there are none.
    """
    for table in validation_tables(trainings, Path()) if trainings else []:
        print_table(table)
    if trainings and (best := min(trainings, key=lambda training: training.best[0])).best[1]:
        print_next(best.evaluation())
