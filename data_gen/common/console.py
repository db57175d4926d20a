"""What the entry points show on a terminal: progress with rates and time left, and tables."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table


@contextmanager
def progress_bar(description: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int, str], None]]:
    """A bar with a status text, elapsed time and time left, if `shown`; yields `update(completed, status)`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # The rate is that of the last ten minutes: a step may take long, and the status come seldom.
    with Progress(*columns, speed_estimate_period=600, disable=not shown) as progress:
        task = progress.add_task(description, total=total, status="")
        yield lambda completed, status: progress.update(task, completed=completed, status=status)


@contextmanager
def stages(description: str) -> Iterator[Callable[[str], None]]:
    """A spinner naming the stage under way; yields `show(stage)`."""
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), transient=True) as progress:
        task = progress.add_task(description, total=None)
        yield lambda stage: progress.update(task, description=f"{description}: {stage}")


def print_tables(report: Path, tables: Sequence[dict[str, Any]]) -> None:
    """Print a report's tables and where it is."""
    console = Console()
    for content in tables:
        table = Table(title=content["title"], caption=content["note"], box=box.SIMPLE_HEAD, padding=(0, 1))
        table.title_justify = table.caption_justify = "left"
        for i, column in enumerate(content["columns"]):
            table.add_column(column, justify="left" if i == 0 else "right")
        for row in content["rows"]:
            table.add_row(*row)
        console.print(table)
    console.print(f"Report: {report}")
