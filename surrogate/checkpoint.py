"""Checkpoints: the last state, to resume from to the bit, and the best weights, chosen on validation.

    RUN/config.json             the resolved config, plain values only
    RUN/provenance.json         data set and software, see provenance.py
    RUN/checkpoints/last/N      model, optimizer, step, iterator, best so far
    RUN/checkpoints/best/N      the model alone: weights (averaged, if averages are taken) and normalisation

Of the best, two are kept as well: the newest, and the one that is best again if the run goes on from the last state.

The only importer of Orbax. Nothing read from a run's folder is executed: arrays and JSON.
"""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import nnx

from data_gen.errors import InputError


class CheckpointError(InputError):
    """A checkpoint that does not exist or does not fit the model."""


def _manager(folder: Path, keep: int | None, read_only: bool) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=None if read_only else keep,
        enable_async_checkpointing=False,
        create=not read_only,
        read_only=read_only,
    )
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


class Checkpoints:
    """The two series of checkpoints of one run. read_only: nothing below the folder is ever touched."""

    def __init__(self, run: str | Path, *, read_only: bool = False):
        folder = Path(run) / "checkpoints"
        self.folder = folder
        # Two of the last are kept: the newer one may be the one a kill interrupts.
        self._last, self._best = _manager(folder / "last", 2, read_only), _manager(folder / "best", None, read_only)

    def save_last(self, step: int, state: nnx.State, progress: dict[str, Any]) -> None:
        """Save everything needed to go on from `step`; progress: JSON values (iterator state, best so far)."""
        self._save(self._last, step, state, progress)
        self._prune_best()

    def save_best(self, step: int, state: nnx.State, progress: dict[str, Any]) -> None:
        """Save the model of the best validation so far."""
        self._save(self._best, step, state, progress)
        self._prune_best()

    def _prune_best(self) -> None:
        """A run that goes on from its last state forgets what came after, so it needs the best up to there."""
        steps = sorted(self._best.all_steps())
        before = [step for step in steps if step <= (self.last_step or 0)]
        for step in steps[:-1]:
            if step not in before[-1:]:
                self._best.delete(step)

    def discard_best_after(self, step: int) -> None:
        """Forget best models that a killed run saved after the step it resumes from: it will come to them again."""
        for later in [s for s in self._best.all_steps() if s > step]:
            self._best.delete(later)

    def _save(self, manager: ocp.CheckpointManager, step: int, state: nnx.State, progress: dict[str, Any]) -> None:
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(nnx.to_pure_dict(state)), progress=ocp.args.JsonSave(progress)
        )
        manager.save(step, args=items, force=True)
        manager.wait_until_finished()

    @property
    def last_step(self) -> int | None:
        """The step of the newest complete checkpoint, or None."""
        return self._last.latest_step()

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

    def _restore(
        self, manager: ocp.CheckpointManager, state: nnx.State, where: Path
    ) -> tuple[nnx.State, dict[str, Any]]:
        step = manager.latest_step()
        if step is None:
            raise CheckpointError(f"There is no checkpoint in {where}. Train first: `python train.py run=...`.")
        pure = nnx.to_pure_dict(state)
        _check_fit(manager, step, pure, where)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, pure)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore())
        try:
            restored = manager.restore(step, args=items)
        except Exception as error:  # Orbax's errors for a damaged tree are many; the remedy is the same
            raise CheckpointError(f"The checkpoint {where / str(step)} is damaged ({error}). Remove it.") from error
        nnx.replace_by_pure_dict(state, restored["state"])
        return state, dict(restored["progress"])

    def close(self) -> None:
        """Release Orbax's threads."""
        self._last.close()
        self._best.close()
