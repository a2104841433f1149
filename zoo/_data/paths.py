"""Paths as tables name them: relative, moved, of Windows, as URLs."""

import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from zoo.registry import ImageError

from .remote import is_remote, local_copy

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def locate(text: str, folder: Path | str, moved: Mapping[str, str] | None = None) -> Path:
    r"""Return the file that a table names.

    Parameters
    ----------
    text
        A path relative to `folder`, an absolute one, or a URL ``file:``; with ``/`` or ``\``.
    folder
        Where the table is; a URL if it is on another machine.
    moved
        New beginnings of paths by old ones, relative to where the program runs; the longest that
        fits is replaced.

    Raises
    ------
    ImageError
        For a path of a Windows computer that `moved` does not map, or a URL that cannot be fetched.
    MissingExtraError
        For a URL without the package that its store needs.
    """
    text = _replaced(text.strip(), moved or {})
    if isinstance(folder, str):
        if not is_remote(text) and not text.startswith(("/", "file:")):
            text = f"{folder.rstrip('/')}/{text}"
        folder = Path()
    if is_remote(text):
        return local_copy(text)
    if text.startswith("file:"):
        text = unquote(re.sub(r"^file:(//(localhost)?(?=/))?", "", text))
        text = re.sub(r"^/(?=[A-Za-z]:/)", "", text)
    path = folder / text
    if "\\" not in text and not _WINDOWS.match(text):
        # Only names beyond ASCII can be spelt otherwise; asking for each of millions takes minutes.
        return path if str(path).isascii() or path.exists() else _spelt_otherwise(path)
    if path.exists():  # a backslash is part of a name here, or this is Windows
        return path
    if _WINDOWS.match(text):
        parent = re.split(r"[\\/](?=[^\\/]*$)", text)[0]
        raise ImageError(
            f"{text} is a path of a Windows computer: say where its folder is now with "
            f"--path '{parent}=FOLDER'"
        )
    return _spelt_otherwise(folder / text.replace("\\", "/"))


def local_file(text: str, folder: Path | str, moved: Mapping[str, str] | None = None) -> str | None:
    """Return the file that a table names, as `locate`; None if it is on another machine."""
    if isinstance(folder, str):
        return None
    if not moved and is_plain(text):
        return os.path.join(folder, text)  # noqa: PTH118 (tables have millions of plain paths)
    if is_remote(_replaced(text.strip(), moved or {})):
        return None
    return str(locate(text, folder, moved))


def is_plain(text: str) -> bool:
    """Whether a path is written in one way only, and is none of Windows and no URL."""
    return text.isascii() and ":" not in text and "\\" not in text


def _replaced(text: str, moved: Mapping[str, str]) -> str:
    if not moved:
        return text
    plain = text.replace("\\", "/")
    for old in sorted(moved, key=len, reverse=True):
        start = old.replace("\\", "/").rstrip("/")
        same = str.casefold if _WINDOWS.match(old) else str
        rest = plain[len(start) :]
        if same(plain[: len(start)]) == same(start) and rest[:1] in ("", "/"):
            new = moved[old]
            return (new if is_remote(new) else str(Path(new).expanduser().absolute())) + rest
    return text


def _spelt_otherwise(path: Path) -> Path:
    """Return the path in the other spelling of umlauts, if that is the one on disk."""
    for form in ("NFC", "NFD"):
        other = Path(unicodedata.normalize(form, str(path)))
        if other.exists():
            return other
    return path
