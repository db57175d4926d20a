"""Define the settings of `training`, which decide how a surrogate is trained; see the guide on training."""

from dataclasses import dataclass, field
from typing import NamedTuple

from data_gen.common.errors import InputError
from data_gen.common.plain import SEEDS
from data_gen.common.ranges import check_fields, ranged
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

    steps: int = ranged(1000, "[1, inf)")
    batch_size: int = ranged(8, "[1, inf)")
    learning_rate: float = ranged(2e-3, "(0, inf)")
    warmup_steps: int | None = ranged(None, "[0, inf)")
    weight_decay: float = ranged(1e-4, "[0, inf)")
    clip_norm: float = ranged(1.0, "(0, inf]")
    ema: float = ranged(0.0, "[0, 1)")
    accumulate: int = ranged(1, "[1, inf)")
    remat: bool = False
    precision: str = ranged("float32", PRECISIONS)
    mode_schedule: ModeSchedule = field(default_factory=ModeSchedule)
    on_divergence: str = ranged("stop", ON_DIVERGENCE)
    divergence_factor: float = ranged(10.0, "[0, inf]")
    rollback_factor: float = ranged(0.5, "(0, 1]")
    max_rollbacks: int = ranged(3, "[0, inf)")
    log_every: int = ranged(10, "[1, inf)")
    validate_every: int = ranged(100, "[1, inf)")
    checkpoint_every: int = ranged(100, "[1, inf)")
    seed: int = ranged(0, SEEDS)
    verify: bool = True
    workers: int = ranged(0, "[0, inf)")
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
        check_fields(self, "training")
        if not 0 <= self.warmup < self.steps:
            raise InputError(
                f"training.warmup_steps must be 0 or more and below training.steps = {self.steps}, but is "
                f"{self.warmup_steps}. Set training.warmup_steps=null for a twentieth of the steps."
            )
        if self.batch_size % self.accumulate:
            raise InputError(
                f"training.batch_size = {self.batch_size} cannot be taken in {self.accumulate} parts of one size. Make "
                "it a multiple of training.accumulate."
            )
        self.mode_schedule.check()
        self.loss.check()
        if 0 < self.divergence_factor <= 1:
            raise InputError(
                "training.divergence_factor must be above 1, or 0 for none, but is "
                f"{self.divergence_factor}: every loss would count as divergence."
            )

    def due(self, step: int) -> Due:
        """Tell what is due after a step.

        Args:
            step: Number of steps so far.

        Returns:
            Whether to log, to validate and to save a checkpoint; all three after the last step.
        """
        intervals = (self.log_every, self.validate_every, self.checkpoint_every)
        return Due(*(step == self.steps or step % interval == 0 for interval in intervals))
