"""Choose what the gradient keeps and what it computes again.

Reverse mode needs the acceleration (L p)_n of every step, last first. Three ways to have it:

    full        keep it: one field a step
    recompute   keep the state every `interval` steps and propagate each interval again: about 2 sqrt(steps) fields,
                one more forward run (square-root checkpointing: A. Griewank, Optim. Methods Softw. 1 (1992), 35-54)
    boundary    keep it in the absorbing layers only and run the interior backwards, which the leap-frog does exactly
                up to rounding: perimeter x width values a step, one more (cheaper) forward run
                (J.-E. Anderson, L. Tan and D. Wang, Geophysics 77 (2012), S93-S103, discuss the alternatives)
"""

from dataclasses import dataclass

from data_gen.common.errors import InputError
from data_gen.common.plain import settle, whole

STRATEGIES = ("full", "recompute", "boundary")
KEPT_PRECISIONS = ("same", "bfloat16", "float16")


@dataclass(frozen=True)
class Memory:
    """Choose how reverse mode gets the fields of past steps.

    Attributes:
        strategy: "full" keeps every step, "recompute" keeps some states and propagates again from each, "boundary"
            keeps the absorbing layers and runs the interior backwards in time.
        every: Steps between two kept states of "recompute"; None takes the fastest number.
        precision: "same" stores fields in the model's own precision, "bfloat16" or "float16" with half the bytes; the
            gradient then has about 3 or 4 correct digits. Each step, or row of a step, is stored in a unit of its own,
            so the wavelet's amplitude does not matter.

    Raises:
        InputError: If a name is unknown, or an interval has less than one step.
    """

    strategy: str = "recompute"
    every: int | None = None
    precision: str = "same"

    def __post_init__(self):
        if self.strategy not in STRATEGIES or self.precision not in KEPT_PRECISIONS:
            raise InputError(
                f"The gradient's memory needs a strategy of {STRATEGIES} and a precision of {KEPT_PRECISIONS}, but "
                f"got {self.strategy!r} and {self.precision!r}."
            )
        if self.every is None:
            return
        settle(self, {"every": whole})
        if self.every < 1:
            raise InputError(f"An interval of recomputation has at least one step, but every={self.every}.")
