"""Checkpoints: the last state, to resume from to the bit, and the best weights, chosen on validation.

    RUN/config.json             the resolved config, plain values only
    RUN/provenance.json         data set and software, see provenance.py
    RUN/checkpoints/last/N      model, optimizer, step, iterator, best so far
    RUN/checkpoints/best/N      the model alone: weights (averaged, if averages are taken) and normalisation

Two of the last are kept, should the newer one be damaged, and the newest that was due: a preempted run saves between
those, but a rollback goes to the same checkpoint whether there was a preemption or not. Of the best, the newest
is kept, and what was the best at each of those.

The only importer of Orbax. Nothing read from a run's folder is executed: arrays and JSON.
"""

import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import nnx

from data_gen.common.errors import InputError


class CheckpointError(InputError):
    """A checkpoint that does not exist or does not fit the model."""


REMOVED = "removed"  # what is deleted is moved there first: a kill half-way leaves nothing that looks complete


def _manager(folder: Path, create: bool) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False, create=create, todelete_subdir=REMOVED)
    handlers = {"state": ocp.StandardCheckpointHandler(), "progress": ocp.JsonCheckpointHandler()}
    return ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in leaves}


def _check_fit(manager: ocp.CheckpointManager, step: int, pure: Any, where: Path) -> None:
    """Compare the stored tree with the model's before anything is restored into it."""
    stored = _shapes(manager.item_metadata(step)["state"].tree)
    expected = _shapes(pure)
    for name in sorted(stored.keys() | expected.keys()):
        if stored.get(name) != expected.get(name):
            raise CheckpointError(
                f"The checkpoint in {where} is of another model: {name} has shape {stored.get(name, 'absent')} there, "
                f"but {expected.get(name, 'absent')} in this config. Use its own config, or another run."
            )


def _delete(manager: ocp.CheckpointManager, steps: set[int]) -> None:
    def empty() -> None:
        if jax.process_index() == 0:
            shutil.rmtree(Path(manager.directory) / REMOVED, ignore_errors=True)

    if steps:
        empty()  # of what a kill left
        for step in steps:
            manager.delete(step)
        empty()


class Checkpoints:
    """The two series of checkpoints of one run.

    every: steps between two checkpoints that are due. read_only: nothing below the folder is ever touched.
    """

    def __init__(self, run: str | Path, *, every: int = 1, read_only: bool = False):
        self.folder, self._every, self._create = Path(run) / "checkpoints", every, not read_only

    @cached_property
    def _last(self) -> ocp.CheckpointManager:
        return _manager(self.folder / "last", self._create)

    @cached_property
    def _best(self) -> ocp.CheckpointManager:
        return _manager(self.folder / "best", self._create)

    def save_last(self, step: int, state: nnx.State, progress: dict[str, Any]) -> None:
        """Save everything needed to go on from `step`; progress: JSON values (iterator state, best so far)."""
        self._save(self._last, step, state, progress)

    def save_best(self, step: int, state: nnx.State, progress: dict[str, Any]) -> None:
        """Save the model of the best validation so far."""
        self._save(self._best, step, state, progress)

    def _prune(self) -> None:
        last, best = sorted(self._last.all_steps()), sorted(self._best.all_steps())
        kept = {*last[-2:], self.due_step}
        _delete(self._last, set(last) - kept)
        wanted = [[b for b in best if b <= step][-1:] for step in kept if step is not None]
        _delete(self._best, set(best[:-1]) - {b for found in wanted for b in found})

    def forget_after(self, step: int) -> None:
        """Forget what was saved after the step that a run goes on from: it will come to it again."""
        for manager in (self._best, self._last):
            _delete(manager, {later for later in manager.all_steps() if later > step})

    def _save(self, manager: ocp.CheckpointManager, step: int, state: nnx.State, progress: dict[str, Any]) -> None:
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(nnx.to_pure_dict(state)), progress=ocp.args.JsonSave(progress)
        )
        manager.save(step, args=items, force=True)
        manager.wait_until_finished()
        self._prune()

    def check_removed(self) -> None:
        """Raise `CheckpointError` if the best weights are here, but somebody removed what was saved beside them.

        (A run that was killed before its first checkpoint has a folder for it.)
        """
        if self.best_step is not None and not (self.folder / "last").is_dir():
            raise CheckpointError(
                f"The best weights are in {self.folder / 'best'}, but {self.folder / 'last'}, from which training "
                "would go on, was removed. The run can be evaluated and used as it is. To train it anew, choose "
                f"another folder, or remove {self.folder}."
            )

    @property
    def last_step(self) -> int | None:
        """The step of the newest complete checkpoint, or None."""
        return self._last.latest_step()

    @property
    def due_step(self) -> int | None:
        """The step of the newest complete checkpoint that was due, where a rollback goes to, or None."""
        return max((step for step in self._last.all_steps() if step % self._every == 0), default=None)

    @property
    def best_step(self) -> int | None:
        """The step of the best model, or None."""
        return self._best.latest_step()

    def restore_last(self, state: nnx.State) -> tuple[nnx.State, dict[str, Any]]:
        """The newest state and its progress; `state` gives the structure. Raises `CheckpointError`."""
        return self._restore(self._last, state, self.folder / "last")

    def restore_best(self, state: nnx.State) -> tuple[nnx.State, dict[str, Any]]:
        """The best model's state and its progress; `state` gives the structure. Raises `CheckpointError`."""
        return self._restore(self._best, state, self.folder / "best")

    def best_progress(self) -> dict[str, Any]:
        """What was saved beside the best model: its validation error."""
        items = ocp.args.Composite(progress=ocp.args.JsonRestore())
        return dict(self._best.restore(self.best_step, args=items)["progress"])

    def _restore(
        self, manager: ocp.CheckpointManager, state: nnx.State, where: Path
    ) -> tuple[nnx.State, dict[str, Any]]:
        step = manager.latest_step()
        if step is None:
            raise CheckpointError(f"There is no checkpoint in {where}. Train first: `python train.py run=...`.")
        pure = nnx.to_pure_dict(state)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, pure)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore())
        try:
            _check_fit(manager, step, pure, where)
            restored = manager.restore(step, args=items)
        except CheckpointError:
            raise
        except Exception as error:  # Orbax's errors for a damaged tree are many; the remedy is the same
            raise CheckpointError(f"The checkpoint {where / str(step)} is damaged ({error}). Remove it.") from error
        nnx.replace_by_pure_dict(state, restored["state"])
        return state, dict(restored["progress"])

    def close(self) -> None:
        """Release Orbax's threads."""
        for name in ("_last", "_best"):
            if name in vars(self):
                getattr(self, name).close()
