"""Where the weights of an encoder are, and how their content is known."""

import re
from dataclasses import dataclass
from pathlib import Path

from .field_checks import check_line, check_type

_PICKLES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file, usually of safetensors: on the hub at a pinned commit, in a pip package, or local.

    Parameters
    ----------
    repo, revision
        Hub repository and 40-hex commit.
    latest
        The newest commit, instead of `revision`: it is looked up when the file is first fetched and
        kept from then on. For families whose users may name a commit.
    distribution
        Installed pip package that carries the file, instead of `repo` and `revision`.
    filename
        Name of the file in the repository, or its path in the package, folders included.
    path
        Local file, instead of all of these.
    sha256
        Hash of the content, if known. Otherwise it is saved at the first download and verified
        from then on.
    size
        Bytes, for display.
    gated
        Whether the hub asks to accept terms first.

    Examples
    --------
    >>> commit = "91a41123650ccff12f590364fec95d76af36cc93"
    >>> print(zoo.plugin.Weights(repo="nicoboou/chadavit16-moyen", revision=commit))
    nicoboou/chadavit16-moyen@91a41123650ccff12f590364fec95d76af36cc93/model.safetensors
    """

    repo: str | None = None
    revision: str | None = None
    latest: bool = False
    distribution: str | None = None
    filename: str = "model.safetensors"
    path: Path | None = None
    sha256: str | None = None
    size: int | None = None
    gated: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.path, str):
            object.__setattr__(self, "path", Path(self.path))
        if self.path is not None:
            check_type("path of weights", self.path, Path, "a path")
        for what in ("repo", "revision", "distribution", "sha256"):
            if getattr(self, what) is not None:
                check_line(f"{what} of weights", getattr(self, what))
        check_line("filename of weights", self.filename)
        if self.size is not None:
            check_type("size of weights", self.size, int, "a number of bytes")
        if sum(place is not None for place in (self.repo, self.distribution, self.path)) != 1:
            raise ValueError(
                "weights are either on the hub (repo=, revision=), in a package (distribution=) "
                "or local (path=)"
            )
        if self.latest and (self.revision is not None or self.repo is None):
            raise ValueError("latest=True takes the place of revision=, for weights on the hub")
        pinned = self.repo is None or self.latest or _SHA1.fullmatch(self.revision or "")
        if not pinned:
            raise ValueError(
                f"revision of {self.repo} is {self.revision!r}, but must be a full 40-hex commit: "
                "a branch or tag can change"
            )
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 is {self.sha256!r}, but must be 64 lower-case hex digits")

    @property
    def is_pickle(self) -> bool:
        """Whether the hub has a pickle only, which users convert by themselves."""
        return self.repo is not None and self.filename.endswith(_PICKLES)

    def __str__(self) -> str:
        """Source of the file, in one line."""
        if self.path is not None:
            return str(self.path)
        if self.distribution is not None:
            return f"{self.distribution}/{self.filename}"
        return f"{self.repo}@{self.revision or 'latest'}/{self.filename}"
