"""Pack an evaluated run into one small file with a card: `wave pack runs/mine mine.npz --about "Gathers over salt"`.

The file holds the weights in half precision, the config, and what the evaluation measured, and no path or account. It
is an .npz without pickle. `wave unpack mine.npz FOLDER` makes a run of it again; in Python,
`surrogate.load_surrogate("mine.npz")` loads it.
"""

import argparse
from pathlib import Path

from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.console import print_next
from data_gen.common.errors import one_paragraph
from surrogate.runs.packing import pack

TEXTS = ("about", "limits", "license")


@one_paragraph
def main() -> None:
    """Pack the run that the command line names."""
    parser = argparse.ArgumentParser(
        prog="wave pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of an evaluated run")
    parser.add_argument("file", type=Path, metavar="FILE", help="file to write, .npz")
    parser.add_argument("--about", required=True, metavar="TEXT", help="what it predicts, in a line")
    parser.add_argument("--limits", metavar="TEXT", help="where it should not be used")
    parser.add_argument("--license", metavar="TEXT", help="how the weights may be used")
    options = parser.parse_args()
    use_compilation_cache()
    card = pack(options.run, options.file, {name: getattr(options, name) for name in TEXTS if getattr(options, name)})
    size = options.file.stat().st_size / 1e6
    print(f"{options.file}: {size:.1f} MB; rounding its weights changes predictions by {card['rounding']:.1e}")
    print_next(f"wave unpack {options.file} FOLDER")
