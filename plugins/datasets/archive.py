"""Archives and tables of published datasets: downloaded, verified, and read with clear errors."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import zoo
from zoo import plugin

if TYPE_CHECKING:
    import pandas as pd

_TIMEOUT = 10.0  # seconds without a byte
_BLOCK = 2**20
_BY_HAND = "download and unpack it elsewhere and give the folder with --data (path=)"


def fetch_archive(
    name: str,
    url: str,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    check: Callable[[Path], None] | None = None,
) -> Path:
    """Return the folder of an unpacked zip archive in the cache, downloaded on first use.

    The content is compared with `sha256`, `md5` and `size` before anything is unpacked. Where no
    hash is published, the one of the first download is stored beside the folder and enforced from
    then on, unless `check` is given, which inspects the unpacked folder and raises if it is wrong.

    Raises
    ------
    DataError
        When the archive cannot be fetched, or stored on this disk.
    IntegrityError
        When it is not the expected one; nothing of it is kept.
    """
    folder = plugin.cache_folder() / "datasets" / name
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            archive, unpacked = Path(scratch, "archive.zip"), Path(scratch, "unpacked")
            _download(name, url, archive, size)
            found = _compare(folder, url, archive, sha256, md5, noted=check is None)
            _unpack(url, archive, unpacked)
            if check is not None:
                try:
                    check(unpacked)
                except plugin.IntegrityError:
                    raise
                except plugin.ZooError as error:
                    raise plugin.IntegrityError(
                        f"{url} gave something other than {name}: {error}"
                    ) from error
            elif sha256 is None and md5 is None:
                _note(folder).write_text(f"{found}  {url}\n", encoding="utf-8")
            if not folder.is_dir():  # unless another process was faster
                unpacked.rename(folder)
    except OSError as error:
        raise plugin.DataError(
            f"{name} from {url} cannot be stored in {folder.parent} ({error}): free space there, "
            f"set ZOO_CACHE to another folder, or {_BY_HAND}"
        ) from error
    return folder


def open_folder(path: Path) -> Path:
    """Return a folder that exists and is not empty.

    Raises
    ------
    DataError
        When it is missing, not a folder, or empty.
    """
    path = path.expanduser()
    if not path.is_dir():
        raise plugin.DataError(
            f"{path} is not a folder" if path.exists() else f"{path} does not exist"
        )
    if not any(path.iterdir()):
        raise plugin.DataError(f"{path} is empty")
    return path


def read_table(
    path: Path, columns: Sequence[str] = (), *, numbers: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a CSV file that has at least `columns`; only empty cells count as missing.

    Raises
    ------
    DataError
        When it is missing, unreadable or empty, lacks a column, or has other values than numbers
        in one of `numbers`.
    """
    import pandas as pd

    if not path.is_file():
        raise plugin.DataError(f"{path} is missing")
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise plugin.DataError(
            f"{path} is not a readable table ({reason[0] if reason else error})"
        ) from error
    table.columns = table.columns.map(lambda name: str(name).strip())
    lacking = [c for c in columns if c not in table.columns]
    if lacking:
        raise plugin.DataError(
            f"{path} lacks the column(s) {', '.join(lacking)}; it has {_few(list(table.columns))}"
        )
    if table.empty:
        raise plugin.DataError(f"{path} has no rows")
    for column in numbers:
        values = pd.to_numeric(table[column], errors="coerce")
        strange = table[column][values.isna() & table[column].notna()]
        if len(strange):
            raise plugin.DataError(
                f"{path} has {strange.iloc[0]!r} in the column {column}, which holds numbers"
            )
        table[column] = values
    return table


def check_files(files: Sequence[Path], what: str) -> None:
    """Raise a `DataError` with the number of missing files and the first of them."""
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise plugin.DataError(
            f"{len(missing)} of {len(files)} files of {what} are missing, the first of them "
            f"{missing[0]}"
        )


def read_channels(files: Sequence[Path], stains: tuple[str, ...], what: str) -> plugin.Image:
    """Read the files of an item, one for each channel; `what` names the item in messages.

    Raises
    ------
    DataError
        When they do not hold one channel for each stain.
    """
    image = zoo.read_image(files)
    if len(image.pixels) != len(stains):
        raise plugin.DataError(
            f"the files of this {what} ({files[0]}, …) have {len(image.pixels)} channels instead "
            f"of {len(stains)}"
        )
    return plugin.Image(image.pixels, stains)


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(map(str, names[:12]))
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown


def _download(name: str, url: str, archive: Path, size: int | None) -> None:
    """Write the answer to a file, and compare its length with what was announced."""
    import urllib.request
    from http.client import HTTPException

    try:
        answer = urllib.request.urlopen(url, timeout=_TIMEOUT)
    except (HTTPException, OSError, ValueError) as error:
        raise _unfetched(name, url, error) from error
    length = 0
    with answer, archive.open("wb") as file:
        announced = answer.headers.get("Content-Length", "")
        expected = size if size is not None else int(announced) if announced.isdigit() else None
        while expected is None or length <= expected:
            try:
                block = answer.read(_BLOCK)
            except (HTTPException, OSError) as error:
                raise _unfetched(name, url, error) from error
            if not block:
                break
            length += len(block)
            file.write(block)
    if expected is not None and length != expected:
        gave = "more" if length > expected else f"{length} bytes"
        raise plugin.IntegrityError(
            f"{url} gave {gave} instead of {expected} bytes: the download was interrupted or the "
            f"file has changed; try again, or {_BY_HAND}"
        )


def _unfetched(name: str, url: str, error: Exception) -> plugin.DataError:
    reason = str(error).strip() or type(error).__name__
    return plugin.DataError(
        f"{name} is not on this machine and {url} cannot be fetched ({reason}): {_BY_HAND}"
    )


def _note(folder: Path) -> Path:
    return folder.parent / f"{folder.name}.sha256"


def _compare(
    folder: Path, url: str, archive: Path, sha256: str | None, md5: str | None, *, noted: bool
) -> str:
    """Compare the content with every known hash; return its sha256."""
    digests = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    with archive.open("rb") as file:
        while block := file.read(_BLOCK):
            for digest in digests.values():
                digest.update(block)
    found = {kind: digest.hexdigest() for kind, digest in digests.items()}
    for kind, expected in (("sha256", sha256), ("md5", md5)):
        if expected is not None and found[kind] != expected:
            raise plugin.IntegrityError(
                f"{url} gave a file with the {kind} {found[kind]} instead of {expected}; to use it "
                f"anyway, {_BY_HAND}"
            )
    note = _note(folder)
    if noted and sha256 is None and md5 is None and note.is_file():
        match = re.match(r"([0-9a-f]{64})  (.*)", note.read_text(encoding="utf-8"))
        if match and match[2] == url and match[1] != found["sha256"]:
            raise plugin.IntegrityError(
                f"{url} gave a file with the sha256 {found['sha256']}, but {match[1]} at its first "
                f"download; if the change is intended, delete {note} and try again"
            )
    return found["sha256"]


def _unpack(url: str, archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as content:
            _check_members(url, content.infolist(), shutil.disk_usage(archive.parent).free)
            content.extractall(folder)
    except plugin.ZooError:
        raise
    except Exception as error:  # zipfile raises errors of many types on broken archives
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a seek to nowhere
            raise
        raise plugin.IntegrityError(f"{url} gave no valid zip archive ({error})") from error


def _check_members(url: str, members: list[zipfile.ZipInfo], free: int) -> None:
    """Refuse names outside the folder, links (they may lead there), and more than fits the disk."""
    if not members:
        raise plugin.IntegrityError(f"{url} gave an empty archive")
    for member in members:
        # zipfile puts the slashes of this system into `filename`.
        name = member.orig_filename.replace("\\", "/")
        path = PurePosixPath(name)
        leaves = path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name)
        if leaves or stat.S_ISLNK(member.external_attr >> 16):
            what = "a file outside its folder" if leaves else "a link"
            raise plugin.IntegrityError(
                f"{url} gave an archive that holds {what}, {member.orig_filename!r}: it is not "
                "unpacked"
            )
    needed = sum(member.file_size for member in members)
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed:,} bytes unpacked, but {free:,} free")
