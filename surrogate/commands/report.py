"""Write one page of all results below a folder: `wave report runs/mine`."""

import argparse

from data_gen.common.console import print_tables
from data_gen.common.errors import one_paragraph
from surrogate.report.page import write_report


@one_paragraph
def main() -> None:
    """Write the report of the folder that the command line names, and print its tables."""
    parser = argparse.ArgumentParser(prog="wave report", description=__doc__)
    parser.add_argument("root", help="the folder of runs and inversions")
    print_tables(*write_report(parser.parse_args().root))
