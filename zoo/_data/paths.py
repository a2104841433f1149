"""Paths as tables name them: relative, moved, of Windows, as URLs."""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from zoo.registry import ImageError

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_REMOTE = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://")


def locate(text: str, folder: Path, moved: Mapping[str, str] | None = None) -> Path:
    r"""Return the file that a table names.

    Parameters
    ----------
    text
        A path relative to `folder`, an absolute one, or a URL ``file:``; with ``/`` or ``\``.
    folder
        Where the table is.
    moved
        New beginnings of paths by old ones; the longest that fits is replaced.

    Raises
    ------
    ImageError
        For a path of a Windows computer, or a URL, that `moved` does not map.
    """
    text = _replaced(text.strip(), moved or {})
    if _REMOTE.match(text):
        raise ImageError(
            f"{text} is not on this machine: copy the files, and map their place with "
            f"--path '{text.rpartition('/')[0]}=FOLDER'"
        )
    if text.startswith("file:"):
        text = unquote(re.sub(r"^file:(//(localhost)?(?=/))?", "", text))
        text = re.sub(r"^/(?=[A-Za-z]:/)", "", text)
    path = folder / text
    if "\\" not in text and not _WINDOWS.match(text):
        return path if path.exists() else _spelt_otherwise(path)
    if path.exists():  # a backslash is part of a name here, or this is Windows
        return path
    if _WINDOWS.match(text):
        parent = re.split(r"[\\/](?=[^\\/]*$)", text)[0]
        raise ImageError(
            f"{text} is a path of a Windows computer: say where its folder is now with "
            f"--path '{parent}=FOLDER'"
        )
    return _spelt_otherwise(folder / text.replace("\\", "/"))


def _replaced(text: str, moved: Mapping[str, str]) -> str:
    plain = text.replace("\\", "/")
    for old in sorted(moved, key=len, reverse=True):
        start = old.replace("\\", "/").rstrip("/")
        same = str.casefold if _WINDOWS.match(old) else str
        rest = plain[len(start) :]
        if same(plain[: len(start)]) == same(start) and rest[:1] in ("", "/"):
            return str(Path(moved[old]).expanduser()) + rest
    return text


def _spelt_otherwise(path: Path) -> Path:
    """Return the path in the other spelling of umlauts, if that is the one on disk."""
    for form in ("NFC", "NFD"):
        other = Path(unicodedata.normalize(form, str(path)))
        if other.exists():
            return other
    return path
