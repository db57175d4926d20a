"""Write docs/results/pretrained.md from the cards of the package: `python -m benchmarks.pretrained_page`."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy_page import table
from benchmarks.worker import ROOT
from surrogate.runs.packed import FOLDER, PRETRAINED, load_card

INTRO = """# Pretrained surrogates

The cards of what comes with the package ([how to use it](../guides/export.md)). Each was trained by `wave train`, with
the experiment of its name (`experiment=wavefield_small`, `gather_openfwi`), and evaluated by `wave evaluate` on test
samples that it had not seen; `wave unpack NAME FOLDER --samples N` with their number, and `wave evaluate run=FOLDER`,
measure it again.
"""
HEAD = ("relative L2", "mean", "median", "90 %", "time, of the solver's")


def errors(metrics: dict[str, Any]) -> list[tuple[str, ...]]:
    """The errors and times of the surrogate and of what it is compared with."""
    rows, seconds = [], metrics["seconds_per_sample"]
    for name, part in (("surrogate", metrics), ("coarse_solver", metrics.get("coarse_solver"))):
        if part is not None:
            found = part["relative_l2"]
            cells = [f"{found[key]:.4f}" for key in ("mean", "median", "p90")]
            rows.append(
                (name.replace("_", " "), *cells, f"{seconds[name]['median'] / seconds['solver']['median']:.2f} x")
            )
    return rows


def worth(metrics: dict[str, Any]) -> str:
    """What it is worth at an equal error, and in an inversion, in words."""
    text, part = "", metrics.get("speedup", {})
    for kind in ("predictions", "gradients"):
        if kind in part:
            found = part[kind]
            bound = found.get("S_of_no_operator")
            bound = "" if bound is None else f"; S would be {bound:.2g} if its operator took no time"
            solver = f"our solver takes {1e3 * found['solver_seconds']:.1f} ms"
            text += (
                f"- S of {kind}: **{found['S']:.2g}** at an error of {found['error']:.3f} against the wave equation "
                f"({1e3 * found['seconds']:.1f} ms a shot; {solver}{bound}).\n"
            )
    path = metrics.get("gradients", {}).get("path", {})
    if path:
        cosines = "; ".join(
            f"{place} {of['surrogate']['cosine']['median']:.3f} (coarse solver "
            f"{of['coarse_solver']['cosine']['median']:.3f})"
            for place, of in path.items()
        )
        text += f"- Cosine of a misfit's gradient with the solver's: {cosines}.\n"
    led = metrics.get("inversion", {})
    if "surrogate" in led:
        counts = {
            name: np.median([np.inf if n is None else n for n in led[name]["gradients"]])
            for name in ("surrogate", "coarse_solver")
            if name in led
        }
        words = "; ".join(
            f"led by the {name.replace('_', ' ')} {f'{count:.0f}' if np.isfinite(count) else 'not reached'}"
            for name, count in counts.items()
        )
        plain = f"{np.median(led['lbfgs']):.0f}"
        text += f"- Gradients by the solver, inversions of {led['samples']} model(s): L-BFGS {plain}; {words}.\n"
    return text


def section(name: str) -> str:
    """What the page says of a surrogate."""
    card = load_card(name)
    metrics, config, texts = card["metrics"], card["config"], card["texts"]
    data, training, used = config["data"], config["training"], metrics["environment"]
    families = ", ".join(data["families"])
    recipe = (
        f"{data['nz']} x {data['nx']} cells of {data['spacing']:g} m, a Ricker wavelet of {data['peak_frequency']:g} "
        f"Hz; families {families}; {training['steps']} steps of {training['batch_size']}"
    )
    size = (FOLDER / f"{name}.npz").stat().st_size / 1e6
    text = f"\n## {name}\n\n{texts['about']}\n\n"
    text += "".join(f"- **{title.capitalize()}**: {texts[title]}\n" for title in sorted(texts.keys() - {"about"}))
    text += (
        f"- **Recipe**: {recipe}.\n- **File**: {size:.1f} MB, {metrics['parameters']:,} parameters, "
        f"{card['precision']}; rounding them changes predictions by {card['rounding']:.1e}.\n\n"
    )
    text += table(HEAD, errors(metrics)) + "\n" + worth(metrics)
    return text + (
        f"\n{metrics['test_samples']} test samples; {used['processor']}, jax {used['jax']}, Python {used['python']}.\n"
    )


def write_page(docs: Path) -> Path:
    """Write the page; return its path."""
    page = docs / "results" / "pretrained.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(INTRO + "".join(section(name) for name in PRETRAINED), encoding="utf-8")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretrained_page", description=__doc__)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the documents")
    print(write_page(parser.parse_args().docs))


if __name__ == "__main__":
    main()
