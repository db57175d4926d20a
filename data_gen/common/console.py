"""Show on the console how far a command is, its tables, and which command may come next.

A terminal gets a bar or a spinner. A log of a cluster, a pipe or a file gets one plain line at the start, one every
half minute, and one at the end. A thread writes them, so that they also come while one step compiles for minutes.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

INTERVAL = 30.0  # [s] between two plain lines


@contextmanager
def progress_bar(
    description: str, total: int, *, shown: bool = True, interval: float = INTERVAL
) -> Iterator[Callable[[int, str], None]]:
    """Show how many of `total` steps are completed, a status, the elapsed time and the time left.

    Args:
        description: Name of the job.
        total: Number of steps of the whole job.
        shown: Whether to show anything; False on all processes but the first.
        interval: Time between two lines where there is no terminal [s].

    Yields:
        The function `update(completed, status)`.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    live = _is_live()
    # The rate is that of the last ten minutes: a step may take long, and the status come seldom.
    with Progress(*columns, speed_estimate_period=600, disable=not (shown and live)) as progress:
        identifier = progress.add_task(description, total=total, status="")
        task = progress.tasks[0]
        with _plain_lines(lambda: _counted(task), interval, shown=shown and not live):
            yield lambda completed, status: progress.update(identifier, completed=completed, status=status)


@contextmanager
def stages(description: str, *, shown: bool = True, interval: float = INTERVAL) -> Iterator[Callable[[str], None]]:
    """Show the name of the stage under way and the elapsed time.

    Args:
        description: Name of the job.
        shown: Whether to show anything; False on all processes but the first.
        interval: Time between two lines where there is no terminal [s].

    Yields:
        The function `show(stage)`.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    live = _is_live()
    with Progress(*columns, transient=True, disable=not (shown and live)) as progress:
        identifier = progress.add_task(description, total=None)
        task = progress.tasks[0]
        with _plain_lines(
            lambda: f"{task.description}, {_clock(task.elapsed)} elapsed", interval, shown=shown and not live
        ):
            yield lambda stage: progress.update(identifier, description=f"{description}: {stage}")


def _is_live() -> bool:
    """Whether standard output redraws what was written: a terminal or a notebook."""
    console = Console()
    return console.is_terminal or console.is_jupyter


def _clock(seconds: int | float | None) -> str:
    """Write a time as hours, minutes and seconds."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _counted(task: Task) -> str:
    """Write the line of a progress bar."""
    status = [task.fields["status"]] if task.fields["status"] else []
    times = [f"{_clock(task.elapsed)} elapsed"]
    if 0 < task.completed < (task.total or 0):
        times.append(f"{_clock(task.time_remaining)} left")
    return ", ".join([f"{task.description}: {task.completed:.0f}/{task.total:.0f}", *status, *times])


@contextmanager
def _plain_lines(line: Callable[[], str], interval: float, *, shown: bool) -> Iterator[None]:
    """Print `line()` now, at every interval, and at the end of what succeeds."""
    if not shown:
        yield
        return
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(interval):
            print(line(), flush=True)

    print(line(), flush=True)
    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    print(line(), flush=True)


def print_tables(report: Path, tables: Sequence[dict[str, Any]], console: Console | None = None) -> None:
    """Print the tables of a report and its path; a table wider than the console is printed in parts.

    Args:
        report: Path of the report.
        tables: One dictionary a table: title, columns, rows (lists of cells) and note.
        console: Console to print to; standard output by default.
    """
    console = console or Console()
    for content in tables:
        console.print(f"\n[italic]{content['title']}[/]", highlight=False)
        for columns in _parts(content, console):
            console.print(_table(content, columns), end="")
        console.print(content["note"], style="dim", highlight=False)
    console.print(f"\nReport: {report}", soft_wrap=True)


def print_next(*commands: str) -> None:
    """Print the commands that may come next, one a line and never wrapped, so that they can be copied.

    Args:
        *commands: The commands, each with a remark in parentheses where it needs one.
    """
    print(*(f"Next: {command}" for command in commands), sep="\n")


def _table(content: dict[str, Any], columns: Sequence[int]) -> Table:
    """Make a table of the given columns: the first may wrap, all others are as wide as their cells."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for i in columns:
        table.add_column(content["columns"][i], justify="left" if i == 0 else "right", no_wrap=i > 0, overflow="fold")
    for row in content["rows"]:
        table.add_row(*(row[i] for i in columns))
    return table


def _parts(content: dict[str, Any], console: Console) -> list[list[int]]:
    """Split the columns of a table into parts that fit; each part begins with the first column."""
    wide = console.options.update(width=10_000)

    def fits(columns: list[int]) -> bool:
        return Measurement.get(console, wide, _table(content, columns)).maximum <= console.width

    parts = [[0]]
    for i in range(1, len(content["columns"])):
        if len(parts[-1]) > 1 and not fits([*parts[-1], i]):
            parts.append([0])
        parts[-1].append(i)
    return parts
