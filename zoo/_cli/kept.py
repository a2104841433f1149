"""What zoo keeps on this machine, as the commands list, verify and remove it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from zoo.registry import ZooError, registry

Kind = Literal["weights", "embeddings", "unfinished"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Entry:
    """One thing that is kept.

    Parameters
    ----------
    kind, names
        What it is, and which encoders use it, or the repository that it comes from.
    size, what
        Bytes, and what stands beside it in a list.
    files
        Returns all files that removing it takes away.
    problem
        Reads it, and says what is wrong; None if all is well.
    """

    kind: Kind
    names: tuple[str, ...]
    size: int
    what: str
    files: Callable[[], list[Path]]
    problem: Callable[[], str | None]


def entries(patterns: tuple[str, ...] = (), kind: Kind | None = None) -> list[Entry]:
    """List what is kept, all or what one of the patterns names."""
    found = [*_weights(), *_embeddings(), *_unfinished()]
    return [
        e
        for e in found
        if kind in (None, e.kind)
        and (not patterns or any(fnmatchcase(n, p) for n in e.names for p in patterns))
    ]


def _weights() -> Iterator[Entry]:
    from zoo.registry.kept_weights import Kept, kept_weights, verify

    def problem(kept: Kept) -> str | None:
        try:
            verify(kept)
        except ZooError as error:
            return str(error)
        return None

    users: dict[str, list[str]] = {}
    for spec in registry().encoders.values():
        for file in spec.all_files:
            users.setdefault(str(file), []).append(spec.name)
    for kept in kept_weights():
        source = str(kept.weights)
        names = (*users.get(source, ()), str(kept.weights.repo))
        state = f"sha256 {kept.sha256[:12]}…" if kept.size is not None else "gone"
        files = partial(getattr, kept, "files")
        yield Entry(
            "weights", names, kept.size or 0, f"{source}, {state}", files, partial(problem, kept)
        )


def _embeddings() -> Iterator[Entry]:
    from .._embedding.kept import KeptRows, is_whole, kept_embeddings

    def problem(kept: KeptRows) -> str | None:
        return None if is_whole(kept) else f"{kept.path} is broken, and counts as empty"

    for kept in kept_embeddings():
        name = kept.encoder or "unknown"
        what = "broken" if kept.rows is None else f"{kept.rows} image{'s' * (kept.rows != 1)}"
        yield Entry(
            "embeddings",
            (name,),
            kept.size,
            f"{what}, {kept.path.name[:12]}….npz",
            partial(_only, kept.path),
            partial(problem, kept),
        )


def _unfinished() -> Iterator[Entry]:
    from zoo.registry.kept_weights import unfinished_downloads

    from .._embedding.kept import unfinished_files

    for path in [*unfinished_downloads(), *unfinished_files()]:
        size = path.stat().st_size
        yield Entry("unfinished", ("unfinished",), size, str(path), partial(_only, path), _nothing)


def _only(path: Path) -> list[Path]:
    return [path]


def _nothing() -> None:
    return None
