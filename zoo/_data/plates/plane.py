"""One file of one channel, and what all formats say of an export."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..tree import Tree


@dataclass(frozen=True, slots=True)
class Plane:
    """A file that holds one channel of one image, at one depth.

    Parameters
    ----------
    path
        Where it is.
    channel
        What the format calls the channel, often a number. Empty if the file has all channels.
    plate, well, site, time, name
        What else tells images apart; None where the format does not say it.
    z
        Place in depth; None without depth.
    stain
        Name of the channel, where the format has one.
    pixel_size
        Micrometres per pixel, where the format says it outside the file.
    """

    path: Path
    channel: str
    plate: str | None = None
    well: str | None = None
    site: str | None = None
    time: str | None = None
    name: str | None = None
    z: int | None = None
    stain: str | None = None
    pixel_size: float | None = None


@dataclass(frozen=True)
class Export:
    """What one format finds in a folder.

    Parameters
    ----------
    kind
        Name of the format.
    planes
        Files of channels.
    left_out
        Other files, by the reason.
    missing
        Planes that the export lists and that are not there.
    """

    kind: str
    planes: list[Plane]
    left_out: dict[str, list[str]] = field(default_factory=dict)
    missing: list[Plane] = field(default_factory=list)

    def leave_out(self, reason: str, file: str) -> None:
        """Count a file that is no part of an image."""
        self.left_out.setdefault(reason, []).append(file)


Finder = Callable[[Tree], Export | None]
