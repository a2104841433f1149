"""The packages of an encoder that runs in an environment of its own."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from .errors import PluginError
from .field_checks import check_type, check_words


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The environment of an encoder whose dependencies clash with those of zoo.

    `zoo env create NAME` makes it. The record's builder then runs there, in a process of its own,
    and is called as ``callable(options, weights=path_or_None, seed=int, device=str)``, and
    ``files=tuple_of_paths`` if the record has any. It returns a function that gets a batch of NumPy
    arrays and returns the embedding, `(B, D)`.

    Parameters
    ----------
    requirements
        Lines as in a requirements file. NumPy, of any version, must be among them or among what
        they need.
    file
        A requirements file that travels with the plugin, beside or instead of `requirements`.
    gpu
        Whether the builder takes other devices than ``"cpu"``.
    limit
        Seconds that building, or one batch, may take.

    Examples
    --------
    >>> old = zoo.plugin.Environment(requirements=("numpy==1.26.4", "tensorflow-cpu==2.15.1"))
    >>> print(old)
    numpy==1.26.4, tensorflow-cpu==2.15.1
    """

    requirements: tuple[str, ...] = ()
    file: Path | None = None
    gpu: bool = False
    limit: float = 600.0

    def __post_init__(self) -> None:
        check_words("requirements of an environment", self.requirements)
        object.__setattr__(self, "requirements", tuple(self.requirements))
        if isinstance(self.file, str):
            object.__setattr__(self, "file", Path(self.file))
        if self.file is not None:
            check_type("file of an environment", self.file, Path, "a path")
        check_type("gpu of an environment", self.gpu, bool, "True or False")
        check_type("limit of an environment", self.limit, (int, float), "a number of seconds")
        if not self.limit > 0:
            raise ValueError(f"limit of an environment is {self.limit}, but must be positive")
        if not self.requirements and self.file is None:
            raise ValueError("an environment needs requirements= or file=")

    def __str__(self) -> str:
        """Requirements in one line."""
        named = () if self.file is None else (f"those in {self.file.name}",)
        return ", ".join((*self.requirements, *named))

    @property
    def lines(self) -> tuple[str, ...]:
        """All requirements, those of the file included, without comments.

        Raises
        ------
        PluginError
            When the file cannot be read.
        """
        texts = list(self.requirements)
        if self.file is not None:
            try:
                texts += self.file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise PluginError(
                    f"the requirements file {self.file} cannot be read ({error}): install the "
                    "plugin again, or tell its authors"
                ) from error
        lines = (line.strip() for line in texts)
        return tuple(line for line in lines if line and not line.startswith("#"))

    @property
    def key(self) -> str:
        """Hash of the requirements: encoders that have the same ones share an environment."""
        return hashlib.sha256(json.dumps(self.lines).encode()).hexdigest()
