"""Checks of the fields of records, whose messages name the field."""

import re
from collections.abc import Sequence

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+-]*")


def check_choice(what: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{what} is {value!r}, but must be one of {', '.join(map(repr, choices))}")


def check_type(what: str, value: object, kind: type | tuple[type, ...], wanted: str) -> None:
    """Refuse a value of another type."""
    if not isinstance(value, kind) or (isinstance(value, bool) and bool not in _kinds(kind)):
        raise TypeError(f"{what} is {value!r}, but must be {wanted}")


def _kinds(kind: type | tuple[type, ...]) -> tuple[type, ...]:
    return kind if isinstance(kind, tuple) else (kind,)


def check_line(what: str, value: object) -> None:
    """Refuse what is no text of one line."""
    check_type(what, value, str, "a text")
    if _CONTROL.search(str(value)):
        raise ValueError(f"{what} is {value!r}, but must be one line without control characters")


def check_words(what: str, value: object) -> None:
    """Refuse what is no sequence of lines."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{what} is {value!r}, but must be a tuple of texts")
    for word in value:
        check_line(f"an entry of {what}", word)


def check_range(what: str, value: object, *, open_ended: bool) -> None:
    """Refuse what is no pair of a smallest and a largest number."""
    kinds = (int, type(None)) if open_ended else int
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise TypeError(f"{what} are {value!r}, but must be two numbers, such as (1, 5)")
    low, high = value
    if not isinstance(low, int) or not isinstance(high, kinds):
        raise TypeError(f"{what} are {value!r}, but must be two numbers, such as (1, 5)")
    if low < 1 or (high is not None and high < low):
        raise ValueError(f"{what} are {value}: not a range from 1 up")


def check_target(what: str, value: str) -> None:
    """Refuse what does not name a callable."""
    if not isinstance(value, str) or not _TARGET.fullmatch(value):
        raise ValueError(f"{what} is {value!r}, but must read 'package.module:callable'")
