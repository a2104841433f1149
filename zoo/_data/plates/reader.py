"""Read the images of an export, one file for each channel."""

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import ClassVar

from zoo.registry import ImageError

from ..._images.image import Image
from ..._images.projection import needed, project
from ..._images.read import join_channels, read_image
from ..choices import Choices


@dataclass(frozen=True, slots=True)
class Field:
    """Files of one image: by channel, and in order of depth.

    `whole` is a single file with all channels.
    """

    label: str
    files: tuple[tuple[Path, ...], ...]
    stains: tuple[str, ...] | None
    pixel_size: float | None
    whole: bool = False


@dataclass(frozen=True)
class FieldReader:
    """Reads one field when it is needed, and of its depth only the planes that count."""

    thread_safe: ClassVar[bool] = True
    fields: list[Field]
    choices: Choices

    def __call__(self, i: int) -> Image:
        field = self.fields[i]
        parts = [self._channel(files, field) for files in field.files]
        firsts = [files[0] for files in field.files]
        image = parts[0] if field.whole else join_channels(parts, firsts)
        return replace(
            image,
            stains=field.stains or image.stains,
            pixel_size=field.pixel_size or image.pixel_size,
        )

    def files_of(self, i: int) -> list[Path]:
        """Return the files of a field, all depths of all channels."""
        return list(chain(*self.fields[i].files))

    def _channel(self, files: tuple[Path, ...], field: Field) -> Image:
        z = self.choices.z
        paths = [files[k] for k in needed(len(files), z, field.label)] if len(files) > 1 else files
        first = self._plane(paths[0], field)
        if len(paths) == 1:
            return first
        deeper = (self._plane(path, field, like=first).pixels for path in paths[1:])
        return replace(first, pixels=project(chain([first.pixels], deeper), z))

    def _plane(self, path: Path, field: Field, like: Image | None = None) -> Image:
        image = read_image(path, axes=self.choices.axes, z=self.choices.z)
        if len(image.pixels) != 1 and not field.whole:
            raise ImageError(
                f"{path} holds {len(image.pixels)} channels, but is one channel of {field.label}"
            )
        kind = image.pixels.shape, image.pixels.dtype
        if like is not None and kind != (like.pixels.shape, like.pixels.dtype):
            raise ImageError(
                f"the planes in depth of {field.label} differ: {path} is {kind[0]} {kind[1]}, the "
                f"first {like.pixels.shape} {like.pixels.dtype}"
            )
        return image
