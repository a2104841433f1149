"""Terms of an encoder's weights, as they are shown before a download."""

from zoo.registry import EncoderSpec, Weights
from zoo.registry.hub_client import hub_endpoint

_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def terms(spec: EncoderSpec) -> str:
    """Return licence, where access is asked for, and size of the file, in one line."""
    parts = [f"licence: {spec.licence}"]
    asked = access_page(spec.weights)
    if asked:
        parts.append(f"gated: ask for access at {asked}")
    if spec.weights is not None and spec.weights.size:
        parts.append(in_bytes(spec.weights.size))
    return "; ".join(parts)


def access_page(weights: Weights | None) -> str | None:
    """Return the page where access to gated weights is asked for, or None."""
    if weights is None or not weights.gated:
        return None
    return f"{hub_endpoint(None)}/{weights.repo}"


def in_bytes(size: int) -> str:
    """Return a size for people.

    >>> in_bytes(2_525_000_000), in_bytes(86_700_000), in_bytes(12)
    ('2.5 GB', '87 MB', '12 bytes')
    """
    for unit, factor in _UNITS:
        if size >= factor:
            digits = 1 if size < 10 * factor else 0
            return f"{size / factor:.{digits}f} {unit}"
    return f"{size} bytes"
