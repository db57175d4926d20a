"""Write one page of all results below a folder: `python -m surrogate.report runs/mine`."""

import argparse

from data_gen.common.console import print_tables
from surrogate.report.page import write_report


def main() -> None:
    """Write the report of a folder, and print its tables."""
    parser = argparse.ArgumentParser(prog="python -m surrogate.report", description=__doc__)
    parser.add_argument("root", help="the folder of runs and inversions")
    print_tables(*write_report(parser.parse_args().root))
