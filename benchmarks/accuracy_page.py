"""Write docs/results/accuracy.md and its figures from the results of `benchmarks.accuracy`."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

WANTED = (0.05, 0.01, 0.003)
KINDS = ("snapshots", "gathers")
# Label, color and marker of each series; a row belongs to the first whose test it passes.
SERIES: tuple[tuple[str, str, str, Callable[[dict], bool]], ...] = (
    ("Deepwave", "tab:red", "v", lambda row: row.get("peer") == "deepwave"),
    ("Devito", "tab:brown", "^", lambda row: row.get("peer") == "devito"),
    ("without corrections", "0.55", "s", lambda row: row["corrections"] == "none"),
    ("time only", "tab:orange", "D", lambda row: row["corrections"] == "time"),
    ("both, order 8 optimized", "tab:green", "o", lambda row: row["optimized"] and row["order"] == 8),
    ("both, order 12 optimized", "tab:olive", "o", lambda row: row["optimized"]),
    ("both, order 4", "tab:purple", "o", lambda row: row["order"] == 4),
    ("both, order 8", "tab:blue", "o", lambda row: row["order"] == 8),
    ("both, order 12", "tab:cyan", "o", lambda row: True),
)
INTRO = """# Accuracy

Errors against the wave equation and times of four shots, by `python -m benchmarks.accuracy{options}`, on {machine}.
Constant cells of 10 m, a Ricker wavelet of 15 Hz, layers of 200 m; 0.7 s on 128 x 128 cells and 1.4 s on 256 x 256.
Errors are relative L2 against a converged simulation, which is on cells of 3.33 m, by order 12, and free of temporal
dispersion (`data_gen/solver/reference.py`): root mean squares over the shots, with four snapshots each, and receivers
at 60 m and more from every source. Times are {clock}, medians of {repeats}, taken in turn, after compilation. `none`
is the bare leap-frog on samples of the model, with cells repeated where its grid is finer; `time` undoes temporal
dispersion; `both` also puts the model on the solver's grid by its cosine series.

"""


PEERS = """
## At a peer's error

Gathers of Deepwave, the cheapest setting of ours that errs no more, and Deepwave's time over ours. Its correction of
temporal dispersion is given 50 ms more to record and room for twice the record, without which it errs more near its
ends. Devito is not in this table: its error is its sponge's, with layers of 800 m too, which no finer grid lowers.

{table}"""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = tuple(head)
    lines = [head, ("---",) * len(head), *map(tuple, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cheapest(rows: list[dict[str, Any]], kind: str, wanted: float, *, corrected: bool) -> dict[str, Any] | None:
    """The row with the shortest time among those within an error, with both corrections or without any."""
    which = "both" if corrected else "none"
    good = [row for row in rows if row.get("corrections") == which and row[kind] <= wanted and "forward" in row]
    return min(good, key=lambda row: row["forward"], default=None)


def by_problem(rows: list[dict[str, Any]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The rows of each medium and side."""
    problems: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        problems.setdefault((row["medium"], row["side"]), []).append(row)
    return problems


def cheapest_table(rows: list[dict[str, Any]]) -> str:
    """The cheapest settings for the wanted errors, with the corrections and without."""
    lines = []
    for (medium, side), mine in by_problem(rows).items():
        for kind in KINDS:
            for wanted in WANTED:
                ours, bare = (cheapest(mine, kind, wanted, corrected=corrected) for corrected in (True, False))
                if ours is None:
                    continue
                ratios = [f"{bare[q] / ours[q]:.1f}" if bare and q in bare else "" for q in ("forward", "gradient")]
                without = f"{bare['name']}: {bare[kind]:.4f}, {bare['forward']:.3g} s" if bare else "none reaches it"
                found = f"{ours['name']}: {ours[kind]:.4f}, {ours['forward']:.3g} s"
                lines.append((f"{medium} {side}", kind, f"{wanted:.1%}", found, without, *ratios))
    return table(("medium", "of", "wanted", "with both", "without", "forward", "gradient"), lines)


def peer_table(rows: list[dict[str, Any]]) -> str:
    """The cheapest settings that err no more than Deepwave does."""
    lines = []
    for (medium, side), mine in by_problem(rows).items():
        for peer in (row for row in mine if row.get("peer") == "deepwave" and "forward" in row):
            ours = cheapest(mine, "gathers", peer["gathers"], corrected=True)
            if ours is None:
                continue
            ratios = [f"{peer[q] / ours[q]:.1f}" if q in peer and q in ours else "" for q in ("forward", "gradient")]
            told = (f"{row['name']}: {row['gathers']:.4f}, {row['forward']:.3g} s" for row in (peer, ours))
            lines.append((f"{medium} {side}", *told, *ratios))
    return table(("medium", "Deepwave", "ours", "forward", "gradient"), lines)


def error_table(rows: list[dict[str, Any]], side: int) -> str:
    """Errors and times of all settings at one side."""
    rows = [row for row in rows if row["side"] == side]
    media = list(dict.fromkeys(row["medium"] for row in rows))
    found = {(row["name"], row["medium"]): row for row in rows}
    lines = []
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [found.get((name, medium)) for medium in media]
        errors = ["" if row is None else f"{_error(row, 'snapshots')} / {_error(row, 'gathers')}" for row in mine]
        times = [next((f"{r[q]:.3g} s" for r in mine if r and q in r), "") for q in ("forward", "gradient")]
        lines.append((name, *errors, *times))
    return table((f"{side} x {side}", *media, f"forward, {media[0]}", f"gradient, {media[0]}"), lines)


def _error(row: dict[str, Any], kind: str) -> str:
    return f"{row[kind]:.4f}" if kind in row else ("" if "why" not in row or kind == "snapshots" else "failed")


def figure(rows: list[dict[str, Any]], medium: str, path: Path) -> None:
    """Draw errors against times of one medium: a row of panels for each side."""
    rows = [row for row in rows if row["medium"] == medium and "forward" in row]
    sides = sorted({row["side"] for row in rows})
    panels, axes = plt.subplots(len(sides), 2, figsize=(9, 3.6 * len(sides)), squeeze=False, sharey=True)
    for side, line in zip(sides, axes, strict=True):
        for kind, ax in zip(KINDS, line, strict=True):
            mine = [row for row in rows if row["side"] == side and kind in row]
            for label, color, marker, test in SERIES:
                points = [row for row in mine if _series(row) is test]
                if not points:
                    continue
                points.sort(key=lambda row: row[kind])
                style = "-" if "both" in label else "none"
                xy = zip(*((row["forward"], row[kind]) for row in points), strict=True)
                ax.plot(*xy, linestyle=style, marker=marker, color=color, label=label, markersize=5)
            ax.set(xscale="log", yscale="log", title=f"{medium}, {side} x {side}: {kind}", xlabel="time of 4 shots [s]")
            ax.xaxis.set_minor_formatter(NullFormatter())  # they overlap
            ax.grid(alpha=0.3, which="both", linewidth=0.4)
        line[0].set_ylabel("relative L2 error")
    handles, labels = axes[0, 1].get_legend_handles_labels()
    panels.legend(handles, labels, loc="lower center", ncols=4, fontsize=7)
    panels.tight_layout(rect=(0, 0.05, 1, 1))
    panels.savefig(path, dpi=80)
    plt.close(panels)


def _series(row: dict[str, Any]) -> Callable[[dict], bool]:
    return next(test for _, _, _, test in SERIES if test(row))


def write(results: Path, docs: Path) -> Path:
    """Write the page and its figures; return the page's path."""
    found = json.loads(results.read_text(encoding="utf-8"))
    rows, machine = found["rows"], found["machine"]
    page, static = docs / "results" / "accuracy.md", docs / "_static"
    for folder in (page.parent, static):
        folder.mkdir(parents=True, exist_ok=True)
    text = INTRO.format(
        options=" --quick" if found["quick"] else "",
        machine=f"{machine['cores_used']} core(s) of {machine['processor']}",
        clock={"wall": "wall-clock", "cpu": "CPU time"}[found["clock"]],
        repeats=found["repeats"],
    )
    text += "## The cheapest for a wanted error\n\n"
    text += "The last columns are the time without the corrections over the time with them.\n\n"
    text += cheapest_table(rows) + PEERS.format(table=peer_table(rows)) * any(
        row.get("peer") == "deepwave" for row in rows
    )
    text += "\n## All settings\n\nRelative L2 errors of snapshots / gathers.\n\n"
    text += "\n".join(error_table(rows, side) for side in sorted({row["side"] for row in rows}))
    for medium in dict.fromkeys(row["medium"] for row in rows):
        name = f"accuracy-{medium.replace(', ', '-')}.png"
        figure(rows, medium, static / name)
        text += f"\n![Errors against times in the medium {medium}](../_static/{name})\n"
    reasons = [f"- {entry['peer']}: {entry['why']}" for entry in found["not_measured"]]
    text += "".join(f"\n{line}" for line in ["\nNot measured:\n", *reasons] if reasons)
    page.write_text(text.rstrip() + "\n", encoding="utf-8")
    return page
