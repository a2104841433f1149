"""What every encoder is: a record, one method to write, and one to call."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import EncoderSpec, ImageError, Preprocessing

from .._images.batch import ImageBatch
from .._images.checks import (
    Objects,
    Stains,
    check_image,
    check_objects,
    check_stains,
    finite_planes,
)
from .._images.preprocess import check_size, prepare, prepare_mask
from .batching import (
    NOMINAL,
    ImageTooLargeError,
    PlaneBudget,
    Result,
    is_out_of_memory,
    run_in_batches,
)

PLANES_ON_CPU, PLANES_ON_GPU = 32, 512
Images = Sequence[Any] | NDArray[Any] | Tensor | ImageBatch


@dataclass(frozen=True)
class Features:
    """What an encoder returns for B images.

    Parameters
    ----------
    embedding
        `(B, D)` float32.
    counts
        Channels of each image, `(B,)` int64.
    channels
        On request, one embedding for each channel, `(sum of C_i, D)`, in the order of the planes.
    tokens
        On request, one row for each patch of each channel, `(T, D)`: image by image, channel by
        channel, row by row.
    token_offsets
        Row of `tokens` where each image starts, and T: `(B + 1,)` int64.
    """

    embedding: Tensor
    counts: Tensor
    channels: Tensor | None = None
    tokens: Tensor | None = None
    token_offsets: Tensor | None = None

    def __len__(self) -> int:
        return self.embedding.shape[0]


@dataclass(frozen=True)
class Attention:
    """How attention flows between the channels of one image, in L layers of H heads.

    Parameters
    ----------
    channels
        Attention that the tokens of one channel pay to all tokens of another, averaged over those
        that pay it: `(L, H, C + 1, C + 1)` float32. Row and column 0 are the CLS token; each row
        sums to 1.
    cls
        Attention that the CLS token pays to each patch of each channel: `(L, H, C, rows, columns)`
        float32. With what it pays to itself, ``channels[:, :, 0, 0]``, it sums to 1.
    """

    channels: Tensor
    cls: Tensor


class Encoder(ABC):
    """An encoder of images with any number of channels.

    Authors write `forward`; users call `encode`. Networks go to ``self.model`` (a
    `torch.nn.Module`), so that `to` finds them.
    """

    can_give: frozenset[str] = frozenset()
    """Which of ``"attention"``, ``"channels"``, ``"layer"`` and ``"tokens"`` can be asked for."""
    equal_channels: bool = False
    """Whether all images must have the same number of channels, as when channels are joined."""
    needs_types: bool = False
    """Whether images without types of their objects are refused."""
    uses_channel_index: ClassVar[bool] = False
    """Whether a channel's place in an embedding matters, so that it may be given explicitly."""

    def __init__(self, spec: EncoderSpec, *, model: torch.nn.Module | None = None) -> None:
        self.spec = spec
        self.model = model
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self._budget = PlaneBudget(PLANES_ON_CPU)
        self.from_registry = False
        self.seed: int | None = None
        self.weights_source: str | None = None
        self.weights_sha256: str | None = None

    @abstractmethod
    def forward(
        self,
        batch: ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> Features:
        """Embed prepared images of one size; called under `torch.inference_mode`.

        The requests are made only as far as `can_give` allows.
        """

    def forward_attention(self, batch: ImageBatch) -> list[Attention]:
        """Read out attention for each image of a batch; called if `can_give` says so."""
        raise NotImplementedError

    def count_tokens(self, channels: int, size: tuple[int, int]) -> int | None:
        """Return the tokens of an image of `channels` planes of a size, None without tokens."""
        return None

    @property
    def name(self) -> str:
        """Name in the registry."""
        return self.spec.name

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> "Encoder":
        """Move to a device and a floating dtype; returns itself."""
        self.device, self.dtype = torch.device(device), dtype
        self._budget = PlaneBudget(PLANES_ON_CPU if self.device.type == "cpu" else PLANES_ON_GPU)
        if self.model is not None:
            self.model.to(self.device, dtype).eval()
        return self

    def encode(
        self,
        images: Images,
        *,
        stains: Sequence[Sequence[str] | None] | None = None,
        channel_index: Sequence[Sequence[int] | None] | None = None,
        masks: Sequence[Any] | None = None,
        types: Sequence[Any] | None = None,
        preprocess: bool = True,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
        batch_planes: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Features:
        """Embed images of any channel counts, side by side.

        Parameters
        ----------
        images
            A sequence of `(C, H, W)` arrays or tensors, C and size differing as they like; one
            such array; a `(B, C, H, W)` array; or an `ImageBatch`, which without preprocessing is
            encoded where it lies, nothing copied.
        stains
            Names of each image's channels, where known.
        channel_index
            Place of each image's channels in the encoder's channel embedding; needed beyond as
            many channels as the encoder has places for. By default 0, 1, 2, …
        masks, types
            `zoo.Image.mask` and `zoo.Image.types` of each image, or None. Masks are resized and
            cropped as their images are. Networks take no notice of them.
        preprocess
            Whether images are prepared as ``spec.preprocessing`` says. If not, they must be
            floating already and are taken as they are, at any size that the encoder accepts.
        channels, tokens
            Ask for `Features.channels` and `Features.tokens`.
        layer
            Read everything after this layer, 1 … depth or counted from the end; by default the
            last.
        batch_planes
            Planes that go through the encoder at once; changes memory and speed only. By default
            as many as hold the pixels of 32 planes of 224 × 224 on a CPU, of 512 on a GPU. Where
            memory runs out, fewer go at once, which is said once.
        progress
            Called with the number of images done, after each batch.

        Returns
        -------
        Features
            In the order of `images`, float32, on the encoder's device.

        Raises
        ------
        ImageError
            Naming the item: NaN, wrong shape or dtype, too small, too many channels, a mask or
            types that do not fit. For an image that is too large for the memory, its tokens.
        ValueError
            When something is asked for that this encoder cannot give.
        """
        asked = {"channels": channels, "tokens": tokens, "layer": layer is not None}
        for what in sorted(k for k, wanted in asked.items() if wanted):
            self._check_gives(what)
        beside = (stains, channel_index, masks, types, batch_planes)
        if isinstance(images, ImageBatch) and not preprocess and all(b is None for b in beside):
            found = self._encode_packed(images, channels=channels, tokens=tokens, layer=layer)
            if found is not None:
                if progress is not None:
                    progress(len(images))
                return found
        prepared, names, places, objects = self._prepare_all(
            images, stains, channel_index, preprocess, masks, types
        )

        def run(members: list[int]) -> Features:
            batch = self._batch(members, prepared, names, places, objects)
            with torch.inference_mode():
                return self.forward(batch, channels=channels, tokens=tokens, layer=layer)

        pieces: list[tuple[list[int], Features]] = []
        for members, features in self._in_batches(prepared, batch_planes, run):
            pieces.append((members, features))
            if progress is not None:
                progress(len(members))
        return _join(pieces, [len(p) for p in prepared])

    def attention(
        self,
        images: Images,
        *,
        stains: Sequence[Sequence[str] | None] | None = None,
        channel_index: Sequence[Sequence[int] | None] | None = None,
        preprocess: bool = True,
        batch_planes: int | None = None,
    ) -> list[Attention]:
        """Read out how attention flows between the channels of each image.

        Parameters and errors are those of `encode`; encoders without attention between channels
        raise `ValueError`. The matrix over all patches is never formed.

        Returns
        -------
        list of Attention
            In the order of `images`, on the encoder's device.
        """
        self._check_gives("attention")
        prepared, names, places, objects = self._prepare_all(
            images, stains, channel_index, preprocess
        )

        def run(members: list[int]) -> list[Attention]:
            with torch.inference_mode():
                return self.forward_attention(
                    self._batch(members, prepared, names, places, objects)
                )

        found: dict[int, Attention] = {}
        for members, attention in self._in_batches(prepared, batch_planes, run):
            found.update(zip(members, attention, strict=True))
        return [found[i] for i in range(len(prepared))]

    def check(
        self,
        image: Any,
        item: str,
        stains: Sequence[str] | None = None,
        *,
        mask: Any = None,
        types: Any = None,
    ) -> None:
        """Raise `ImageError`, naming `item`, unless this encoder can take the image."""
        array = check_image(image, item)
        check_stains(stains, len(array), item)
        self._check_count(len(array), item, given=False)
        check_size(array, self.spec.preprocessing, item)
        found = check_objects(mask, types, (array.shape[1], array.shape[2]), item)
        self.check_objects(*found, item)

    def check_objects(
        self, mask: NDArray[Any] | None, types: NDArray[np.int64] | None, item: str
    ) -> None:
        """Raise `ImageError`, naming `item`, where this encoder needs other objects than these.

        Called for each image, once its mask and types are known to be sound or absent.
        """
        if self.needs_types and types is None:
            raise ImageError(
                f"{item} has no types of objects, which {self.name} describes: give images with "
                "mask and types, or take an encoder that needs none"
            )

    def prepare(self, image: NDArray[Any] | Tensor, item: str) -> Tensor:
        """Apply the record's preprocessing to one checked image; `item` names it in messages."""
        return prepare(image, self.spec.preprocessing, item)

    def prepare_mask(self, mask: NDArray[Any] | Tensor, item: str) -> Tensor:
        """Do to a checked mask what `prepare` does to where pixels lie; `(h, w)` int64."""
        return prepare_mask(mask, self.spec.preprocessing, item)

    def provenance(self) -> dict[str, Any]:
        """Everything that decides the embedding, as plain values."""
        return {
            "encoder": self.name,
            "builder": self.spec.builder,
            "options": dict(self.spec.options),
            "preprocessing": str(self.spec.preprocessing),
            "weights": self.weights_source,
            "weights_sha256": self.weights_sha256,
            "seed": self.seed,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
        }

    def _check_gives(self, what: str) -> None:
        if what not in self.can_give:
            raise ValueError(f"{self.name} cannot give {what}: it has none")

    def _prepare_all(
        self,
        images: Images,
        stains: Sequence[Sequence[str] | None] | None,
        channel_index: Sequence[Sequence[int] | None] | None,
        preprocess: bool,
        masks: Sequence[Any] | None = None,
        types: Sequence[Any] | None = None,
    ) -> tuple[list[Tensor], list[Stains | None], list[Tensor | None], list[Objects]]:
        """Return planes as prepared, stain names, places of channels, and objects, checked."""
        if channel_index is not None and not self.uses_channel_index:
            raise ValueError(f"{self.name} has no channel embedding, so channel_index says nothing")
        arrays, names, places = _take_apart(images, stains, channel_index)
        marks = _marks(images, masks, types, len(arrays))
        prepared = []
        objects: list[Objects] = []
        for i, array in enumerate(arrays):
            item = f"image {i}"
            mask, kinds = check_objects(*marks[i], (array.shape[1], array.shape[2]), item)
            self.check_objects(mask, kinds, item)
            self._check_count(len(array), item, given=places[i] is not None)
            prepared.append(self.prepare(array, item) if preprocess else _as_prepared(array, item))
            if mask is not None and preprocess:
                mask = self.prepare_mask(mask, item).numpy()
            objects.append((mask, kinds))
        self._check_equal([len(p) for p in prepared])
        return prepared, names, places, objects

    def _check_count(self, count: int, item: str, *, given: bool) -> None:
        low, high = self.spec.channels
        if count < low or (high is not None and count > high and not given):
            accepted = f"{low} to {high}" if high is not None else f"{low} or more"
            mend = "choose channels, image[[0, 1, …]]"
            if self.uses_channel_index:
                mend += f", or give each a place from 0 to {(high or 0) - 1} with channel_index="
            raise ImageError(
                f"{item} has {count} channels, but {self.name} takes {accepted}: {mend}"
            )

    def _check_equal(self, counts: list[int]) -> None:
        if self.equal_channels:
            for i, count in enumerate(counts):
                if count != counts[0]:
                    raise ImageError(
                        f"image {i} has {count} channel(s), image 0 has {counts[0]}: {self.name} "
                        "joins channels and needs as many in each image; take the encoder that "
                        "averages them"
                    )

    def _encode_packed(self, batch: ImageBatch, **asked: Any) -> Features | None:
        """Encode a batch as it lies, in parts if it is large; None where memory runs out.

        Whether pixels are finite is asked before and looked at afterwards, so that nothing waits
        for a GPU in between.
        """
        counts = batch.counts.tolist()
        for i, count in enumerate(counts):
            item = f"image {i}"
            self._check_count(count, item, given=batch.channel_index is not None)
            mask = batch.masks[i] if batch.masks else None
            types = batch.types[i] if batch.types else None
            self.check_objects(None if mask is None else mask.numpy(), types, item)
        self._check_equal(counts)
        finite = finite_planes(batch.planes)
        parts = self._budget.consecutive(counts, batch.size)
        pieces = []
        try:
            for first, last in parts:
                part = batch if len(parts) == 1 else batch.part(first, last)
                with torch.inference_mode():
                    ready = replace(part, planes=part.planes.to(self.device, self.dtype))
                    pieces.append((list(range(first, last)), self.forward(ready, **asked)))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        sound = finite.tolist()
        if not all(sound):
            plane = sound.index(False)
            i = next(i for i, end in enumerate(accumulate(counts)) if plane < end)
            raise ImageError(
                f"image {i} has NaN or infinite pixels in channel {plane - sum(counts[:i])}"
            )
        return _join(pieces, counts)

    def _in_batches(
        self,
        prepared: list[Tensor],
        batch_planes: int | None,
        run: Callable[[list[int]], Result],
    ) -> Iterator[tuple[list[int], Result]]:
        """Run over images in bounded batches; an image too large for memory is named."""
        if batch_planes is not None and batch_planes < 1:
            raise ValueError(f"batch_planes is {batch_planes}, but must be positive")
        shapes = [tuple(planes.shape) for planes in prepared]
        budget = self._budget if batch_planes is None else PlaneBudget(2**62 // NOMINAL)
        try:
            yield from run_in_batches(shapes, run, budget=budget, most=batch_planes)
        except ImageTooLargeError as error:
            channels, height, width = shapes[error.place]
            tokens = self.count_tokens(channels, (height, width))
            size = f"{channels} channels of {height} × {width} pixels"
            raise ImageError(
                f"an image of {size}{'' if tokens is None else f', {tokens} tokens,'} is too large "
                f"for the memory of {self.device} with {self.name}: crop it, choose channels, or "
                "load the encoder for another device"
            ) from error

    def _batch(
        self,
        members: list[int],
        prepared: list[Tensor],
        names: list[Stains | None],
        places: list[Tensor | None],
        objects: list[Objects],
    ) -> ImageBatch:
        index = None
        if any(places[i] is not None for i in members):
            given = [places[i] for i in members]
            index = torch.cat(
                [
                    torch.arange(len(prepared[i])) if p is None else p
                    for i, p in zip(members, given, strict=True)
                ]
            )
        return ImageBatch(
            torch.cat([prepared[i] for i in members]).to(self.device, self.dtype),
            torch.tensor([len(prepared[i]) for i in members]),
            tuple(names[i] for i in members),
            index,
            *_packed([objects[i] for i in members]),
        )

    def with_preprocessing(self, preprocessing: Preprocessing) -> "Encoder":
        """Use another preprocessing than the record's from now on; returns itself."""
        self.spec = replace(self.spec, preprocessing=preprocessing)
        return self


def _take_apart(
    images: Images,
    stains: Sequence[Sequence[str] | None] | None,
    channel_index: Sequence[Sequence[int] | None] | None,
) -> tuple[list[Any], list[Stains | None], list[Tensor | None]]:
    """Return arrays, stain names and channel places of the single images, checked."""
    if isinstance(images, ImageBatch):
        if stains is not None or channel_index is not None:
            raise ValueError("an ImageBatch carries its own stains and channel_index")
        arrays: list[Any] = [check_image(x, f"image {i}") for i, x in enumerate(images.images())]
        names = list(images.stains) or [None] * len(arrays)
        index = images.channel_index
        split = None if index is None else list(index.split(images.counts.tolist()))
        return arrays, names, list(split) if split else [None] * len(arrays)
    if isinstance(images, np.ndarray | Tensor):
        images = [images] if images.ndim == 3 else list(images) if images.ndim == 4 else [images]
    arrays = [check_image(image, f"image {i}") for i, image in enumerate(images)]
    if not arrays:
        raise ImageError("there are no images to encode")
    for what, values in (("stains", stains), ("channel_index", channel_index)):
        if values is not None and len(values) != len(arrays):
            raise ValueError(f"{what} has {len(values)} entries for {len(arrays)} images")
    names = [
        check_stains(stains[i] if stains is not None else None, len(a), f"image {i}")
        for i, a in enumerate(arrays)
    ]
    places: list[Tensor | None] = [None] * len(arrays)
    for i, place in enumerate(channel_index or ()):
        if place is not None:
            if len(place) != len(arrays[i]):
                raise ValueError(f"image {i} has {len(arrays[i])} channels, channel_index {place}")
            if np.asarray(place).dtype.kind not in "iu":
                raise ValueError(f"channel_index of image {i} holds {place}, not whole numbers")
            places[i] = torch.as_tensor(np.asarray(place), dtype=torch.int64)
    return arrays, names, places


def _marks(
    images: Images, masks: Sequence[Any] | None, types: Sequence[Any] | None, count: int
) -> list[tuple[Any, Any]]:
    """Return mask and types of each image as they were given."""
    if isinstance(images, ImageBatch):
        if masks is not None or types is not None:
            raise ValueError("an ImageBatch carries its own masks and types")
        masks, types = images.masks or None, images.types or None
    for what, values in (("masks", masks), ("types", types)):
        if values is not None and len(values) != count:
            raise ValueError(f"{what} has {len(values)} entries for {count} images")
    return [
        (None if masks is None else masks[i], None if types is None else types[i])
        for i in range(count)
    ]


def _packed(
    objects: list[Objects],
) -> tuple[tuple[Tensor | None, ...], tuple[NDArray[np.int64] | None, ...]]:
    """Return masks and types as a batch takes them: nothing where no image has any."""
    masks = tuple(
        None if m is None else torch.from_numpy(np.ascontiguousarray(m, dtype=np.int64))
        for m, _ in objects
    )
    types = tuple(t for _, t in objects)
    given = any(m is not None for m in masks)
    typed = any(t is not None for t in types)
    return (masks if given else ()), (types if typed else ())


def _as_prepared(array: Any, item: str) -> Tensor:
    planes = array if isinstance(array, Tensor) else torch.from_numpy(np.ascontiguousarray(array))
    if not planes.is_floating_point():
        raise ImageError(
            f"{item} is {planes.dtype}; with preprocess=False images must be floating already"
        )
    return planes


def _join(pieces: list[tuple[list[int], Features]], counts: list[int]) -> Features:
    """Put batches back into the order of the images."""
    order = [i for members, _ in pieces for i in members]
    back = torch.tensor(sorted(range(len(order)), key=order.__getitem__))

    def rows(parts: list[Tensor], lengths: list[int]) -> Tensor:
        blocks = torch.cat(parts).float().split([lengths[i] for i in order])
        return torch.cat([blocks[j] for j in back.tolist()])

    features = [f for _, f in pieces]
    embedding = torch.cat([f.embedding for f in features]).float()
    if order != sorted(order):
        embedding = embedding[back.to(embedding.device)]
    channels = tokens = offsets = None
    if features[0].channels is not None:
        channels = rows([f.channels for f in features if f.channels is not None], counts)
    if features[0].tokens is not None:
        lengths = [0] * len(counts)
        for members, f in pieces:
            assert f.token_offsets is not None  # asked for together with tokens
            for i, n in zip(members, f.token_offsets.diff().tolist(), strict=True):
                lengths[i] = n
        tokens = rows([f.tokens for f in features if f.tokens is not None], lengths)
        offsets = torch.tensor([0, *lengths]).cumsum(0)
    return Features(embedding, torch.tensor(counts), channels, tokens, offsets)
