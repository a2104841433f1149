"""What the user named as the place of objects."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zoo.registry import DataError, MissingExtraError, resolve_target, suggest

from ..._images.read import SUFFIXES
from ..choices import Choices
from ..dataset import Dataset
from ..source import Source
from ..tables import TABLE_SUFFIXES
from .centroids import DATABASES, find_in_locations, find_in_table, location_files
from .choice import NUCLEI, OBJECTS, TILES, Crops
from .masks import (
    Find,
    check_labels,
    find_in_masks,
    image_names,
    masks_by_pattern,
    masks_in_folder,
    masks_of_column,
)
from .objects import NUMBER, Objects, objects_of_mask

CELLPOSE = "cellpose"
_WORDS = (TILES, OBJECTS, NUCLEI, CELLPOSE)
# By its name, for encoders and controls are plugins; it is the one of the structural controls.
_SEGMENT = "zoo.plugins.controls.segmentation:segment"


def find_objects(
    source: Source, crops: Crops, choices: Choices, folder: Path | str
) -> tuple[Find, str]:
    """Return how objects of an image are found, and what they are called.

    Raises
    ------
    DataError
        If what was named is no word, no file or folder, and no column.
    """
    dataset, text = source.dataset, crops.source
    names = _names(dataset)
    if text == OBJECTS or (text == source.objects and text not in dataset.metadata.columns):
        return partial(_given, dataset), f"{source.objects or 'objects'} of the given masks"
    if text == NUCLEI:
        return partial(_segmented, dataset, resolve_target(_SEGMENT)), "nuclei found by a threshold"
    if text == CELLPOSE:
        return partial(_segmented, dataset, _cellpose()), "cells found by Cellpose"
    if "{" in text:
        masks = masks_by_pattern(text, dataset.metadata)
        return find_in_masks(masks, names), "objects of masks"
    if text in dataset.metadata.columns:
        values = dataset.metadata[text].tolist()
        return find_in_masks(masks_of_column(values, folder, choices.moved), names), (
            f"objects of the masks in column {text}"
        )
    path = Path(text).expanduser()
    if path.is_dir():
        if location_files(path):
            return find_in_locations(path, dataset), "locations"
        return find_in_masks(masks_in_folder(path, image_names(dataset.metadata)), names), (
            "objects of masks"
        )
    if path.is_file():
        if path.suffix.lower() in (*TABLE_SUFFIXES, *DATABASES):
            return find_in_table(path, dataset), "centroids"
        if path.suffix.lower() in SUFFIXES and len(dataset) == 1:
            return find_in_masks([path.absolute()], names), "objects of a mask"
        if path.suffix.lower() in SUFFIXES:
            raise DataError(
                f"{path} is one mask, but {dataset.name} has {len(dataset)} images: give the "
                "folder of masks, or a pattern such as 'masks/{image}.tif'"
            )
    named = [source.objects] if source.objects else []
    known = [*_WORDS, *named, *map(str, dataset.metadata.columns)]
    raise DataError(
        f"crops is {text!r}, which is no file or folder, no column of the table, and none of the "
        f"words {', '.join(_WORDS)}.{suggest(text, known)}"
    )


def _names(dataset: Dataset) -> list[str]:
    if "image" in dataset.metadata.columns:
        return [str(name) for name in dataset.metadata["image"]]
    return [f"image {i + 1}" for i in range(len(dataset))]


def _given(dataset: Dataset, i: int) -> Objects:
    """Find objects in the mask that an image comes with."""
    image = dataset[i]
    if image.mask is None:
        raise DataError(
            f"{_names(dataset)[i]} comes with no mask: crops can be of {OBJECTS} where a LoadData "
            "table names ObjectsFileName; else give a folder of masks, or a table of centroids"
        )
    labels = check_labels(np.asarray(image.mask)[None], "that is given", _names(dataset)[i])
    return Objects(objects_of_mask(labels), (labels.shape[0], labels.shape[1]))


def _segmented(dataset: Dataset, segment: Any, i: int) -> Objects:
    image = dataset[i]
    labels = segment(np.asarray(image.pixels), image.stains)
    table = objects_of_mask(labels)
    table[NUMBER] = range(1, len(table) + 1)  # a segmentation may leave out numbers
    return Objects(table, (labels.shape[0], labels.shape[1]))


def _cellpose() -> Any:
    """Return a segmentation by Cellpose's own network, which is loaded once."""
    try:
        from cellpose.models import CellposeModel
    except ImportError as error:
        raise MissingExtraError(
            'crops of Cellpose need cellpose: pip install "microscopy-zoo[cellpose]"'
        ) from error
    model = CellposeModel()

    def segment(pixels: Any, _stains: tuple[str, ...] | None) -> Any:
        return model.eval(pixels, channel_axis=0)[0]

    return segment
