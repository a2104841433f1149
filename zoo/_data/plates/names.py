"""Canonical names of wells and sites, and the order that people expect of names with numbers."""

import re

_WELL = re.compile(r"([A-Za-z]{1,2})[ _-]?0*(\d{1,3})")


def well_of(row: int, column: int) -> str:
    """Return the name of a well by its row and column from 1: ``A01``, ``AF48``."""
    first, last = divmod(row - 1, 26)
    letters = (chr(64 + first) if first else "") + chr(65 + last)
    return f"{letters}{column:02d}"


def canonical_well(text: str) -> str | None:
    """Return ``A01`` for A1, a01 and A-01; None if the text names no well."""
    found = _WELL.fullmatch(text.strip())
    return f"{found[1].upper()}{int(found[2]):02d}" if found and int(found[2]) else None


def well_of_text(row: str, column: str) -> str | None:
    """Return a well by a row that is a letter or a number, and a column; None if they are none."""
    if row.isdecimal() and column.isdecimal():
        return well_of(int(row), int(column)) if int(row) and int(column) else None
    return canonical_well(row + column)


def canonical_number(text: str) -> str:
    """Return digits without leading zeros, and other text as it is."""
    return str(int(text)) if text.isdecimal() else text


def natural(text: str | None) -> tuple[tuple[bool, int, str], ...]:
    """Return a key that sorts ``w2`` before ``w10``."""
    parts = re.findall(r"\d+|\D+", text or "")
    return tuple((not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts)
