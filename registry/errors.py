"""The exception tree. Each message says what was given, what is accepted, and what to do next."""

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Anything the zoo itself could not do. Bad arguments are ``ValueError`` or ``TypeError``."""


class UnknownNameError(ZooError, LookupError):
    """No encoder, family or dataset goes by that name."""

    def __str__(self) -> str:  # a LookupError is a KeyError's parent, but prints as a sentence
        return str(self.args[0]) if self.args else ""


class PluginError(ZooError):
    """A plugin could not be imported, registered or asked, or claims a name that is taken."""


class WeightsError(ZooError):
    """Weights cannot be used as they are."""


class WeightsNotFoundError(WeightsError):
    """The weights are not on this machine and cannot be fetched (offline, unreachable, missing)."""


class AccessDeniedError(WeightsError):
    """The hub asks for permission: the repository is gated or private."""


class IntegrityError(WeightsError):
    """The content of a file is not what its record says."""


class ArchitectureMismatchError(WeightsError):
    """A weight file and the network disagree: tensors missing, unexpected or misshapen."""


class ImageError(ZooError):
    """An image cannot be read, or cannot be given to this encoder."""


class DataError(ZooError):
    """A dataset or table is not what its description says."""


class EvaluationError(ZooError):
    """A score cannot be computed honestly from what was given."""


class MissingExtraError(ZooError):
    """An optional dependency is not installed."""


def suggest(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """End of a sentence that offers the nearest known names; empty where nothing is near.

    Examples
    --------
    >>> zoo.plugin.suggest("pixel-statistic", ["pixel-statistics", "texture"])
    " Did you mean 'pixel-statistics'?"
    """
    matches = difflib.get_close_matches(name, list(known), n=limit, cutoff=0.5)
    return f" Did you mean {' or '.join(repr(m) for m in matches)}?" if matches else ""
