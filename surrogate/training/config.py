"""The schema of `training`: what decides how a surrogate is trained; see docs/guides/training.md."""

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from data_gen.common.errors import InputError
from surrogate.losses.loss import LossConfig
from surrogate.training.mode_schedule import ModeSchedule
from surrogate.training.precision import PRECISIONS

ON_DIVERGENCE = ("stop", "rollback")


class Due(NamedTuple):
    """Tell what is due after a training step.

    Attributes:
        log: Whether to log the metrics.
        validation: Whether to validate.
        checkpoint: Whether to save a checkpoint.
    """

    log: bool
    validation: bool
    checkpoint: bool


@dataclass
class TrainingConfig:
    """steps, batch_size, learning_rate (peak), warmup_steps, weight_decay, clip_norm: the optimisation.

    ema: decay of the running average of the weights, which then is what is validated, kept and loaded; 0: none.
    accumulate: parts that a batch is taken in, one after the other, before each update. remat: compute the operator's
    blocks again in the backward pass instead of keeping what they computed. precision: of the blocks' pointwise work,
    float32 or bfloat16. mode_schedule: growth of the Fourier modes.

    on_divergence: stop or rollback, if a loss or an update is not finite or a loss is above `divergence_factor` times
    its running mean (0: never above). A rollback goes back to the last checkpoint, goes on behind the batch it failed
    at with the learning rate times `rollback_factor`, and happens `max_rollbacks` times at most.

    log_every, validate_every, checkpoint_every: in steps. seed: of the weights and the shuffling. verify: check every
    shard's checksum before training. workers: processes that read the data set, 0 for threads of this one.
    loss: what is minimised; see losses.py.
    """

    steps: int = 1000
    batch_size: int = 8
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    ema: float = 0.0
    accumulate: int = 1
    remat: bool = False
    precision: str = "float32"
    mode_schedule: ModeSchedule = field(default_factory=ModeSchedule)
    on_divergence: str = "stop"
    divergence_factor: float = 10.0
    rollback_factor: float = 0.5
    max_rollbacks: int = 3
    log_every: int = 10
    validate_every: int = 100
    checkpoint_every: int = 100
    seed: int = 0
    verify: bool = True
    workers: int = 0
    loss: LossConfig = field(default_factory=LossConfig)

    def check(self) -> None:
        """Raise `InputError` for values no training could use."""
        for name in ("steps", "batch_size", "accumulate", "log_every", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"training.{name} must be at least 1, but is {getattr(self, name)}.")
        if self.seed < 0:
            raise InputError(f"training.seed must be 0 or above, but is {self.seed}.")
        if self.workers < 0:
            raise InputError(f"training.workers must be 0 (threads) or more processes, but is {self.workers}.")
        if not (0 < self.learning_rate < inf and self.clip_norm > 0 and 0 <= self.weight_decay < inf):
            raise InputError(
                "Training needs learning_rate > 0, clip_norm > 0 and weight_decay >= 0, but got "
                f"{self.learning_rate}, {self.clip_norm} and {self.weight_decay}."
            )
        if not 0 <= self.warmup_steps < self.steps:
            raise InputError(
                f"training.warmup_steps must be 0 or more and below training.steps = {self.steps}, but is "
                f"{self.warmup_steps}."
            )
        if not 0 <= self.ema < 1:
            raise InputError(f"training.ema is a decay per step, 0 (none) or below 1, but is {self.ema}.")
        if self.batch_size % self.accumulate:
            raise InputError(
                f"training.batch_size = {self.batch_size} cannot be taken in {self.accumulate} parts of one size. Make "
                "it a multiple of training.accumulate."
            )
        if self.precision not in PRECISIONS:
            raise InputError(f"training.precision must be one of {', '.join(PRECISIONS)}, but is {self.precision!r}.")
        self.mode_schedule.check()
        self.loss.check()
        self._check_divergence()

    def due(self, step: int) -> Due:
        """Tell what is due after a step.

        Args:
            step: Number of steps so far.

        Returns:
            Whether to log, to validate and to save a checkpoint; all three after the last step.
        """
        intervals = (self.log_every, self.validate_every, self.checkpoint_every)
        return Due(*(step == self.steps or step % interval == 0 for interval in intervals))

    def _check_divergence(self) -> None:
        if self.on_divergence not in ON_DIVERGENCE:
            raise InputError(
                f"training.on_divergence must be one of {', '.join(ON_DIVERGENCE)}, but is {self.on_divergence!r}."
            )
        if not (self.divergence_factor == 0 or self.divergence_factor > 1) or self.max_rollbacks < 0:
            raise InputError(
                "Divergence needs training.divergence_factor above 1 (or 0 for none) and max_rollbacks >= 0, but got "
                f"{self.divergence_factor} and {self.max_rollbacks}."
            )
        if not 0 < self.rollback_factor <= 1:
            raise InputError(f"training.rollback_factor must be above 0 and at most 1, but is {self.rollback_factor}.")
