"""Show on the console how far a command is, its tables, and which command may come next.

A terminal gets a bar or a spinner. A log of a cluster, a pipe or a file gets one plain line at the start, one every
half minute, and one at the end. A thread writes them, so that they also come while one step compiles for minutes.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

INTERVAL = 30.0  # [s] between two plain lines
UNLIMITED = 10_000  # columns of a log, where no line is broken and no name is cut


class _Bar(Progress):
    """Show the name and the bar of each task, and below it what a plain line shows."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield two lines for each task, which narrow terminals need."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(f"  {_counted(task)}")


@contextmanager
def progress_bar(
    description: str,
    total: int,
    *,
    unit: str = "steps",
    status: str = "compiling",
    shown: bool = True,
    interval: float = INTERVAL,
) -> Iterator[Callable[[int, str], None]]:
    """Show how many of `total` steps are completed, a status, their rate, the elapsed time and the time left.

    Rate and time left are those of the last ten minutes, without what came before the first step, such as compiling.
    When the block ends, the last line says that the job is finished, or at which step it stopped.

    Args:
        description: Name of the job.
        total: Number of steps of the whole job.
        unit: Name of the steps, in the plural.
        status: Status until the first update.
        shown: Whether to show anything; False on all processes but the first.
        interval: Time between two lines where there is no terminal [s].

    Yields:
        The function `update(completed, status)`.
    """
    live = _is_live()
    columns = (TextColumn("{task.description}"), BarColumn())
    with _Bar(*columns, speed_estimate_period=600, disable=not (shown and live)) as progress:
        identifier = progress.add_task(description, total=total, status=status, unit=unit, state="")
        task = progress.tasks[0]

        def line() -> str:
            return f"{description}: {_counted(task)}"

        with _plain_lines(line, interval, shown=shown and not live):
            yield lambda completed, status: progress.update(identifier, completed=completed, status=status)
            progress.update(identifier, state="finished" if task.finished else "stopped")


@contextmanager
def stages(description: str, *, shown: bool = True, interval: float = INTERVAL) -> Iterator[Callable[[str], None]]:
    """Show the name of the stage under way and the elapsed time; at the end, that the job is finished.

    Args:
        description: Name of the job.
        shown: Whether to show anything; False on all processes but the first.
        interval: Time between two lines where there is no terminal [s].

    Yields:
        The function `show(stage)`.
    """
    columns = (SpinnerColumn("line"), TextColumn("{task.description}"), TimeElapsedColumn())
    live = _is_live()
    with Progress(*columns, transient=True, disable=not (shown and live)) as progress:
        identifier = progress.add_task(description, total=None)
        task = progress.tasks[0]
        with _plain_lines(
            lambda: f"{task.description}, {clock(task.elapsed)} elapsed", interval, shown=shown and not live
        ):
            yield lambda stage: progress.update(identifier, description=f"{description}: {stage}")
            progress.update(identifier, description=f"{description}: finished")


def make_console() -> Console:
    """Make a console of the terminal's width, or of `$COLUMNS`; otherwise lines are as long as their content.

    Returns:
        The console, which writes to standard output.
    """
    return Console() if _is_live() or "COLUMNS" in os.environ else Console(width=UNLIMITED)


def _is_live() -> bool:
    """Whether standard output redraws what was written: a terminal or a notebook."""
    console = Console()
    return console.is_terminal or console.is_jupyter


def clock(seconds: int | float | None) -> str:
    """Write a time as hours, minutes and seconds.

    Args:
        seconds: The time [s]; None for none yet.

    Returns:
        Such as 1:02:03.
    """
    minutes, rest = divmod(int(seconds or 0), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _rate(speed: float, unit: str) -> str:
    """Write a rate; slow steps are easier to read by the time of one."""
    shown = f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"
    return f"{shown} {unit}/s" if speed >= 1 else f"{1 / speed:.3g} s/{unit.removesuffix('s')}"


def _counted(task: Task) -> str:
    """Write the counts, the status and the times of a progress bar."""
    total, unit, state = f"{task.total:.0f}", task.fields["unit"], task.fields["state"]
    counts = f"{total} {unit}" if state == "finished" else f"{task.completed:.0f}/{total} {unit}"
    parts = [state, counts] if state else [counts]
    if task.fields["status"]:
        parts.append(task.fields["status"])
    under_way = not state and 0 < task.completed < (task.total or 0)
    if under_way and task.speed:
        parts.append(_rate(task.speed, unit))
    parts.append(f"{clock(task.elapsed)} elapsed")
    if under_way and task.time_remaining is not None:
        parts.append(f"{clock(task.time_remaining)} left")
    return ", ".join(parts)


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
        console: Console to print to; by default that of `make_console`.
    """
    console = console or make_console()
    for content in tables:
        print_table(content, console)
    console.print(f"\nReport: {report}", soft_wrap=True, markup=False)


def print_table(content: dict[str, Any], console: Console | None = None) -> None:
    """Print one table; if it is wider than the console, in parts.

    Args:
        content: Title, columns, rows (lists of cells) and note.
        console: Console to print to; by default that of `make_console`.
    """
    console = console or make_console()
    console.print(f"\n[italic]{escape(content['title'])}[/]", highlight=False)
    for columns in _parts(content, console):
        console.print(_table(content, columns), end="")
    console.print(content["note"], style="dim", highlight=False, markup=False)


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
        table.add_column(
            escape(content["columns"][i]), justify="left" if i == 0 else "right", no_wrap=i > 0, overflow="fold"
        )
    for row in content["rows"]:
        table.add_row(*(escape(row[i]) for i in columns))
    return table


def _parts(content: dict[str, Any], console: Console) -> list[list[int]]:
    """Split the columns of a table into parts that fit; each part begins with the first column."""
    wide = console.options.update(width=UNLIMITED)

    def fits(columns: list[int]) -> bool:
        return Measurement.get(console, wide, _table(content, columns)).maximum <= console.width

    parts = [[0]]
    for i in range(1, len(content["columns"])):
        if len(parts[-1]) > 1 and not fits([*parts[-1], i]):
            parts.append([0])
        parts[-1].append(i)
    return parts
