"""Weight files that zoo has put into the hub's cache: list them, verify them, say what to remove.

The cache belongs to other programs too. A file is ours if the hash that `fetch` saves is there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import IntegrityError, WeightsNotFoundError
from .hub import _sha256, cache_path, fetch
from .weights import Weights

_NOTES, _REPO = ".zoo", "models--"


@dataclass(frozen=True)
class Kept:
    """A weight file in the cache.

    Parameters
    ----------
    weights
        Repository, commit and name of the file.
    path
        The file, or the link to it.
    size
        Bytes; None if the file is gone and only its hash is left.
    sha256
        Hash saved when it was fetched.
    folder
        Folder of the repository.
    """

    weights: Weights
    path: Path
    size: int | None
    sha256: str
    folder: Path

    @property
    def files(self) -> list[Path]:
        """All that removing it takes away: content that another commit shares stays."""
        commit = str(self.weights.revision)
        found = [self.folder / _NOTES / commit / f"{self.weights.filename}.sha256"]
        if self.path.is_symlink() or self.path.exists():
            found.append(self.path)
        if self.path.is_symlink():
            blob = self.path.resolve()
            links = (p for p in (self.folder / "snapshots").rglob("*") if p.is_symlink())
            shared = any(p != self.path and p.resolve() == blob for p in links)
            if blob.exists() and not shared and self.folder in blob.parents:
                found.append(blob)
        return found


def kept_weights(cache_dir: Path | None = None) -> Iterator[Kept]:
    """List the weight files that `fetch` has put into the cache; none of them is read."""
    for note in sorted(cache_path(cache_dir).glob(f"{_REPO}*/{_NOTES}/*/**/*.sha256")):
        folder = next(p for p in note.parents if p.name.startswith(_REPO))
        revision, *rest = note.relative_to(folder / _NOTES).parts
        name = "/".join(rest).removesuffix(".sha256")
        repo = folder.name.removeprefix(_REPO).replace("--", "/", 1)
        try:
            weights = Weights(repo=repo, revision=revision, filename=name)
            saved = note.read_text(encoding="utf-8").strip()
        except (ValueError, OSError):  # not written by us
            continue
        path = folder / "snapshots" / revision / name
        size = path.stat().st_size if path.exists() else None
        yield Kept(weights, path, size, saved, folder)


def verify(kept: Kept, cache_dir: Path | None = None) -> None:
    """Hash the content, and compare it with the hub's hash and with the one saved.

    Raises
    ------
    WeightsError
        When it is gone, cannot be read or differs.
    """
    if kept.size is None:
        raise WeightsNotFoundError(f"{kept.path} is gone: fetch it again with 'zoo pull'")
    fetch(kept.weights, download=False, cache_dir=cache_dir)
    found = _sha256(kept.path)
    if found != kept.sha256:
        raise IntegrityError(
            f"{kept.path} differs from the hash that was saved: expected {kept.sha256}, found "
            f"{found}; fetch it again with 'zoo pull --force'"
        )


def unfinished_downloads(cache_dir: Path | None = None) -> list[Path]:
    """List halves that interrupted downloads have left in repositories that zoo fetches from."""
    ours = {p.parent for p in cache_path(cache_dir).glob(f"{_REPO}*/{_NOTES}")}
    return sorted(p for folder in ours for p in folder.glob("blobs/*.incomplete"))
