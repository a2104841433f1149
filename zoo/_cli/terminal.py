"""Output of commands: console, tables and a progress bar."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from .._encoders.progress import Progress


def console(stderr: bool = False) -> "Console":
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    return Console(stderr=stderr, width=width, highlight=False)


def table(*headers: str, header: bool = True) -> "Table":
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE, show_header=header, pad_edge=False)
    for i, name in enumerate(headers):
        made.add_column(name, overflow="fold", no_wrap=i == 0)
    return made


def add_row(to: "Table", *cells: str) -> None:
    """Add a row of plain text: brackets in names and causes are not markup."""
    from rich.text import Text

    to.add_row(*map(Text, cells))


@contextmanager
def progress(title: str) -> Iterator["Progress"]:
    """Show a progress bar on a terminal, and lines with the time left in a log.

    Yields a function of the name of the step, the number of items done, and their total.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    screen = console(stderr=True)
    if not screen.is_terminal:
        yield LogLines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # Batches can take minutes; the speed is that of the whole step.
    with Progress(*columns, console=screen, transient=True, speed_estimate_period=3600) as bar:
        task = bar.add_task(title, total=None)

        def tell(what: str, done: int, total: int) -> None:
            if total != bar.tasks[0].total or done < bar.tasks[0].completed:
                bar.reset(task, total=total)
            bar.update(task, description=what, completed=done)

        yield tell


class LogLines:
    """Tells in lines how long a step will take, once that is known, and how far it is since.

    Steps that end within `SOON` seconds are not mentioned.
    """

    SOON, EVERY = 10.0, 60.0

    def __init__(self) -> None:
        self.total = self.done = -1
        self.started = self.told = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take a report, and write a line if it is time for one."""
        now = time.monotonic()
        if total != self.total or done < self.done:
            self.total, self.started, self.told = total, now, -self.EVERY
        self.done = done
        if done <= 0 or now - self.told < self.EVERY:
            return
        left = (now - self.started) / done * (total - done)
        if left >= self.SOON:
            self.told = now
            click.echo(f"{what}: {done} of {total}, about {duration(left)} left", err=True)


def taken(seconds: float) -> str:
    """A time that was measured, in words."""
    if seconds >= 90:
        return duration(seconds)
    return f"{seconds:.0f} s" if seconds >= 10 else f"{max(seconds, 0.1):.1f} s"


def duration(seconds: float) -> str:
    """A time in words that are as exact as an estimate."""
    if seconds < 90:
        return f"{max(round(seconds / 5) * 5, 5)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
