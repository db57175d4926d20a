"""Make a run of a packed surrogate, or of a pretrained one of the package, with test samples to evaluate it on.

  wave unpack                                      list the pretrained surrogates
  wave unpack wavefield-small runs/small           make a run of one, with 16 test samples
  wave unpack mine.npz runs/theirs --samples 0     make a run of a file that `wave pack` wrote, without samples

The folder is that of a run: `wave evaluate run=runs/small`, `wave invert forward=surrogate run=runs/small` and all
others take it. In Python, `surrogate.load_surrogate("wavefield-small")` loads it without a folder.
"""

import argparse
from pathlib import Path
from typing import Any

from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.console import print_next, print_table, stages
from data_gen.common.errors import InputError, one_paragraph
from surrogate.runs.packed import PRETRAINED, load_card
from surrogate.runs.packing import EXAMPLES, unpack


def worth(card: dict[str, Any]) -> list[str]:
    """Say what a packed surrogate is worth.

    Args:
        card: Its card.

    Returns:
        Its mean error on test samples, that of the coarse solver, and S with the error that S is for; empty where an
        evaluation does not measure it.
    """
    metrics = card["metrics"]
    coarse = metrics.get("coarse_solver", {}).get("relative_l2", {}).get("mean")
    found = metrics.get("speedup", {}).get("predictions")
    return [
        f"{metrics['relative_l2']['mean']:.4f}",
        "" if coarse is None else f"{coarse:.4f}",
        "" if found is None else f"{found['S']:.2g} at {found['error']:.4f}",
    ]


def pretrained_table() -> dict[str, Any]:
    """Make the table of the pretrained surrogates.

    Returns:
        The table, as `print_table` takes it.
    """
    cards = {name: load_card(name) for name in PRETRAINED}
    return {
        "title": "Pretrained surrogates",
        "columns": ["name", "error", "coarse solver", "S"],
        "rows": [[f"{name}: {card['texts']['about']}", *worth(card)] for name, card in cards.items()],
        "note": "Errors: mean relative L2 on the test samples, against our solver. S: the time that our solver takes "
        "for the same error against the wave equation, over the surrogate's, at that error.",
    }


@one_paragraph
def main() -> None:
    """Unpack the surrogate that the command line names, or list the pretrained ones."""
    parser = argparse.ArgumentParser(
        prog="wave unpack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a packed file, or a pretrained surrogate")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="folder of the run to make")
    parser.add_argument(
        "--samples", type=int, default=EXAMPLES, metavar="N", help=f"test samples to simulate ({EXAMPLES}); 0: none"
    )
    options = parser.parse_args()
    if options.name is None:
        print_table(pretrained_table())
        print_next("wave unpack NAME FOLDER")
        return
    if options.folder is None:
        raise InputError(
            f"There is no folder for the run of {options.name}. Give one: `wave unpack {options.name} runs/mine`."
        )
    use_compilation_cache()
    with stages("unpacking") as on_progress:
        card = unpack(options.name, options.folder, options.samples, on_progress)
    error, coarse, speedup = worth(card)
    print(f"{options.folder}: {card['texts']['about']}")
    print(f"Relative L2 error {error}" + f"; coarse solver {coarse}" * bool(coarse) + f"; S {speedup}" * bool(speedup))
    for title in sorted(card["texts"].keys() - {"about"}):
        print(f"{title.capitalize()}: {card['texts'][title]}")
    print_next(f"wave evaluate run={options.folder}" + " data.path=DATA" * (options.samples == 0))
