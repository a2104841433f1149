"""Exceptions. Messages say what was given, what is accepted, and what to do next."""

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Base class of zoo's errors. Bad arguments raise ``ValueError`` or ``TypeError``."""


class UnknownNameError(ZooError, LookupError):
    """No encoder, family or dataset has that name."""

    def __str__(self) -> str:  # a sentence, without the quotes of KeyError
        return str(self.args[0]) if self.args else ""


class PluginError(ZooError):
    """A plugin could not be imported or registered, or claims a name that is taken."""


class WeightsError(ZooError):
    """Weights cannot be used."""


class WeightsNotFoundError(WeightsError):
    """The weights are not on this machine and cannot be fetched (offline, unreachable, missing)."""


class AccessDeniedError(WeightsError):
    """The repository on the hub is gated or private."""


class IntegrityError(WeightsError):
    """The content of a file differs from its record."""


class ArchitectureMismatchError(WeightsError):
    """Weights and network differ: tensors missing, unexpected or of the wrong shape."""


class ImageError(ZooError):
    """An image cannot be read, or does not fit the encoder."""


class DataError(ZooError):
    """A dataset or table differs from its description."""


class EvaluationError(ZooError):
    """A score cannot be computed from these data and this design."""


class CollapseError(ZooError):
    """A training run has collapsed: its loss can no longer fall."""


class StoppedError(ZooError):
    """A run was asked to stop; what it had done is saved."""


class MissingExtraError(ZooError):
    """An optional dependency is not installed."""


def suggest(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Return ``" Did you mean …?"`` with similar known names, or an empty string.

    Examples
    --------
    >>> zoo.plugin.suggest("pixel-statistic", ["pixel-statistics", "texture"])
    " Did you mean 'pixel-statistics'?"
    """
    matches = difflib.get_close_matches(name, list(known), n=limit, cutoff=0.5)
    return f" Did you mean {' or '.join(repr(m) for m in matches)}?" if matches else ""
