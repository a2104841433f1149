"""Read the images of an export, one file for each channel."""

from dataclasses import dataclass, replace
from pathlib import Path

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

    def _channel(self, files: tuple[Path, ...], field: Field) -> Image:
        z = self.choices.z
        paths = [files[k] for k in needed(len(files), z, field.label)] if len(files) > 1 else files
        images = [read_image(path, axes=self.choices.axes, z=z) for path in paths]
        for path, image in zip(paths, images, strict=True):
            if len(image.pixels) != 1 and not field.whole:
                raise ImageError(
                    f"{path} holds {len(image.pixels)} channels, but is one channel of "
                    f"{field.label}"
                )
        sizes = {(image.pixels.shape, image.pixels.dtype) for image in images}
        if len(sizes) > 1:
            raise ImageError(f"the planes in depth of {field.label} differ in size or dtype")
        if len(images) == 1:
            return images[0]
        return replace(images[0], pixels=project((m.pixels for m in images), z))
