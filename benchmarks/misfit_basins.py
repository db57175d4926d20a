"""How far off a prediction may be: `python -m benchmarks.misfit_basins` measures the basin of every misfit.

One trace of 60 periods of a Ricker wavelet's peak frequency, in float64, arrivals in its middle, where the ends do not
matter. Derivatives are along a shift of the whole predicted trace.

- `shift`: the largest shift of one arrival, in periods, up to which the derivative has the right sign at every
  hundredth of a period, early and late.
- `felt`: the same, of a derivative that is also at least a hundredth of its largest value at smaller shifts.
- `factor`: two arrivals four periods apart, all shifted by a quarter of a period, the later one also multiplied by a
  factor on one side: the largest factor up to which the derivative has the right sign, the smallest over both sides and
  both directions.
- `cpu_s`: CPU time of the value and the gradient of 4 gathers of 1000 samples and 100 traces in float32, a median of
  repeats that take turns.

Writes `results/misfit-basins-<device>.json`, and docs/results/misfits.md with its figure.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.misfit_page import Curves, write_page
from benchmarks.report import machine, write_rows
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.solver.problem.wavelets import ricker_waveform
from surrogate.inversion.misfits.registry import MISFITS, Misfit

SAMPLES_PER_PERIOD, PERIODS = 25, 60
SEPARATION, QUARTER = 4.0, 0.25  # periods
SHIFTS = np.arange(1, 2001) / 100  # periods
FACTORS = 1.02 ** np.arange(0, 234)  # up to 101
SHOWN = np.linspace(-4, 4, 321)  # periods, in the figure
SIZE = (4, 1000, 100)


def trace(at: Any, factor: Any = None):
    """A trace with an arrival at so many periods from the middle; with a factor, a later one times the factor, too."""
    periods = jnp.arange(SAMPLES_PER_PERIOD * PERIODS) / SAMPLES_PER_PERIOD - PERIODS / 2 - at
    one = ricker_waveform((jnp.pi * periods) ** 2)
    both = one if factor is None else one + factor * ricker_waveform((jnp.pi * (periods - SEPARATION)) ** 2)
    return jnp.asarray(both)[None, :, None]


def single(misfit: Misfit) -> Callable:
    """The misfit of a shift of one arrival."""
    return lambda shift: misfit(trace(shift), trace(0.0))


def double(misfit: Misfit, *, predicted: bool = True) -> Callable:
    """The misfit of a shift of two arrivals, and of a factor on the later one of one side."""
    return lambda shift, factor: misfit(
        trace(shift, factor if predicted else 1.0), trace(0.0, 1.0 if predicted else factor)
    )


def along(function: Callable, *arguments: Any) -> np.ndarray:
    """The values of a function at every entry of its arguments, some at once."""
    return np.asarray(jax.jit(lambda xs: jax.lax.map(lambda x: function(*x), xs, batch_size=50))(arguments))


def first_wrong(right: np.ndarray, values: np.ndarray) -> float | None:
    """The largest value up to which all are right, zero if none is; None if all are."""
    wrong = np.flatnonzero(~right)
    return None if wrong.size == 0 else float(values[wrong[0] - 1]) if wrong[0] else 0.0


def largest_shifts(misfit: Misfit) -> tuple[float | None, float | None]:
    """The largest shifts up to which the derivative is right, and is felt; None where `SHIFTS` have no limit."""
    slope = jax.grad(single(misfit))
    outward = np.minimum(along(slope, SHIFTS), -along(slope, -SHIFTS))
    felt = outward > 0.01 * np.maximum.accumulate(outward)
    return first_wrong(outward > 0, SHIFTS), first_wrong(felt & (outward > 0), SHIFTS)


def largest_factor(misfit: Misfit) -> float | None:
    """The largest factor up to which the derivative is right; None if there is no limit within `FACTORS`."""
    right = np.full(FACTORS.shape, True)
    for predicted in (True, False):
        slope = jax.grad(double(misfit, predicted=predicted))
        for sign in (1, -1):
            right &= sign * along(slope, np.full(FACTORS.shape, sign * QUARTER), FACTORS) > 0
    return first_wrong(right, FACTORS)


def curves(misfit: Misfit) -> Curves:
    """The misfit over shifts: of one arrival, and of two with twice the later one predicted."""
    return along(single(misfit), SHOWN), along(double(misfit), SHOWN, np.full(SHOWN.shape, 2.0))


def cpu_times(repeats: int) -> dict[str, float]:
    """CPU times of the value and the gradient of each misfit."""
    predicted, observed = (jax.random.normal(jax.random.key(seed), SIZE) for seed in (0, 1))
    programs = {name: jax.jit(jax.value_and_grad(misfit)) for name, misfit in MISFITS.items()}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        jax.block_until_ready(program(predicted, observed))
    for _ in range(repeats):
        for name, program in programs.items():
            start = time.process_time()
            jax.block_until_ready(program(predicted, observed))
            times[name].append(time.process_time() - start)
    return {name: median(taken) for name, taken in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.misfit_basins", description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the documents")
    options = parser.parse_args()
    use_compilation_cache()
    before, times = machine(), cpu_times(options.repeats)
    rows, drawn = [], {}
    with jax.enable_x64(True):
        for name, misfit in MISFITS.items():
            shift, felt = largest_shifts(misfit)
            found = {"shift": shift, "felt": felt, "factor": largest_factor(misfit), "cpu_s": times[name]}
            rows.append({"misfit": name} | found)
            drawn[name] = curves(misfit)
            print("  ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in rows[-1].values()), flush=True)
    limits = {"largest_shift": float(SHIFTS[-1]), "largest_factor": float(FACTORS[-1])}
    print(write_rows(options.out, "misfit-basins", {"machine": before, "repeats": options.repeats} | limits, rows))
    print(write_page(rows, limits, before, SHOWN, drawn, options.docs))


if __name__ == "__main__":
    main()
