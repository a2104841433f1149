"""A source: a dataset, and what it was taken for."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from zoo.registry import DataError

from .._images.image import Image
from .choices import Choices
from .dataset import Dataset, Reader, files_of, is_thread_safe


@dataclass(frozen=True)
class Source:
    """Images of a path.

    Parameters
    ----------
    kind
        What the path was taken for.
    dataset
        Its images.
    left_out
        Files that are no part of an image, by the reason.
    notes
        Sentences that a user should read before anything is computed.
    stains
        Names of the channels that all images have, where the source says so without reading one.
    pixel_size
        Micrometres per pixel, likewise.
    aliases
        What channels without a name are called by the source, and may be called by the user.
    objects
        What the objects of the masks are called that images come with, if they do.
    """

    kind: str
    dataset: Dataset
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stains: tuple[str, ...] | None = None
    pixel_size: float | None = None
    aliases: frozenset[str] = frozenset()
    objects: str | None = None


@dataclass(frozen=True)
class ChosenReader:
    """Reads images with other names of stains, some of their channels, or a given pixel size."""

    read: Reader
    choices: Choices

    @property
    def thread_safe(self) -> bool:
        """Whether the reader of whole images is."""
        return is_thread_safe(self.read)

    def __call__(self, i: int) -> Image:
        image = self.read(i)
        choices = self.choices
        if choices.pixel_size is not None:
            image = replace(image, pixel_size=choices.pixel_size)
        stains = image.stains
        if stains is not None and choices.stains:
            stains = tuple(choices.stains.get(name, name) for name in stains)
            image = replace(image, stains=stains)
        if not choices.channels:
            return image
        places = _places(choices.channels, stains, f"image {i + 1}")
        return replace(image, pixels=image.pixels[places], stains=choices.channels)

    def files_of(self, i: int) -> list[str | Path]:
        """Return the files of an image, as far as they are known."""
        return files_of(self.read, i)


def with_choices(source: Source, choices: Choices) -> Source:
    """Return the source with the names, channels and pixel size that the user chose.

    Raises
    ------
    DataError
        For stains that the source does not have, if it says which it has.
    """
    if not (choices.stains or choices.channels or choices.pixel_size is not None):
        return source
    stains = source.stains
    if stains is not None:
        strange = [n for n in choices.stains if n not in {*stains, *source.aliases}]
        if strange:
            raise DataError(
                f"{source.dataset.name} has no stain {strange[0]!r}, only {', '.join(stains)}"
            )
        stains = tuple(choices.stains.get(name, name) for name in stains)
        if choices.channels:
            _places(choices.channels, stains, source.dataset.name)
    if choices.channels and stains is not None:
        stains = choices.channels
    read = source.dataset.read
    dataset = source.dataset
    if read is not None:
        dataset = replace(dataset, read=ChosenReader(read, choices))
    return replace(
        source,
        dataset=dataset,
        stains=stains,
        pixel_size=source.pixel_size if choices.pixel_size is None else choices.pixel_size,
    )


def _places(wanted: tuple[str, ...], stains: tuple[str, ...] | None, name: str) -> list[int]:
    """Return the places of the wanted stains; raise `DataError` if one is not there once."""
    for stain in wanted:
        if stains is None or stains.count(stain) != 1:
            have = f"the stains {', '.join(stains)}" if stains else "no names of stains"
            raise DataError(f"{name} has {have}, but the channel {stain!r} was chosen")
    return [] if stains is None else [stains.index(stain) for stain in wanted]
