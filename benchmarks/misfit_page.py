"""Write docs/results/misfits.md and its figure from what `benchmarks.misfit_basins` found."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.accuracy_page import table

Curves = tuple[np.ndarray, np.ndarray]  # of one arrival and of two
FIGURE = "misfit-basins.png"
COMPARES = {
    "l2": "samples; loud traces count most",
    "trace_normalized_l2": "samples, relative to each observed trace",
    "global_correlation": "the shapes of traces",
    "huber": "samples; large errors count by magnitude",
    "student_t": "samples; large errors count ever less",
    "envelope": "envelopes; blind to the phase",
    "cross_correlation_delay": "the delay of each trace alone",
    "wasserstein": "when the positive and the negative part of a trace come",
    "adaptive_waveform": "the filter from one trace to the other",
    "frequency_phase": "phases, low frequencies first",
}
INTRO = """# Misfits

How far off a prediction may be before a misfit points the wrong way, by `python -m benchmarks.misfit_basins`. One trace
of 60 periods of a Ricker wavelet's peak frequency, in float64; the derivative is that along a shift of the predicted
trace.

- **Shift**: the largest shift of one arrival, in periods, up to which the derivative has the right sign throughout,
  early and late. None was tried beyond {largest_shift:g}. For `l2` theory has sqrt(5 - sqrt(10)) / pi = 0.43.
- **Felt**: the same, of a derivative that is also at least a hundredth of its largest value at smaller shifts. Beyond,
  the misfit is flat: noise would decide.
- **Factor**: two arrivals four periods apart, all shifted by a quarter of a period, the later one also multiplied by a
  factor in the predicted or in the observed trace: the largest factor up to which the derivative has the right sign in
  either case and either direction. None was tried beyond {largest_factor:.0f}. Amplitudes that are wrong by more than
  this look like a delay. The orange curves of the figure show other shifts, for a factor of two.
- **Time**: CPU time of the value and the gradient of 400,000 samples (4 gathers of 1000 times and 100 traces) in
  float32, on {cores} core(s) of {processor}.

These are properties of the misfit alone. In an inversion, noise, other arrivals that overlap, the band and the geometry
decide as well: a wide basin is no promise of a better model.

"""


def basin_table(rows: list[dict[str, Any]], limits: dict[str, float]) -> str:
    """The table of all misfits."""

    def shown(value: float | None, limit: float, digits: int) -> str:
        return f"over {limit:.0f}" if value is None else f"{value:.{digits}f}"

    lines = (
        (
            f"`{row['misfit']}`",
            COMPARES.get(row["misfit"], ""),
            shown(row["shift"], limits["largest_shift"], 2),
            shown(row["felt"], limits["largest_shift"], 2),
            shown(row["factor"], limits["largest_factor"], 2),
            f"{1000 * row['cpu_s']:.0f} ms",
        )
        for row in rows
    )
    return table(("misfit", "compares", "shift [periods]", "felt [periods]", "factor", "time"), lines)


def figure(rows: list[dict[str, Any]], shifts: np.ndarray, drawn: dict[str, Curves], path: Path) -> None:
    """Draw every misfit over shifts, and shade where a shift is felt."""
    panels, axes = plt.subplots(2, (len(rows) + 1) // 2, figsize=(12, 5), sharex=True)
    for ax, row in zip(axes.flat, rows, strict=False):
        one, two = drawn[row["misfit"]]
        reach = shifts[-1] if row["felt"] is None else min(row["felt"], shifts[-1])
        ax.axvspan(-reach, reach, color="tab:green", alpha=0.15, linewidth=0)
        ax.plot(shifts, one / one.max(), color="tab:blue", label="one arrival")
        ax.plot(shifts, two / two.max(), color="tab:orange", linewidth=1, label="two, the later one twice too loud")
        ax.set_title(row["misfit"].replace("_", " "), fontsize=10)
        ax.grid(alpha=0.3, linewidth=0.4)
    for ax in axes[-1]:
        ax.set_xlabel("shift [periods]")
    for ax in axes[:, 0]:
        ax.set_ylabel("misfit, scaled")
    panels.legend(*axes.flat[0].get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=9, frameon=False)
    panels.tight_layout(rect=(0, 0.05, 1, 1))
    panels.savefig(path, dpi=80)
    plt.close(panels)


def write_page(
    rows: list[dict[str, Any]],
    limits: dict[str, float],
    machine: dict[str, Any],
    shifts: np.ndarray,
    drawn: dict[str, Curves],
    docs: Path,
) -> Path:
    """Write the page and its figure; return the page's path."""
    page, static = docs / "results" / "misfits.md", docs / "_static"
    for folder in (page.parent, static):
        folder.mkdir(parents=True, exist_ok=True)
    text = INTRO.format(**limits, cores=machine["cores_used"], processor=machine["processor"])
    text += basin_table(rows, limits)
    text += f"\n![Every misfit over shifts of one and of two arrivals](../_static/{FIGURE})\n\n"
    text += "Green: shifts of one arrival that are felt, as far as the figure goes.\n"
    figure(rows, shifts, drawn, static / FIGURE)
    page.write_text(text, encoding="utf-8")
    return page
