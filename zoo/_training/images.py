"""The images of a run: checked once, kept in memory as far as that goes."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from threading import Lock

import pandas as pd
import torch
from torch import Tensor

from zoo.registry import DataError, ImageError, Preprocessing

from .._data.dataset import Dataset
from .._embedding.cache import image_hash
from .._encoders.inputs import Pixels
from .._encoders.progress import Progress, silent
from .._images.checks import check_image
from .._images.preprocess import prepare
from .settings import Settings

AHEAD = 16
KEPT_BYTES = 4 * 2**30
"""Prepared images that are kept in memory; the others are read for each epoch."""
Seen = tuple[str, Tensor, tuple[str, ...] | None] | ImageError


@dataclass
class TrainingImages:
    """Images that can be trained on, prepared when they are asked for.

    Parameters
    ----------
    dataset
        Where they come from.
    preprocessing
        Applied before crops are cut.
    places
        Numbers, in the dataset, of the images that can be used.
    counts
        Channels of each of these.
    hashes
        sha256 of the content of each, as the cache of embeddings has it.
    failures
        Name of each image that cannot be used, and why.
    stains
        Names of the channels of each, or None where they are unknown.
    names
        Stains by which channels are told, in the order of their places; a part of the images keeps
        those of the whole.
    shortest
        Shortest side of a prepared image, in pixels.
    """

    dataset: Dataset
    preprocessing: Preprocessing
    places: list[int]
    counts: list[int]
    hashes: list[str]
    failures: list[tuple[str, str]]
    stains: list[tuple[str, ...] | None] = field(default_factory=list)
    names: tuple[str, ...] = ()
    shortest: int = sys.maxsize
    _kept: dict[int, Tensor] = field(default_factory=dict)
    _bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> Tensor:
        """Planes of image i, `(C, H, W)` float32."""
        found = self._kept.get(i)
        if found is not None:
            return found
        planes = prepare(self.dataset[self.places[i]].pixels, self.preprocessing, f"image {i}")
        self._keep(i, planes)
        return planes

    def add(self, place: int, digest: str, planes: Tensor, stains: tuple[str, ...] | None) -> None:
        """Add an image by its number in the dataset, its hash, its planes and their stains."""
        self.stains.append(stains)
        self._keep(len(self), planes)
        self.places.append(place)
        self.counts.append(len(planes))
        self.shortest = min(self.shortest, *planes.shape[1:])
        self.hashes.append(digest)

    def _keep(self, i: int, planes: Tensor) -> None:
        with self._lock:
            if i not in self._kept and self._bytes + planes.nbytes <= KEPT_BYTES:
                self._kept[i] = planes
                self._bytes += planes.nbytes

    def part(self, chosen: Sequence[int]) -> "TrainingImages":
        """Some of the images, by their numbers here."""
        return replace(
            self,
            places=[self.places[i] for i in chosen],
            counts=[self.counts[i] for i in chosen],
            hashes=[self.hashes[i] for i in chosen],
            stains=[self.stains[i] for i in chosen],
            _kept={new: self._kept[i] for new, i in enumerate(chosen) if i in self._kept},
            _lock=Lock(),
        )

    def index(self, i: int) -> Tensor:
        """Place of each channel of image i among the network's channels, `(C,)`."""
        stains = self.stains[i]
        if not self.names or stains is None:
            return torch.arange(self.counts[i])
        return torch.tensor([self.names.index(stain) for stain in stains])

    @property
    def fingerprint(self) -> str:
        """sha256 of the content of all images, in any order."""
        return sha256("".join(sorted(self.hashes)).encode()).hexdigest()


def survey(
    dataset: Dataset,
    settings: Settings,
    progress: Progress = silent,
    *,
    known: tuple[str, ...] = (),
) -> TrainingImages:
    """Read all images once: what can be trained on, and what cannot and why.

    `known` are the stains of the network that training starts from.

    Raises
    ------
    DataError
        If fewer than two images remain.
    """
    preprocessing = replace(settings.preprocessing, resize=settings.resize, crop=None)
    found = TrainingImages(dataset, preprocessing, [], [], [], [])

    def look(i: int) -> Seen:
        try:
            image = dataset[i]
            array = check_image(image.pixels, f"image {i}")
            _check(array, f"image {i}", settings)
            planes = prepare(array, preprocessing, f"image {i}")
            return image_hash(image), planes, image.stains
        except ImageError as error:
            return error

    names = dataset.metadata.get("image", pd.Series(range(len(dataset))))
    with ThreadPoolExecutor(settings.workers) as pool:
        for i, name, seen in _in_order(pool, look, list(names)):
            progress("reading images", i + 1, len(dataset))
            if isinstance(seen, ImageError):
                found.failures.append((str(name), str(seen)))
                continue
            found.add(i, *seen)
    if len(found) < 2:
        why = f": {found.failures[0][0]}: {found.failures[0][1]}" if found.failures else ""
        raise DataError(f"{dataset.name} has {len(found)} usable image(s), but needs 2{why}")
    found.names = common_names(found.stains, known, settings.max_channels)
    return found


def _in_order(
    pool: ThreadPoolExecutor, look: Callable[[int], Seen], names: list[object]
) -> Iterator[tuple[int, object, Seen]]:
    """Call `look` for each number in threads, `AHEAD` before the result is taken."""
    waiting: deque[Future[Seen]] = deque()
    for i, name in enumerate(names):
        while len(waiting) < AHEAD and i + len(waiting) < len(names):
            waiting.append(pool.submit(look, i + len(waiting)))
        yield i, name, waiting.popleft().result()


def _check(array: Pixels, item: str, settings: Settings) -> None:
    """Raise `ImageError` unless an image can be trained on."""
    channels, height, width = array.shape
    short = min(height, width) if settings.resize is None else settings.resize
    if channels > settings.max_channels:
        raise ImageError(
            f"{item} has {channels} channels, but the network has places for "
            f"{settings.max_channels}: set max_channels"
        )
    if short < settings.size:
        raise ImageError(
            f"{item} is {height} × {width} pixels, smaller than the crops of {settings.size}: set "
            "size, small_size and patch_size to less, or resize to more"
        )
    if array.min() == array.max():
        raise ImageError(f"{item} is constant: there is nothing to learn from it")


def common_names(
    stains: Iterable[tuple[str, ...] | None], known: tuple[str, ...], most: int
) -> tuple[str, ...]:
    """Return the stains of all images in order of appearance, after those that are known.

    Empty, so that channels are told by their position, unless each image names its channels, each
    by another name, and there are at most `most`.
    """
    found = dict.fromkeys(known)
    for names in stains:
        if names is None or len({s.lower() for s in names}) < len(names):
            return ()
        found |= dict.fromkeys(names)
    same = len({s.lower() for s in found}) < len(found)
    return () if same or len(found) > most else tuple(found)
