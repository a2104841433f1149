"""What commands print: tables, a progress bar, and the console they go to."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
    """Add a row of plain text: names and causes may hold brackets, which are no markup."""
    from rich.text import Text

    to.add_row(*map(Text, cells))


@contextmanager
def progress(title: str) -> Iterator["Progress"]:
    """Show a bar on the terminal, and nothing where the output is no terminal.

    What is given is called with what is being done, how much of it is done, and how much there is
    in all; another task starts the bar anew.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total
        )
