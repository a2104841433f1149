"""Terms of an encoder's weights, as they are shown before a download."""

from zoo.registry import EncoderSpec
from zoo.registry.hub_client import hub_endpoint

_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def terms(spec: EncoderSpec) -> str:
    """Return licence, where access is asked for, and size of the file, in one line."""
    parts = [f"licence: {spec.licence}"]
    asked = access_page(spec)
    if asked:
        parts.append(f"gated: ask for access at {asked}")
    if size := sum(file.size or 0 for file in spec.all_files):
        parts.append(in_bytes(size))
    return "; ".join(parts)


def access_page(spec: EncoderSpec) -> str | None:
    """Return the page where access to gated files is asked for, or None."""
    gated = next((file for file in spec.all_files if file.gated), None)
    return None if gated is None else f"{hub_endpoint(None)}/{gated.repo}"


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
