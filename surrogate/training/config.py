"""Define the settings of `training`, which decide how a surrogate is trained; see the guide on training."""

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from data_gen.common.errors import InputError
from data_gen.common.plain import random_seed
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
    """Set how a surrogate is trained.

    Attributes:
        steps: Number of training steps, each of which updates the weights once. More steps train a finished run
            further, by the schedule of the new number from there on.
        batch_size: Number of examples in a batch, over all devices.
        learning_rate: Peak learning rate of AdamW.
        warmup_steps: Number of steps over which the learning rate rises from 0 to its peak; null takes a twentieth of
            `steps`. A cosine follows, down to 1 % of the peak.
        weight_decay: Weight decay of AdamW.
        clip_norm: Largest norm of a gradient; a larger gradient is scaled down to it.
        ema: Decay per step of the running average of the weights, which is then validated, saved and loaded; 0 takes
            no average.
        accumulate: Number of parts of a batch that are computed one after the other before each update.
        remat: Recompute the blocks of the operator in the backward pass instead of storing their results: less memory,
            more time.
        precision: Precision of the pointwise layers of the blocks, float32 or bfloat16.
        mode_schedule: Growth of the number of Fourier modes during training.
        on_divergence: Reaction when training diverges, stop or rollback. Training diverges if a loss or a gradient
            is not finite, or if a loss is above `divergence_factor` times its running mean. A rollback returns to the
            last checkpoint and resumes after the bad batch.
        divergence_factor: Largest ratio of the loss and its running mean; 0 allows every ratio.
        rollback_factor: Factor by which every rollback lowers the learning rate.
        max_rollbacks: Largest number of rollbacks; the next divergence stops training.
        log_every: Number of steps between two logs.
        validate_every: Number of steps between two validations.
        checkpoint_every: Number of steps between two checkpoints.
        seed: Seed of the initial weights and of the shuffling.
        verify: Check the checksum of every shard of the data set before training.
        workers: Number of processes that read the data set; 0 reads in threads of the training process.
        loss: Loss that is minimized, as a sum of weighted terms.
    """

    steps: int = 1000
    batch_size: int = 8
    learning_rate: float = 2e-3
    warmup_steps: int | None = None
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

    @property
    def warmup(self) -> int:
        """The number of steps of the warm-up."""
        return self.steps // 20 if self.warmup_steps is None else self.warmup_steps

    def check(self) -> None:
        """Check the values.

        Raises:
            InputError: No training could use a value.
        """
        for name in ("steps", "batch_size", "accumulate", "log_every", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"training.{name} must be at least 1, but is {getattr(self, name)}.")
        random_seed(self.seed, "training.seed")
        if self.workers < 0:
            raise InputError(f"training.workers must be 0 (threads) or more processes, but is {self.workers}.")
        if not (0 < self.learning_rate < inf and self.clip_norm > 0 and 0 <= self.weight_decay < inf):
            raise InputError(
                "Training needs learning_rate > 0, clip_norm > 0 and weight_decay >= 0, but got "
                f"{self.learning_rate}, {self.clip_norm} and {self.weight_decay}."
            )
        if not 0 <= self.warmup < self.steps:
            raise InputError(
                f"training.warmup_steps must be 0 or more and below training.steps = {self.steps}, but is "
                f"{self.warmup_steps}. Set training.warmup_steps=null for a twentieth of the steps."
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
