"""Check what commands print where there is no terminal, and tables on a console of 80 columns."""

import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from data_gen.common import console


def test_plain_progress_comes_without_updates(capsys):
    """One line at the start, one at every interval although nothing is updated, and one at the end."""
    with console.progress_bar("train runs/a", 10, interval=0.02) as update:
        update(4, "loss 0.1")
        time.sleep(0.3)
        update(10, "loss 0.05")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "train runs/a: 0/10 steps, compiling, 0:00:00 elapsed"
    # A busy machine may delay the thread, yet 0.3 s hold fifteen intervals.
    assert sum(line.startswith("train runs/a: 4/10 steps, loss 0.1, 0:00:00 elapsed") for line in lines) >= 2
    assert lines[-1] == "train runs/a: finished, 10 steps, loss 0.05, 0:00:00 elapsed"


def test_plain_progress_tells_the_time_left(capsys):
    """Ten samples take 0.05 s: rate and time left are shown from the second sample on, and not at the end."""
    with console.progress_bar("generate data/a", 100, unit="samples", interval=0.02) as update:
        for completed in range(0, 50, 10):
            update(completed, "")
            time.sleep(0.05)
    out = capsys.readouterr().out
    assert re.search(r"generate data/a: \d+/100 samples, \d+ samples/s, 0:00:00 elapsed, 0:00:0\d left", out)
    assert out.splitlines()[-1] == "generate data/a: stopped, 40/100 samples, 0:00:00 elapsed"


def test_slow_steps_are_told_by_their_time():
    assert console._rate(0.25, "steps") == "4 s/step" and console._rate(1234.0, "samples") == "1,234 samples/s"


def test_lines_are_half_a_minute_apart(capsys):
    """A task that ends at once prints only its start and its end."""
    assert console.INTERVAL == 30.0
    with console.progress_bar("invert a", 2) as update:
        update(2, "")
    with console.stages("evaluate a") as show:
        show("errors")
    assert capsys.readouterr().out.splitlines() == [
        "invert a: 0/2 steps, compiling, 0:00:00 elapsed",
        "invert a: finished, 2 steps, 0:00:00 elapsed",
        "evaluate a, 0:00:00 elapsed",
        "evaluate a: finished, 0:00:00 elapsed",
    ]


def test_other_processes_print_nothing(capsys):
    with console.progress_bar("train a", 2, shown=False, interval=0.01) as update:
        update(1, "loss")
        time.sleep(0.05)
    with console.stages("evaluate a", shown=False, interval=0.01) as show:
        show("errors")
        time.sleep(0.05)
    assert capsys.readouterr().out == ""


def test_a_failed_job_prints_no_end(capsys):
    with pytest.raises(ValueError, match="cause"), console.progress_bar("train a", 2):
        raise ValueError("cause")
    assert capsys.readouterr().out.splitlines() == ["train a: 0/2 steps, compiling, 0:00:00 elapsed"]


def test_wide_tables_are_printed_in_parts(capsys):
    """Every cell is printed whole, each part begins with the first column, and no line is longer than the console."""
    columns = ["method", *(f"column {i}" for i in range(12))]
    rows = [[f"row {r}", *(f"{r}.{i:04d}" for i in range(12))] for r in range(2)]
    table = {"title": "A title", "columns": columns, "rows": rows, "note": "A note. " * 20}
    console.print_tables(Path("report.html"), [table], Console(width=80))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert all(cell in out for cell in [*columns, *rows[0], *rows[1]])
    assert out.count("method") == out.count("row 0") == out.count("row 1") == 2
    assert out.count("A title") == out.count("Report: report.html") == 1


def test_commands_are_never_wrapped(capsys):
    command = "wave train " + " ".join(f"data.key_{i}=value" for i in range(10))
    console.print_next(command)
    assert capsys.readouterr().out == f"Next: {command}\n"
