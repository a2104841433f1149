"""Embed datasets, each image read once whatever the number of encoders, and cached by content."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import DataError, Preprocessing, ZooError

from .._data.dataset import Dataset
from .._data.sources import open_source
from .._encoders.contract import Encoder
from .._encoders.loading import load
from .._images.image import Image
from .cache import EmbeddingCache, image_hash
from .embeddings import Embeddings

Row = NDArray[np.float32]
_CHUNK = 64


def embed(
    source: str | Path | Dataset,
    encoder: str | Encoder,
    *,
    on_error: Literal["raise", "skip"] = "raise",
    cache: bool = True,
    progress: Callable[[int], object] | None = None,
) -> Embeddings:
    """Embed a table, a folder, an image or a `Dataset`.

    Parameters
    ----------
    source
        What `zoo embed` takes: CSV, TSV or Parquet table of files, folder, or image file.
    encoder
        A name or a loaded encoder.
    on_error
        ``"skip"`` leaves out items that cannot be read or embedded and lists them in
        `Embeddings.failures`.
    cache
        Whether embeddings of encoders from `zoo.load` are kept on disk, by content.
    progress
        Called with the number of items done.

    Raises
    ------
    ZooError
        For the first bad item, or when none is left.
    """
    dataset = source if isinstance(source, Dataset) else open_source(source)
    loaded = load(encoder) if isinstance(encoder, str) else encoder
    kept = EmbeddingCache() if cache else None
    return embed_many(dataset, [loaded], cache=kept, on_error=on_error, progress=progress)[0]


def embed_many(
    dataset: Dataset,
    encoders: Sequence[Encoder],
    *,
    cache: EmbeddingCache | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    progress: Callable[[int], object] | None = None,
) -> list[Embeddings]:
    """Embed a dataset with several encoders; each image is read once and prepared once.

    `cache` keeps rows by image content and encoder. Items fail for all encoders or for none, so
    that the results stay paired.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error is {on_error!r}, but must be 'raise' or 'skip'")
    kept: list[int] = []
    failures: list[tuple[str, str]] = []
    rows: list[list[Row]] = [[] for _ in encoders]
    seen: dict[int, tuple[int, tuple[str, ...] | None]] = {}
    with cache if cache is not None else nullcontext():  # keeps what is done, whatever happens
        for items in _chunks(dataset):
            sound: list[tuple[int, Image]] = []
            bad: dict[int, ZooError] = {}
            for i, image in items:
                try:
                    if isinstance(image, Exception):
                        raise image
                    for encoder in encoders:
                        encoder.check(
                            image.pixels,
                            _item_name(dataset, i),
                            image.stains,
                            mask=image.mask,
                            types=image.types,
                        )
                    sound.append((i, image))
                except ZooError as error:
                    if on_error == "raise":
                        raise
                    bad[i] = error
            seen |= {i: (len(image.pixels), image.stains) for i, image in sound}
            counts = [count for count, _ in seen.values()]
            for encoder in encoders:
                if encoder.equal_channels and len(set(counts)) > 1:
                    raise DataError(
                        f"{dataset.name} has images of {min(counts)} to {max(counts)} channels, "
                        f"but {encoder.name} joins channels and needs as many in each image; take "
                        "an encoder that averages them"
                    )
            if sound:
                images = [image for _, image in sound]
                names = [_item_name(dataset, i) for i, _ in sound]
                found, refused = _encode_chunk(images, names, encoders, cache)
                bad |= {sound[k][0]: error for k, error in refused.items()}
                if bad and on_error == "raise":
                    raise bad[min(bad)]
                for parts, block in zip(rows, found, strict=True):
                    parts += [
                        row for k, row in enumerate(block) if k not in refused and row is not None
                    ]
                kept += [i for k, (i, _) in enumerate(sound) if k not in refused]
            failures += [(_item_name(dataset, i), str(bad[i])) for i in sorted(bad)]
            if progress is not None:
                progress(len(items))
    if not kept:
        first = f": {failures[0][1]}" if failures else ""
        raise DataError(f"none of the {len(dataset)} images of {dataset.name} could be used{first}")
    metadata = dataset.metadata.iloc[kept].reset_index(drop=True)
    metadata = _with_channels(metadata, [seen[i] for i in kept])
    return [
        Embeddings(np.stack(parts), metadata, _provenance(dataset, e), tuple(failures))
        for e, parts in zip(encoders, rows, strict=True)
    ]


def _encode_chunk(
    images: list[Image],
    names: list[str],
    encoders: Sequence[Encoder],
    cache: EmbeddingCache | None,
) -> tuple[list[list[Row | None]], dict[int, ZooError]]:
    """Return the rows by encoder and, by position, why an image has none from one of them."""
    hashes = [image_hash(image) for image in images] if cache is not None else []
    prepared: dict[tuple[Preprocessing, int], tuple[Tensor, Tensor | None]] = {}
    refused: dict[int, ZooError] = {}
    rows: list[list[Row | None]] = []
    for encoder in encoders:
        found: list[Row | None] = [None] * len(images)
        if cache is not None:
            found = [
                cache.get(encoder, h, len(m.pixels)) for h, m in zip(hashes, images, strict=True)
            ]
        missing = []
        for i in [i for i, row in enumerate(found) if row is None and i not in refused]:
            key = (encoder.spec.preprocessing, i)
            try:
                if key not in prepared:
                    mask = images[i].mask
                    prepared[key] = (
                        encoder.prepare(images[i].pixels, names[i]),
                        None if mask is None else encoder.prepare_mask(mask, names[i]),
                    )
                missing.append(i)
            except ZooError as error:
                refused[i] = error
        if missing:
            ready = [prepared[encoder.spec.preprocessing, i] for i in missing]
            features = encoder.encode(
                [planes for planes, _ in ready],
                stains=[images[i].stains for i in missing],
                masks=[mask for _, mask in ready],
                types=[images[i].types for i in missing],
                preprocess=False,
            )
            for i, row in zip(missing, features.embedding.cpu().numpy(), strict=True):
                if np.isfinite(row).all():
                    found[i] = row
                    if cache is not None:
                        cache.put(encoder, hashes[i], len(images[i].pixels), row)
                else:
                    refused[i] = DataError(
                        f"{encoder.name} gave NaN or infinite numbers for {names[i]}"
                    )
        rows.append(found)
    return rows, refused


def _with_channels(
    metadata: pd.DataFrame, seen: list[tuple[int, tuple[str, ...] | None]]
) -> pd.DataFrame:
    """Add the number of channels and the stains of each image, where no column says so already."""
    added: dict[str, Any] = {}
    if not {"n_channels", "channel_count"} & set(metadata.columns):
        added["channel_count"] = [count for count, _ in seen]
    known = any(stains for _, stains in seen)
    if known and not {"stains", "channels"} & set(metadata.columns):
        added["stains"] = ["|".join(stains) if stains else None for _, stains in seen]
    return metadata.assign(**added)


def _chunks(dataset: Dataset) -> Iterable[list[tuple[int, Image | Exception]]]:
    """Read ahead by one chunk while the last one is encoded."""

    def read(start: int) -> list[tuple[int, Image | Exception]]:
        items: list[tuple[int, Image | Exception]] = []
        for i in range(start, min(start + _CHUNK, len(dataset))):
            try:
                items.append((i, dataset[i]))
            except ZooError as error:
                items.append((i, error))
        return items

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(read, 0)
        for start in range(_CHUNK, len(dataset) + _CHUNK, _CHUNK):
            items = ahead.result()
            if start < len(dataset):
                ahead = pool.submit(read, start)
            yield items


def _item_name(dataset: Dataset, i: int) -> str:
    for column in ("image", "image_path", "well"):
        if column in dataset.metadata.columns:
            return str(dataset.metadata[column].iloc[i])
    return f"item {i}"


def _provenance(dataset: Dataset, encoder: Encoder) -> dict[str, Any]:
    return {"zoo": version("microscopy-zoo"), "dataset": dataset.name, **encoder.provenance()}
