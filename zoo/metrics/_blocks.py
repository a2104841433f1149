"""Block sizes, which bound the memory."""

from collections.abc import Iterator

ROWS = 1024
"""Rows of a block of distances or similarities to all items."""

CHUNK = 4096
"""Rows of a matrix that are cast, scaled or summed at once."""

ENTRIES = 2**22
"""Similarities that a thread holds at once; a block is this many, or one row."""


def blocks_of(items: int, rows: int) -> Iterator[slice]:
    """Yield slices of up to `rows` items."""
    if rows < 1:
        raise ValueError(f"rows must be at least 1, not {rows}")
    for start in range(0, items, rows):
        yield slice(start, min(start + rows, items))
