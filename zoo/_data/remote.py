"""Files on object stores and web servers: fetched one by one through fsspec, and not kept."""

import itertools
import re
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from zoo.registry import ImageError, MissingExtraError

from .once import Once

# More files than the images have that are read at once, so that none is removed before it is read.
_KEPT = 512
_URL = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://")
_COPIES = "zoo-fetched-"


def is_remote(text: str) -> bool:
    """Whether a text is a URL of another machine."""
    return _URL.match(text) is not None


def local_copy(url: str) -> Path:
    """Fetch a file, unless it was one of the last ones, and return its copy.

    Public buckets need no account; others use the credentials that the store's own tools use.

    Raises
    ------
    MissingExtraError
        Without the package that the store needs.
    ImageError
        If the file is not there, may not be read, or the store cannot be reached.
    """
    copies = _copies()
    copy = copies.paths.get(url, lambda: copies.fetch(url))
    for oldest in copies.paths.drop_oldest(_KEPT):
        oldest.unlink(missing_ok=True)
    return copy


def is_copy(path: str | Path) -> bool:
    """Whether a file was fetched: it has another place and time in each process."""
    return _COPIES in str(path)


def _name(url: str) -> str:
    """Return the name of a file; only those of web servers are quoted and may have a query."""
    name = url.rpartition("/")[2]
    return unquote(name.partition("?")[0]) if url.lower().startswith("http") else name


class _Copies:
    """Copies of this process, removed when it ends."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix=_COPIES)
        self.paths: Once[str, Path] = Once()
        self._count = itertools.count()

    def fetch(self, url: str) -> Path:
        """Fetch a file to a folder of its own."""
        place = Path(self.folder.name, str(next(self._count)))
        place.mkdir()
        target = place / (_name(url) or "file")
        _fetch(url, target)
        return target


@cache
def _copies() -> _Copies:
    return _Copies()


def _fetch(url: str, target: Path) -> None:
    scheme = url.partition("://")[0].lower()
    # Of public buckets an account is no part; others refuse who has none.
    ways: tuple[dict[str, bool], ...] = ({"anon": True}, {}) if scheme in ("s3", "s3a") else ({},)
    for options in ways:
        try:
            import fsspec

            system, path = fsspec.core.url_to_fs(url, **options)
            system.get_file(path, str(target))
        except ImportError as error:
            raise MissingExtraError(
                f"{url} needs a package for its store ({error}): pip install "
                '"microscopy-zoo[remote]", or copy the files and say where they are with '
                f"--path '{url.rpartition('/')[0]}=FOLDER'"
            ) from error
        except Exception as error:  # stores raise any exception
            if isinstance(error, PermissionError) and options:
                continue
            if isinstance(error, FileNotFoundError):
                raise ImageError(f"{url} is not there, or cannot be reached") from error
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            raise ImageError(f"{url} cannot be fetched ({reason})") from error
        else:
            return
