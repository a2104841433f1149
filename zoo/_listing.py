"""List encoders and datasets by name, and look up an encoder's record."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from zoo.registry import EncoderSpec, Role, registry


def list_encoders(
    pattern: str = "*", *, role: Role | None = None, trained: bool | None = None
) -> list[str]:
    """Names of the encoders that are installed, sorted.

    Open families, such as ``timm:…``, are listed by ``zoo list`` only.

    Parameters
    ----------
    pattern
        Shell-style, as in ``"*vit*"``; case does not matter.
    role
        ``"encoder"`` or ``"control"`` only.
    trained
        Whether to list only those with weights, or only those without.

    Examples
    --------
    >>> zoo.list_encoders("chadavit*")
    ['chadavit-idrcell100k', 'chadavit-untrained']
    >>> zoo.list_encoders("vir*", role="encoder", trained=True)
    ['virchow', 'virchow2']
    """
    return _matching(
        pattern,
        (
            spec.name
            for spec in registry().encoders.values()
            if (role is None or spec.role == role)
            and (trained is None or (spec.weights is not None) == trained)
        ),
    )


def list_datasets(pattern: str = "*") -> list[str]:
    """Names of the datasets that are installed, sorted; `pattern` is shell-style.

    Examples
    --------
    >>> zoo.list_datasets("phantom*")
    ['phantom', 'phantom-factors', 'phantom-shortcut', 'phantom-tissue']
    """
    return _matching(pattern, registry().datasets)


def encoder_info(name: str) -> EncoderSpec:
    """Record of an encoder, fixed or of a family; nothing is loaded.

    Raises
    ------
    UnknownNameError
        With near names.

    Examples
    --------
    >>> zoo.encoder_info("chadavit-idrcell100k").embedding_size
    192
    """
    return registry().encoder(name)


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    return sorted(n for n in names if fnmatchcase(n.lower(), pattern.lower()))
