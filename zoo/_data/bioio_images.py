"""ND2, LIF and CZI, read by bioio: each scene is an image."""

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.registry import DataError, ImageError, MissingExtraError

from .._images.image import Image
from .._images.pixel_size import in_micrometres, side
from .._images.read import BIOIO
from .._images.stack_axes import to_image
from .choices import Choices
from .dataset import Dataset
from .source import Source


@dataclass(frozen=True)
class SceneReader:
    """Reads one scene of a file: a file and the number of its scene for each image."""

    scenes: list[tuple[Path, int]]
    choices: Choices

    def __call__(self, i: int) -> Image:
        path, scene = self.scenes[i]
        name = f"scene {scene + 1} of {path}"
        try:
            opened = _opened(path)
            opened.set_scene(scene)
            array, axes = opened.data, str(opened.dims.order)
            stains = tuple(str(c) for c in opened.channel_names or ())
            sizes = opened.physical_pixel_sizes
        except Exception as error:  # readers raise any exception on broken files
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            raise ImageError(f"{name} cannot be read ({reason}); is it truncated?") from error
        pixels = to_image(array, axes, name, given=self.choices.axes, z=self.choices.z)
        size = side(in_micrometres(sizes.X, "µm"), in_micrometres(sizes.Y, "µm"))
        # Readers name channels by their numbers where the file has no names.
        named = len(stains) == len(pixels) and not any(s.startswith("Channel:") for s in stains)
        return Image(pixels, stains if named else None, size)

    def files_of(self, i: int) -> list[Path]:
        """Return the file of a scene."""
        return [self.scenes[i][0]]


def open_scenes(name: str, paths: list[Path], names: list[str], choices: Choices) -> Source:
    """Open files of which each scene is an image.

    Raises
    ------
    MissingExtraError
        Without the reader that a file needs.
    DataError
        If a file cannot be opened, or its reader does not see all its scenes.
    """
    scenes: list[tuple[Path, int]] = []
    labels: list[str] = []
    for path, label in zip(paths, names, strict=True):
        try:
            opened = _opened(path)
            found = [str(scene) for scene in opened.scenes]
        except MissingExtraError:
            raise
        except Exception as error:  # readers raise any exception on broken files
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            raise DataError(f"{path} cannot be read ({reason}); is it truncated?") from error
        _check_scenes(path, opened, len(found))
        scenes += [(path, k) for k in range(len(found))]
        labels += [label] if len(found) == 1 else [f"{label} {scene}" for scene in found]
    table = pd.DataFrame({"image": labels})
    kind = f"scenes of {len(paths)} file(s), read by bioio"
    return Source(kind, Dataset(name, table, SceneReader(scenes, choices)))


def _check_scenes(path: Path, opened: Any, found: int) -> None:
    """Refuse a CZI file whose metadata count more scenes than its reader gives."""
    if path.suffix.lower() != ".czi":
        return
    said = opened.metadata.find(".//SizeS")
    count = int(said.text) if said is not None and said.text else 1
    if count > found:
        raise DataError(
            f"{path} has {count} scenes, of which bioio-czi sees {found}: save each as OME-TIFF"
        )


@lru_cache(maxsize=4)
def _opened(path: Path) -> Any:
    """Open a file, which stays open for its next scene."""
    packages = BIOIO[path.suffix.lower()]
    try:
        from bioio import BioImage

        reader = import_module(packages.split()[-1].replace("-", "_")).Reader
    except ImportError as error:
        raise MissingExtraError(f"{path} needs bioio: pip install {packages}") from error
    return BioImage(path, reader=reader)
