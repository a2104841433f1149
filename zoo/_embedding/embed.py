"""Embed datasets; each image is read once for all encoders, and cached by content."""

from collections.abc import Callable, Iterator, Sequence
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
from .._data.sources import open_images
from .._encoders.contract import Encoder
from .._encoders.inputs import Images, Inputs
from .._encoders.loading import load
from .._encoders.preparing import prepare_each
from .._encoders.progress import Progress
from .._images.checks import Objects, as_array, check_image, check_objects, check_stains
from .._images.image import Image
from .._images.resample import resampled
from .cache import EmbeddingCache, image_hash
from .embeddings import Embeddings
from .read_ahead import item_name, read_ahead

Row = NDArray[np.float32]
OnError = Literal["raise", "skip"]
_AT_ONCE = 2**25


class UnequalChannelsError(DataError):
    """Images differ in their number of channels, but an encoder concatenates channels."""


class NothingUsableError(DataError):
    """No image of a dataset could be used; `failures` are its items with the reasons."""

    def __init__(self, message: str, failures: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message)
        self.failures = failures


def embed(
    source: str | Path | Dataset | Images | Sequence[str | Path],
    encoder: str | Encoder,
    *,
    on_error: OnError = "raise",
    cache: bool = True,
    progress: Progress | None = None,
) -> Embeddings:
    """Embed a table, a folder, files, images in memory, or a `Dataset`.

    Parameters
    ----------
    source
        As for `open_images`: a table of files, a folder, one or several image files; or an array
        `(C, H, W)` or `(B, C, H, W)`, an `Image`, or a sequence of these.
    encoder
        A name or a loaded encoder.
    on_error
        ``"skip"`` leaves out items that cannot be read or embedded and lists them in
        `Embeddings.failures`.
    cache
        Whether to cache embeddings on disk, by content, for encoders from `zoo.load`.
    progress
        Called with the name of the step, items done, and their total.

    Raises
    ------
    ZooError
        For the first bad item, or if all items fail.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 255, (4, 2, 64, 64), dtype=np.uint8)
    >>> zoo.embed(images, "pixel-statistics").matrix.shape[0]
    4
    """
    dataset = source if isinstance(source, Dataset) else open_images(source)
    loaded = load(encoder) if isinstance(encoder, str) else encoder
    kept = EmbeddingCache() if cache else None
    return embed_many(dataset, [loaded], cache=kept, on_error=on_error, progress=progress)[0]


def embed_many(
    dataset: Dataset,
    encoders: Sequence[Encoder],
    *,
    cache: EmbeddingCache | None = None,
    on_error: OnError = "raise",
    progress: Progress | None = None,
) -> list[Embeddings]:
    """Embed a dataset with several encoders; each image is read, checked and prepared once.

    `cache` keeps rows by image content and encoder. Items fail for all encoders or for none, so
    that the results stay paired.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error is {on_error!r}, but must be 'raise' or 'skip'")
    kept: list[int] = []
    failures: list[tuple[str, str]] = []
    rows: list[list[Row]] = [[] for _ in encoders]
    seen: dict[int, tuple[int, tuple[str, ...] | None]] = {}
    done = 0

    def tell(encoder: Encoder) -> None:
        if progress is not None and len(encoders) > 1:
            progress(f"embedding {dataset.name} with {encoder.name}", done, len(dataset))

    def look(i: int, image: Image) -> tuple[Image, str]:
        checked = _checked(image, item_name(dataset, i))
        return checked, "" if cache is None else image_hash(checked)

    with cache if cache is not None else nullcontext():  # writes finished rows even after an error
        for items in read_ahead(dataset, look):
            sound: dict[int, tuple[Image, str]] = {}
            bad: dict[int, ZooError] = {}
            for i, found in items:
                try:
                    if isinstance(found, ZooError):
                        raise found
                    _check_fits(found[0], item_name(dataset, i), encoders)
                    sound[i] = found
                except ZooError as error:
                    if on_error == "raise":
                        raise
                    bad[i] = error
            places, images = list(sound), [image for image, _ in sound.values()]
            hashes = [digest for _, digest in sound.values()]
            seen |= {i: (len(image.pixels), image.stains) for i, (image, _) in sound.items()}
            _check_equal(dataset, encoders, {count for count, _ in seen.values()})
            names = [item_name(dataset, i) for i in places]
            embedded, refused = _encode_chunk(images, names, hashes, encoders, cache, tell)
            bad |= {places[k]: error for k, error in refused.items()}
            if bad and on_error == "raise":
                raise bad[min(bad)]
            for parts, block in zip(rows, embedded, strict=True):
                parts += [
                    row for k, row in enumerate(block) if k not in refused and row is not None
                ]
            kept += [i for k, i in enumerate(places) if k not in refused]
            failures += [(item_name(dataset, i), str(bad[i])) for i in sorted(bad)]
            done += len(items)
            if progress is not None:
                progress(f"embedding {dataset.name}", done, len(dataset))
    if not kept:
        first = f": {failures[0][1]}" if failures else ""
        raise NothingUsableError(
            f"none of the {len(dataset)} images of {dataset.name} could be used{first}",
            tuple(failures),
        )
    metadata = dataset.metadata.iloc[kept].reset_index(drop=True)
    metadata = _with_channels(metadata, [seen[i] for i in kept])
    return [
        Embeddings(
            np.stack(parts),
            metadata,
            provenance_of(dataset, e) | _placed(e, [seen[i][1] for i in kept]),
            tuple(failures),
        )
        for e, parts in zip(encoders, rows, strict=True)
    ]


def _checked(image: Image, name: str) -> Image:
    """Check an image once for all encoders."""
    pixels = check_image(image.pixels, name)
    stains = check_stains(image.stains, len(pixels), name)
    objects = check_objects(image.mask, image.types, (pixels.shape[1], pixels.shape[2]), name)
    return Image(as_array(pixels), stains, image.pixel_size, *objects)


def _check_fits(image: Image, name: str, encoders: Sequence[Encoder]) -> None:
    """Check a sound image against the limits of every encoder."""
    for encoder in encoders:
        encoder.check_fits(image.pixels, (image.mask, image.types), name)
        encoder.places_of(image.stains, name)


def _check_equal(dataset: Dataset, encoders: Sequence[Encoder], counts: set[int]) -> None:
    joining = [encoder for encoder in encoders if encoder.requires_equal_channels]
    if joining and len(counts) > 1:
        raise UnequalChannelsError(
            f"{dataset.name} has images of {min(counts)} to {max(counts)} channels, but "
            f"{joining[0].name} concatenates channels and needs the same number in each image; use "
            "an encoder that averages them"
        )


def _encode_chunk(
    images: list[Image],
    names: list[str],
    hashes: list[str],
    encoders: Sequence[Encoder],
    cache: EmbeddingCache | None,
    tell: Callable[[Encoder], None],
) -> tuple[list[list[Row | None]], dict[int, ZooError]]:
    """Return the rows by encoder and, by position, why an image could not be embedded.

    `hashes` are read with a cache only; `tell` is called before an encoder starts.
    """
    keys: list[str] = []
    prepared: dict[tuple[Preprocessing, str], dict[int, tuple[Tensor, Objects]]] = {}
    refused: dict[int, ZooError] = {}
    rows: list[list[Row | None]] = []
    for encoder in encoders:
        found: list[Row | None] = [None] * len(images)
        if cache is not None:
            keys = [
                _sized(h, m, encoder.spec.preprocessing)
                for h, m in zip(hashes, images, strict=True)
            ]
            found = [
                cache.get(encoder, k, len(m.pixels)) for k, m in zip(keys, images, strict=True)
            ]
        missing = [i for i, row in enumerate(found) if row is None and i not in refused]
        here = prepared.setdefault((encoder.spec.preprocessing, _own_preparing(encoder)), {})
        refused |= _prepare(encoder, images, names, [i for i in missing if i not in here], here)
        missing = [i for i in missing if i not in refused]
        if missing:
            tell(encoder)
            ready = [here[i] for i in missing]
            inputs = Inputs(
                planes=[planes for planes, _ in ready],
                stains=[images[i].stains for i in missing],
                places=[encoder.places_of(images[i].stains, names[i]) for i in missing],
                objects=[objects for _, objects in ready],
            )
            embedded = encoder.encode_prepared(inputs).numpy()
            for i, row in zip(missing, embedded, strict=True):
                if np.isfinite(row).all():
                    found[i] = row
                    if cache is not None:
                        cache.put(encoder, keys[i], len(images[i].pixels), row)
                else:
                    refused[i] = DataError(
                        f"{encoder.name} returned NaN or infinite numbers for {names[i]}"
                    )
        rows.append(found)
    return rows, refused


def _sized(digest: str, image: Image, preprocessing: Preprocessing) -> str:
    """Return the key of an image, with its pixel size where that decides the embedding."""
    return digest if preprocessing.pixel_size is None else f"{digest} {image.pixel_size!r}"


def _own_preparing(encoder: Encoder) -> str:
    """Name all that may decide what an overridden `prepare` gives; empty for the record's."""
    if encoder.own_prepare is None:
        return ""
    provenance = encoder.provenance()
    names = ("prepare", "builder", "options", "seed", "weights_sha256", "files_sha256")
    return repr([provenance.get(name) for name in names])


def _prepare(
    encoder: Encoder,
    images: Sequence[Image],
    names: Sequence[str],
    members: Sequence[int],
    prepared: dict[int, tuple[Tensor, Objects]],
) -> dict[int, ZooError]:
    """Prepare some of the images, and return why others cannot be."""
    refused: dict[int, ZooError] = {}
    for part in _resampled(encoder, images, names, members, refused):
        pixels = [image.pixels for image in part.values()]
        planes = prepare_each(encoder, pixels, [names[i] for i in part])
        for (i, image), found in zip(part.items(), planes, strict=True):
            try:
                if isinstance(found, ZooError):
                    raise found
                mask = image.mask
                if mask is not None:
                    mask = encoder.prepare_mask(mask, names[i]).numpy()
                prepared[i] = (found, (mask, image.types))
            except ZooError as error:
                refused[i] = error
    return refused


def _resampled(
    encoder: Encoder,
    images: Sequence[Image],
    names: Sequence[str],
    members: Sequence[int],
    refused: dict[int, ZooError],
) -> Iterator[dict[int, Image]]:
    """Give images the pixel size of the encoder, no more at a time than take `_AT_ONCE` bytes."""
    part: dict[int, Image] = {}
    held = 0
    for i in members:
        try:
            size = encoder.spec.preprocessing.pixel_size
            part[i] = resampled(images[i], size, f"{encoder.name}: {names[i]}")
        except ZooError as error:
            refused[i] = error
            continue
        held += part[i].pixels.nbytes
        if held >= _AT_ONCE:
            yield part
            part, held = {}, 0
    if part:
        yield part


def _with_channels(
    metadata: pd.DataFrame, seen: list[tuple[int, tuple[str, ...] | None]]
) -> pd.DataFrame:
    """Add columns with the number of channels and the stains, unless they exist."""
    added: dict[str, Any] = {}
    if not {"n_channels", "channel_count"} & set(metadata.columns):
        added["channel_count"] = [count for count, _ in seen]
    known = any(stains for _, stains in seen)
    if known and not {"stains", "channels"} & set(metadata.columns):
        added["stains"] = ["|".join(stains) if stains else None for _, stains in seen]
    return metadata.assign(**added)


def _placed(encoder: Encoder, seen: list[tuple[str, ...] | None]) -> dict[str, Any]:
    """Say which stain went to which named channel of the encoder."""
    if not encoder.spec.slots:
        return {}
    found: dict[str, str] = {}
    for stains in dict.fromkeys(s for s in seen if s is not None):
        places = encoder.places_of(stains, "image")
        assert places is not None
        found |= {s: encoder.spec.slots[k] for s, k in zip(stains, places.tolist(), strict=True)}
    return {"channels_by_stain": found or "by their order: the images name no stains"}


def provenance_of(dataset: Dataset, encoder: Encoder) -> dict[str, Any]:
    """Return everything that determines the embeddings of a dataset, as plain values."""
    return {
        "zoo": version("microscopy-zoo"),
        "dataset": dataset.name,
        **({} if dataset.crops is None else {"crops": dict(dataset.crops)}),
        **encoder.provenance(),
        # Another release draws other parameters from the same seed.
        "torch": version("torch"),
        "timm": version("timm"),
    }
