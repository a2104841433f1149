"""The `Encoder` base class: plugin authors write `forward`, users call `encode`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.registry import ImageError

from .._images.batch import ImageBatch
from .._images.checks import Objects, check_image, check_objects, check_stains
from .._images.preprocess import check_size, prepare, prepare_mask
from ..metrics._torch_defaults import with_torch_defaults
from .features import Attention, Features
from .identity import EncoderIdentity
from .inputs import Images, Inputs, Pixels, as_floating, as_inputs
from .limits import check_count, check_equal, too_large
from .preparing import prepare_all
from .progress import Progress, silent
from .run import Output, collect, encode_in_place, in_batches
from .slots import slots_of


class Encoder(EncoderIdentity, ABC):
    """An encoder of images with any number of channels.

    Authors write `forward`; users call `encode`. Networks go to ``self.model`` (a
    `torch.nn.Module`), so that `to` finds them.

    Examples
    --------
    >>> import torch
    >>> class Brightness(zoo.Encoder):
    ...     def forward(self, batch, *, channels=False, tokens=False, layer=None):
    ...         rows = [planes.mean().reshape(1) for planes in batch.images()]
    ...         return zoo.Features(torch.stack(rows), batch.counts)
    >>> record = zoo.plugin.EncoderSpec(name="brightness", builder="mine:build", summary="Mean")
    >>> Brightness(record).encode(torch.full((1, 3, 64, 64), 0.5)).embedding
    tensor([[...]])
    """

    outputs: frozenset[str] = frozenset()
    """Optional outputs: any of ``"attention"``, ``"channels"``, ``"layer"`` and ``"tokens"``."""
    requires_equal_channels: bool = False
    """Whether all images need the same number of channels, as when channels are concatenated."""
    requires_object_types: bool = False
    """Whether images must have object types."""
    differentiable: ClassVar[bool] = False
    """Whether `forward`, outside of inference mode, carries gradients to the parameters."""
    uses_channel_index: ClassVar[bool] = False
    """Whether the encoder has a channel embedding, so that `channel_index` can be given."""

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

        Called only with options that `outputs` lists.
        """

    def forward_attention(self, batch: ImageBatch) -> list[Attention]:
        """Return the attention of each image of a batch; called only if `outputs` lists it."""
        raise NotImplementedError

    def count_tokens(self, channels: int, size: tuple[int, int]) -> int | None:
        """Return the number of tokens of an image, or None for encoders without tokens."""
        return None

    @property
    def own_prepare(self) -> str | None:
        """Code that prepares images instead of the record's preprocessing, or None."""
        for method in ("prepare", "prepare_mask", "encode", "encode_prepared"):
            found = getattr(type(self), method)
            if found is not getattr(Encoder, method):
                return f"{found.__module__}.{found.__qualname__}"
        return None

    @with_torch_defaults
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
        progress: Progress | None = None,
    ) -> Features:
        """Embed images with any numbers of channels.

        Parameters
        ----------
        images
            A sequence of `(C, H, W)` arrays or tensors, whose C, H and W may differ; one such
            array; a `(B, C, H, W)` array; or an `ImageBatch`, which without preprocessing is
            encoded without a copy.
        stains
            Names of each image's channels, where known. An encoder with named channels
            (``spec.slots``) places each by its stain.
        channel_index
            Rows of the encoder's channel embedding for each image's channels, by default those of
            the stains, or 0, 1, 2, …; required for images with more channels than the embedding
            has rows.
        masks, types
            `zoo.Image.mask` and `zoo.Image.types` of each image, or None. Masks are resized and
            cropped like their images. Networks ignore them.
        preprocess
            Whether to apply ``spec.preprocessing``. If not, images must be floating and of a size
            that the encoder accepts.
        channels, tokens
            Whether to return `Features.channels` and `Features.tokens`.
        layer
            Layer to read all outputs from, 1 … depth, or negative from the end; by default the
            last.
        batch_planes
            Number of planes in a batch; affects memory and speed only. By default the pixels of
            32 planes of 224 × 224 on a CPU, of 512 on a GPU, reduced with a warning after an
            out-of-memory error.
        progress
            Called after each batch with the name of the step, images done, and their total.

        Returns
        -------
        Features
            In the order of `images`, float32, on the encoder's device.

        Raises
        ------
        ImageError
            Naming the item: NaN, wrong shape or dtype, too small, too many channels, a mask or
            types that do not fit. If an image is too large for the memory, with its tokens.
        ValueError
            For an output that this encoder does not have.

        Examples
        --------
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> images = [rng.integers(0, 256, (c, 64, 64), dtype=np.uint8) for c in (2, 3)]
        >>> encoder = zoo.load("texture-mean", device="cpu")
        >>> features = encoder.encode(images, channels=True)
        >>> len(features.embedding), len(features.channels)
        (2, 5)
        """
        asked = {"channels": channels, "tokens": tokens, "layer": layer is not None}
        for what in sorted(k for k, wanted in asked.items() if wanted):
            self._check_output(what)
        tell = progress or silent
        beside = (stains, channel_index, masks, types, batch_planes)
        unplaced = bool(self.spec.slots) and isinstance(images, ImageBatch) and bool(images.stains)
        ready = isinstance(images, ImageBatch) and not preprocess and not unplaced
        if isinstance(images, ImageBatch) and ready and all(b is None for b in beside):
            self._check_batch(images)
            found = encode_in_place(
                images,
                partial(self.forward, channels=channels, tokens=tokens, layer=layer),
                budget=self._budget,
                device=self.device,
                dtype=self.dtype,
            )
            if found is not None:
                tell("encoding", len(images), len(images))
                return found
        inputs = self._inputs(images, stains, channel_index, masks, types)
        prepared = self._prepared(inputs, preprocess)
        return self._encode(
            prepared,
            channels=channels,
            tokens=tokens,
            layer=layer,
            batch_planes=batch_planes,
            progress=tell,
        )

    @with_torch_defaults
    def encode_prepared(self, inputs: Inputs) -> Features:
        """Embed images that have been checked and prepared for this encoder."""
        self._check_equal(inputs.counts)
        return self._encode(inputs)

    @with_torch_defaults
    def attention(
        self,
        images: Images,
        *,
        stains: Sequence[Sequence[str] | None] | None = None,
        channel_index: Sequence[Sequence[int] | None] | None = None,
        preprocess: bool = True,
        batch_planes: int | None = None,
    ) -> list[Attention]:
        """Return the attention between the channels of each image.

        Parameters and errors are those of `encode`; encoders without attention between channels
        raise `ValueError`. The matrix over all patches is never formed.

        Returns
        -------
        list of Attention
            In the order of `images`, on the encoder's device.

        Examples
        --------
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
        >>> found = zoo.load("chadavit-untrained", device="cpu").attention([image])[0]
        >>> found.channels.shape  # layers, heads, CLS and channels, CLS and channels
        torch.Size([12, 12, 3, 3])
        """
        self._check_output("attention")
        inputs = self._prepared(self._inputs(images, stains, channel_index), preprocess)

        def run(members: list[int]) -> list[Attention]:
            with torch.inference_mode():
                return self.forward_attention(inputs.batch(members, self.device, self.dtype))

        found: dict[int, Attention] = {}
        for members, attention in self._in_batches(inputs, batch_planes, run):
            found.update(zip(members, attention, strict=True))
        return [found[i] for i in range(len(inputs.planes))]

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
        found = check_objects(mask, types, (array.shape[1], array.shape[2]), item)
        self.check_fits(array, found, item)

    def check_fits(self, array: Pixels, objects: Objects, item: str) -> None:
        """Raise `ImageError`, naming `item`, if a valid image exceeds this encoder's limits.

        Called once for each encoder; `check_image` is called once for each image.
        """
        self._check_count(len(array), item, given=False)
        check_size(array, self.spec.preprocessing, item)
        self.check_objects(*objects, item)

    def check_objects(
        self, mask: NDArray[Any] | None, types: NDArray[np.int64] | None, item: str
    ) -> None:
        """Raise `ImageError`, naming `item`, if this encoder cannot use these objects.

        Called for each image, after its mask and types have been checked.
        """
        if self.requires_object_types and types is None:
            raise ImageError(
                f"{item} has no object types, which {self.name} requires: give images with mask "
                "and types, or use an encoder that does not need them"
            )

    @with_torch_defaults
    def prepare(self, image: NDArray[Any] | Tensor, item: str) -> Tensor:
        """Apply the record's preprocessing to one checked image; `item` names it in messages."""
        return prepare(image, self.spec.preprocessing, item)

    def prepare_mask(self, mask: NDArray[Any] | Tensor, item: str) -> Tensor:
        """Resize and crop a checked mask as `prepare` does its image; `(h, w)` int64."""
        return prepare_mask(mask, self.spec.preprocessing, item)

    def places_of(self, stains: Sequence[str] | None, item: str) -> Tensor | None:
        """Return the place of each channel by its stain, `(C,)`; None without slots or stains.

        Raises
        ------
        ImageError
            Naming `item`, for a stain that has no place, or one that is taken.
        """
        if not self.spec.slots or stains is None:
            return None
        return torch.tensor(slots_of(self.spec, stains, self.channel_map, item))

    def _check_output(self, what: str) -> None:
        if what not in self.outputs:
            raise ValueError(f"{self.name} does not have the output {what!r}")

    def _inputs(
        self,
        images: Images,
        stains: Sequence[Sequence[str] | None] | None,
        channel_index: Sequence[Sequence[int] | None] | None,
        masks: Sequence[Any] | None = None,
        types: Sequence[Any] | None = None,
    ) -> Inputs:
        if channel_index is not None and not self.uses_channel_index:
            raise ValueError(f"{self.name} has no channel embedding: channel_index has no effect")
        inputs = as_inputs(
            images, stains=stains, channel_index=channel_index, masks=masks, types=types
        )
        if not self.spec.slots:
            return inputs
        given = zip(inputs.places, inputs.stains, strict=True)
        places = [
            self.places_of(names, f"image {i}") if place is None else place
            for i, (place, names) in enumerate(given)
        ]
        return replace(inputs, places=places)

    def _prepared(self, inputs: Inputs, preprocess: bool) -> Inputs:
        """Check the encoder's own limits and apply its preprocessing."""
        items = [f"image {i}" for i in range(len(inputs.planes))]
        objects: list[Objects] = []
        for i, item in enumerate(items):
            mask, kinds = inputs.objects[i]
            self.check_objects(mask, kinds, item)
            given = inputs.places[i] is not None
            self._check_count(len(inputs.planes[i]), item, given=given)
            if mask is not None and preprocess:
                mask = self.prepare_mask(mask, item).numpy()
            objects.append((mask, kinds))
        planes: list[Pixels] = []
        if preprocess:
            planes += prepare_all(self, inputs.planes, items)
        else:
            planes += map(as_floating, inputs.planes, items)
        self._check_equal([len(p) for p in planes])
        return replace(inputs, planes=planes, objects=objects)

    def _encode(
        self,
        inputs: Inputs,
        *,
        batch_planes: int | None = None,
        progress: Progress = silent,
        **outputs: Any,
    ) -> Features:
        def run(members: list[int]) -> Features:
            with torch.inference_mode():
                return self.forward(inputs.batch(members, self.device, self.dtype), **outputs)

        found = self._in_batches(inputs, batch_planes, run)
        return collect(found, inputs.counts, progress)

    def _in_batches(
        self, inputs: Inputs, most: int | None, run: Callable[[list[int]], Output]
    ) -> Iterator[tuple[list[int], Output]]:
        return in_batches(inputs, run, budget=self._budget, most=most, too_large=self._too_large)

    def _too_large(self, channels: int, height: int, width: int) -> str:
        tokens = self.count_tokens(channels, (height, width))
        return too_large(self.name, self.device, (channels, height, width), tokens)

    def _check_batch(self, batch: ImageBatch) -> None:
        counts = batch.counts.tolist()
        for i, count in enumerate(counts):
            item = f"image {i}"
            self._check_count(count, item, given=batch.channel_index is not None)
            mask = batch.masks[i] if batch.masks else None
            types = batch.types[i] if batch.types else None
            self.check_objects(None if mask is None else mask.numpy(), types, item)
        self._check_equal(counts)

    def _check_count(self, count: int, item: str, *, given: bool) -> None:
        check_count(self.spec, count, item, given=given, indexed=self.uses_channel_index)

    def _check_equal(self, counts: list[int]) -> None:
        if self.requires_equal_channels:
            check_equal(self.name, counts)
