"""Write one page of all runs and results below a folder: `wave report runs/mine`."""

import argparse
from pathlib import Path

from data_gen.common.console import print_next, print_tables
from data_gen.common.errors import one_paragraph
from surrogate.report.page import write_report
from surrogate.report.trainings import read_trainings


@one_paragraph
def main() -> None:
    """Write the report of the folder that the command line names, print its tables and what is not evaluated yet."""
    parser = argparse.ArgumentParser(prog="wave report", description=__doc__)
    parser.add_argument("root", help="the folder of runs and inversions")
    root = Path(parser.parse_args().root)
    print_tables(*write_report(root))
    unevaluated = [training for training in read_trainings(root) if not (training.folder / "metrics.json").exists()]
    if unevaluated:
        print_next(min(unevaluated, key=lambda training: training.best[0]).evaluation())
