"""Tokens of images, one row for each patch, in a Zarr group that is larger than memory."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.registry import DataError, MissingExtraError, ZooError

from .._data.dataset import Dataset
from .._encoders.contract import Encoder
from .._encoders.features import Features
from .._encoders.progress import Progress, silent
from .._images.image import Image
from .._images.resample import resampled
from .embed import provenance_of
from .read_ahead import item_name, read_ahead

_CHUNK = 4096


def write_tokens(
    dataset: Dataset,
    encoder: Encoder,
    path: Path,
    *,
    said: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[tuple[str, str]]:
    """Write the tokens of all images as a Zarr group, and return what was left out, with reasons.

    The group has the arrays ``tokens`` (T, D), image by image, channel by channel, row by row;
    ``offsets`` (n + 1), the row where each image starts; ``counts`` (n), its channels; and
    ``embedding`` (n, E). Its attributes hold provenance, ``zoo``, and ``metadata``, of which
    ``pd.DataFrame(**group.attrs["metadata"])`` makes the table. It is written aside
    and moved into place when it is complete.

    Parameters
    ----------
    dataset
        The images.
    encoder
        One whose `outputs` have ``"tokens"``.
    path
        The group, which must not be there yet.
    said
        What is added to the provenance.
    progress
        Called with the name of the step, items done, and their total.

    Raises
    ------
    DataError
        If there is something at `path`, the encoder has no tokens, or no image can be used.
    MissingExtraError
        Without zarr.
    """
    check_tokens(encoder, path)
    import zarr

    tell = progress or silent
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    failures: list[tuple[str, str]] = []
    kept: list[int] = []
    done = 0
    try:
        group = zarr.open_group(partial, mode="w")
        for items in read_ahead(dataset, lambda _, image: image):
            for some, found in _encoded(encoder, dataset, items, failures):
                _append(group, found)
                kept += some
            done += len(items)
            tell(f"embedding {dataset.name}", done, len(dataset))
        if not kept:
            raise DataError(f"none of the {len(dataset)} images could be used: {failures[0][1]}")
        table = dataset.metadata.iloc[kept]
        group.attrs["metadata"] = json.loads(table.to_json(orient="split", index=False))
        told = {**provenance_of(dataset, encoder), **(said or {})}
        group.attrs["zoo"] = json.loads(json.dumps(told, default=str))
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return failures


def check_tokens(encoder: Encoder, path: Path) -> None:
    """Raise before the work if tokens cannot be written."""
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f'{path.name} needs zarr: pip install "microscopy-zoo[zarr]"'
        ) from error
    if path.exists():
        raise DataError(f"{path} is there already: delete it, or give another name")
    if "tokens" not in encoder.outputs:
        raise DataError(f"{encoder.name} has no tokens: write a table, .parquet, .csv or .h5ad")


def _encoded(
    encoder: Encoder,
    dataset: Dataset,
    items: list[tuple[int, Image | ZooError]],
    failures: list[tuple[str, str]],
) -> Iterator[tuple[list[int], Features]]:
    """Encode images together, or one by one if one of them cannot be used."""
    sound: dict[int, Image] = {}
    for i, image in items:
        name = item_name(dataset, i)
        try:
            if isinstance(image, ZooError):
                raise image
            sound[i] = resampled(image, encoder.spec.preprocessing.pixel_size, name)
        except ZooError as error:
            failures.append((name, str(error)))
    try:
        if sound:
            yield list(sound), _tokens(encoder, list(sound.values()))
    except ZooError:
        for i, image in sound.items():
            try:
                yield [i], _tokens(encoder, [image])
            except ZooError as error:
                failures.append((item_name(dataset, i), str(error)))


def _tokens(encoder: Encoder, images: list[Image]) -> Features:
    return encoder.encode(
        [image.pixels for image in images], stains=[image.stains for image in images], tokens=True
    )


def _append(group: Any, found: Features) -> None:
    """Add images to the arrays, which are made with the first."""
    assert found.tokens is not None
    assert found.token_offsets is not None  # returned together with tokens
    tokens = found.tokens.float().cpu().numpy()
    new = {"tokens": tokens, "embedding": found.numpy(), "counts": found.counts.cpu().numpy()}
    if "offsets" not in group:
        for name, block in new.items():
            shape = (0, *block.shape[1:])
            group.create_array(
                name, shape=shape, dtype=block.dtype, chunks=(_CHUNK, *block.shape[1:])
            )
        group.create_array("offsets", shape=(1,), dtype=np.int64, chunks=(_CHUNK,))
    ends = found.token_offsets[1:].cpu().numpy() + group["tokens"].shape[0]
    for name, block in {**new, "offsets": ends}.items():
        group[name].append(block)
