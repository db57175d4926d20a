"""Save and restore the checkpoints of a run: the last states, to resume bit for bit, and the best weights.

    RUN/config.json             the resolved config, plain values only
    RUN/provenance.json         data set and software, see provenance.py
    RUN/checkpoints/last/N      training state (model, optimizer, step, monitor), data iterator, best validation so far
    RUN/checkpoints/best/N      the model alone: weights (averaged, if averages are taken) and normalization

The best weights are those with the smallest validation error. Two of the last states are kept, in case the newer one is
damaged, and the newest one that was due: a preempted run saves between two due checkpoints, but a rollback returns to
the same checkpoint whether there was a preemption or not. The newest best weights are kept, and those that were the
best at each kept last state.

Each checkpoint has a digest of its arrays, another one of what stands beside them, that digest among it, and the values
of the config that decide what weights mean. They are compared whenever a checkpoint is read: flipped bits, changed
digits, and weights of another run are refused. Checkpoints of earlier versions, without digests, give a warning.

This is the only module that imports Orbax. A run's folder holds arrays and JSON, and no file in it is executed.
"""

import contextlib
import logging
import shutil
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from data_gen.common.digest import digest_of_all
from data_gen.common.errors import InputError
from data_gen.common.files import check_room, differences
from data_gen.common.sealed import DIGEST, opened, sealed
from surrogate.devices import barrier, fetch, is_main_process
from surrogate.runs.folder import CONFIG, STEPS, WARMUP, announces_digests, identity_of, read_run

Tree = dict[Any, Any]  # nested dictionaries of arrays


class CheckpointError(InputError):
    """Report a checkpoint that does not exist or does not fit the model."""


class EarlierCheckpointWarning(UserWarning):
    """Warn of a checkpoint without digests, whose damage nobody would see."""


ROOM, BESIDE = 1.1, 300_000  # of a checkpoint, in the size of its arrays, and beside them [bytes]
ARRAYS, OF_CONFIG = "arrays", "config"  # keys beside the progress
REMOVED = "removed"  # deleted checkpoints are moved there first: a kill half-way leaves nothing that looks complete


class Checkpoints:
    """Keep the two series of checkpoints of one run.

    Args:
        run: Folder of the run.
        every: Number of steps between two checkpoints that are due.
        read_only: Whether the folder must not be touched.
    """

    def __init__(self, run: str | Path, *, every: int = 1, read_only: bool = False):
        self.run, self._every, self._create = Path(run), every, not read_only
        self.folder = self.run / "checkpoints"

    @cached_property
    def _last(self) -> ocp.CheckpointManager:
        return _manager(self.folder / "last", self._create)

    @cached_property
    def _best(self) -> ocp.CheckpointManager:
        return _manager(self.folder / "best", self._create)

    @property
    def last_step(self) -> int | None:
        """The step of the newest complete checkpoint, or None."""
        return self._last.latest_step()

    @property
    def due_step(self) -> int | None:
        """The step of the newest complete checkpoint that was due, to which a rollback returns, or None."""
        return max((step for step in self._last.all_steps() if step % self._every == 0), default=None)

    @property
    def best_step(self) -> int | None:
        """The step of the best weights, or None."""
        return self._best.latest_step()

    def save_last(self, step: int, state: Tree, progress: dict[str, Any]) -> None:
        """Save everything that a training needs to resume.

        Args:
            step: Number of steps so far.
            state: Training state, as nested dictionaries.
            progress: JSON values: state of the data iterator, best validation so far, number of rollbacks.
        """
        self._save(self._last, step, state, progress)

    def save_best(self, step: int, model: Tree, progress: dict[str, Any]) -> None:
        """Save the model with the best validation so far.

        Args:
            step: Number of steps so far.
            model: Arrays of the model, as nested dictionaries.
            progress: JSON values: the validation error.
        """
        self._save(self._best, step, model, progress)

    def restore_last(self, like: Tree) -> tuple[Tree, dict[str, Any]]:
        """Restore the newest training state.

        Args:
            like: Training state of the same structure, as nested dictionaries.

        Returns:
            The state and its progress.

        Raises:
            CheckpointError: There is no checkpoint, it belongs to another model, or it is damaged.
        """
        return self._restore(self._last, like, self.folder / "last")

    def restore_best(self, like: Tree) -> tuple[Tree, dict[str, Any]]:
        """Restore the best model.

        Args:
            like: Arrays of a model of the same structure, as nested dictionaries.

        Returns:
            The arrays and their progress.

        Raises:
            CheckpointError: There is no checkpoint, it belongs to another model, or it is damaged.
        """
        return self._restore(self._best, like, self.folder / "best")

    def best_progress(self) -> dict[str, Any]:
        """Read what was saved with the best model: its validation error.

        Returns:
            The progress.

        Raises:
            CheckpointError: It is damaged.
        """
        where = self.folder / "best" / str(self.best_step)
        with _named(where):
            items = ocp.args.Composite(progress=ocp.args.JsonRestore())
            stored = dict(self._best.restore(self.best_step, args=items)["progress"])
        return self._opened(stored, where)[0]

    def check_room(self, tree: Tree) -> None:
        """Check that there is room for a checkpoint, before Orbax prints a page of tracebacks.

        Args:
            tree: State or model that is to be saved.

        Raises:
            DatasetError: There is none.
        """
        needed = BESIDE + round(ROOM * sum(leaf.nbytes for leaf in jax.tree.leaves(tree)))
        with barrier():
            if is_main_process():
                check_room(self.run, needed)

    def forget_after(self, step: int) -> None:
        """Delete the checkpoints after a step from which a run resumes: the run will reach their steps again.

        Args:
            step: Step from which the run resumes.
        """
        for manager in (self._best, self._last):
            _delete(manager, {later for later in manager.all_steps() if later > step})

    def check_removed(self) -> None:
        """Check that nobody removed the last states of a run whose best weights exist.

        (A run that was killed before its first checkpoint has an empty folder for them.)

        Raises:
            CheckpointError: The last states were removed.
        """
        if self.best_step is not None and not (self.folder / "last").is_dir():
            raise CheckpointError(
                f"The best weights are in {self.folder / 'best'}, but {self.folder / 'last'}, from which training "
                "would resume, was removed. The run can be evaluated and used as it is. To train it anew, choose "
                f"another folder, or remove {self.folder}."
            )

    def close(self) -> None:
        """Release the threads of Orbax."""
        for name in ("_last", "_best"):
            if name in vars(self):
                getattr(self, name).close()

    def _save(self, manager: ocp.CheckpointManager, step: int, tree: Tree, progress: dict[str, Any]) -> None:
        self.check_room(tree)
        beside = sealed(progress | {ARRAYS: _digest(tree), OF_CONFIG: self._config})
        items = ocp.args.Composite(state=ocp.args.StandardSave(tree), progress=ocp.args.JsonSave(beside))
        with _told_once():
            manager.save(step, args=items, force=True)
            manager.wait_until_finished()
        self._prune()

    @property
    def _config(self) -> dict[str, Any]:
        """Values of the config that decide what weights mean: not how long, or from which run, it trains."""
        if not (self.run / CONFIG).is_file():
            return {}
        others = (STEPS, WARMUP, "init.run")
        return {key: value for key, value in identity_of(read_run(self.run)).items() if key not in others}

    def _restore(self, manager: ocp.CheckpointManager, like: Tree, folder: Path) -> tuple[Tree, dict[str, Any]]:
        step = manager.latest_step()
        if step is None:
            raise CheckpointError(f"There is no checkpoint in {folder}. Train first: `python train.py run=...`.")
        where = folder / str(step)
        with _named(where):
            stored = manager.item_metadata(step)["state"].tree
            earlier = set(stored) == {"0", "1"}
            expected = _to_earlier_format(like) if earlier else like
            _check_fit(stored, expected, folder)
            abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, expected)
            items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore())
            restored = manager.restore(step, args=items)
        tree = restored["state"]
        progress, digest = self._opened(dict(restored["progress"]), where)
        if digest is not None and digest != (found := _digest(tree)):
            raise CheckpointError(
                f"The checkpoint {where} is damaged: its arrays are not those that were saved (digest {found}, but "
                f"{digest} was saved). Remove it, and an earlier one is used; or restore it from a copy."
            )
        return _from_earlier_format(tree) if earlier else tree, progress

    def _opened(self, stored: dict[str, Any], where: Path) -> tuple[dict[str, Any], str | None]:
        """Check what stands beside the arrays: the progress and the digest of the arrays, None in earlier versions."""
        if DIGEST not in stored:
            if announces_digests(self.run):
                raise CheckpointError(
                    f"The checkpoint {where} has no digest, but {self.run / CONFIG} is of a version that writes one: "
                    "it is damaged, or of another run. Remove it, and an earlier one is used; or restore a copy."
                )
            warnings.warn(
                f"The checkpoint {where} is of an earlier version, without digests: damage to it would not be seen.",
                EarlierCheckpointWarning,
                stacklevel=2,
            )
            return stored, None
        try:
            progress = opened(stored, where)
        except InputError as error:
            raise CheckpointError(f"{error} Or remove it, and an earlier checkpoint is used.") from error
        digest, config = progress.pop(ARRAYS), progress.pop(OF_CONFIG)
        here = self._config
        shared = here.keys() & config.keys()  # later versions have more keys
        there, here = ({key: values[key] for key in sorted(shared)} for values in (config, here))
        if there != here:
            raise CheckpointError(
                f"The checkpoint {where} was saved with another config ({differences(here, there)}): it is of another "
                f"run, or {self.run / CONFIG} was changed. Restore both from one copy."
            )
        return progress, digest

    def _prune(self) -> None:
        if not (self.folder / "last").is_dir():  # weights without a training (packing.py), of which nothing resumes
            return
        last, best = sorted(self._last.all_steps()), sorted(self._best.all_steps())
        kept = {*last[-2:], self.due_step}
        _delete(self._last, set(last) - kept)
        wanted = [[b for b in best if b <= step][-1:] for step in kept if step is not None]
        _delete(self._best, set(best[:-1]) - {b for found in wanted for b in found})


def _manager(folder: Path, create: bool) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False, create=create, todelete_subdir=REMOVED)
    handlers = {"state": ocp.StandardCheckpointHandler(), "progress": ocp.JsonCheckpointHandler()}
    return ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers)


def _delete(manager: ocp.CheckpointManager, steps: set[int]) -> None:
    def empty() -> None:
        if jax.process_index() == 0:
            shutil.rmtree(Path(manager.directory) / REMOVED, ignore_errors=True)

    if steps:
        empty()  # a kill may have left something
        for step in steps:
            manager.delete(step)
        empty()


@contextlib.contextmanager
def _told_once() -> Iterator[None]:
    """Leave errors to whoever catches them: Orbax's threads print those, too, that its caller raises again."""

    def is_no_error(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR

    logger = logging.getLogger("absl")
    logger.addFilter(is_no_error)
    try:
        yield
    finally:
        logger.removeFilter(is_no_error)


@contextlib.contextmanager
def _named(where: Path) -> Iterator[None]:
    """Name the checkpoint in whatever error is raised while it is read."""
    try:
        with _told_once():
            yield
    except InputError:
        raise
    except Exception as error:  # Orbax has many errors for a damaged tree; the remedy is the same
        raise CheckpointError(f"The checkpoint {where} is damaged ({error}). Remove it.") from error


def _digest(tree: Tree) -> str:
    """Compute the digest of all arrays, by their names; all processes call this."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}

    def parts() -> Iterator[str | np.ndarray]:
        for name in sorted(named):
            yield name
            yield fetch(named[name]) if isinstance(named[name], jax.Array) else np.asarray(named[name])

    return digest_of_all(parts())


def _check_fit(stored: Tree, expected: Tree, where: Path) -> None:
    """Compare the shapes of a stored tree with the model's, before anything is restored."""
    there, here = _shapes(stored), _shapes(expected)
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            raise CheckpointError(
                f"The checkpoint in {where} is of another model: {name} has shape {there.get(name, 'absent')} there, "
                f"but {here.get(name, 'absent')} in this config. Use its own config, or another run."
            )


def _shapes(tree: Tree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in leaves}


# Earlier versions stored (model, optimizer), with step and monitor inside the optimizer as its `guard`, where the
# number of accepted steps was called `count`.


def _to_earlier_format(state: Tree) -> Tree:
    guard = {**state["monitor"], "step": state["step"]}
    guard["count"] = guard.pop("accepted")
    return {0: state["model"], 1: {**state["optimizer"], "guard": guard}}


def _from_earlier_format(stored: Tree) -> Tree:
    optimizer = dict(stored[1])
    monitor = dict(optimizer.pop("guard"))
    monitor["accepted"] = monitor.pop("count")
    return {"model": stored[0], "optimizer": optimizer, "step": monitor.pop("step"), "monitor": monitor}
