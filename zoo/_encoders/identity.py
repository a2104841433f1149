"""What an encoder is: its record, its device and type, and where its parameters come from."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import torch

from zoo.registry import EncoderSpec, Preprocessing

from .batching import PlaneBudget
from .card import card
from .limits import check_dtype
from .slots import check_mapping

PLANES_ON_CPU, PLANES_ON_GPU = 32, 512


class EncoderIdentity:
    """State of every encoder; what it does with images, `Encoder` adds."""

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
        self.files_sha256: dict[str, str] = {}
        self.origin: dict[str, str] = {}
        self.channel_map: dict[str, str] = {}

    @property
    def name(self) -> str:
        """Name in the registry."""
        return self.spec.name

    @property
    def embedding_size(self) -> int | None:
        """Dimensions of the embedding; None if they depend on the image."""
        return self.spec.embedding_size

    @property
    def channels(self) -> tuple[int, int | None]:
        """Minimum and maximum number of channels of an image; None for no limit."""
        return self.spec.channels

    @property
    def depth(self) -> int | None:
        """Number of layers for `encode(layer=…)`; None if layers cannot be chosen."""
        return None

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Move to a device, and to a floating dtype if one is given; returns itself.

        As in torch, arguments left out change nothing.

        Raises
        ------
        ValueError
            For a higher precision than the parameters have been rounded to.

        Examples
        --------
        >>> zoo.load("pixel-statistics", device="cpu").to("cpu").device
        device(type='cpu')
        """
        if dtype is not None:
            self.check_dtype(dtype)
        self.device = self.device if device is None else torch.device(device)
        self._budget = PlaneBudget(PLANES_ON_CPU if self.device.type == "cpu" else PLANES_ON_GPU)
        if self.model is not None:
            self.model.to(self.device).eval()
            if dtype is not None and dtype != self.dtype:
                self.model.to(dtype)
        self.dtype = self.dtype if dtype is None else dtype
        return self

    def usual_dtype(self, device: torch.device) -> torch.dtype:
        """Return the dtype that `zoo.load` chooses for a device where none is asked for.

        Any other than float32 must give the same embeddings but for rounding: a cosine of at least
        0.9999.
        """
        return torch.float32

    def check_dtype(self, dtype: torch.dtype) -> None:
        """Raise `ValueError` if the parameters have been rounded to another dtype."""
        if self.model is not None:
            check_dtype(self.name, self.dtype, dtype)

    @property
    def own_prepare(self) -> str | None:
        """Code that prepares images instead of the record's preprocessing, or None."""
        return None

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        weights = f", weights {self.weights_source}" if self.weights_source else ""
        return f"<zoo.Encoder {self.name} on {self.device}, {dtype}{weights}>"

    def _repr_html_(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return card(self.spec, f"{self.device}, {dtype}", self.weights_source)

    def provenance(self) -> dict[str, Any]:
        """Everything of the encoder that determines the embedding, as plain values.

        Examples
        --------
        >>> zoo.load("gaussian", seed=3, device="cpu").provenance()["seed"]
        3
        """
        return {
            "encoder": self.name,
            "builder": self.spec.builder,
            "options": dict(self.spec.options),
            "preprocessing": str(self.spec.preprocessing),
            "weights": self.weights_source,
            "weights_sha256": self.weights_sha256,
            **({"files_sha256": dict(self.files_sha256)} if self.files_sha256 else {}),
            "seed": self.seed,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
            **({"prepare": self.own_prepare} if self.own_prepare is not None else {}),
            **({"slots": ", ".join(self.spec.slots)} if self.spec.slots else {}),
            **({"channel_map": dict(self.channel_map)} if self.channel_map else {}),
            **self.origin,
        }

    def with_preprocessing(self, preprocessing: Preprocessing) -> Self:
        """Replace the record's preprocessing, in place; returns itself.

        Examples
        --------
        >>> encoder = zoo.load("pixel-statistics", device="cpu")
        >>> encoder = encoder.with_preprocessing(zoo.Preprocessing(scaling="range"))
        >>> encoder.spec.preprocessing.scaling
        'range'
        """
        self.spec = replace(self.spec, preprocessing=preprocessing)
        return self

    def with_channel_map(self, mapping: Mapping[str, str]) -> Self:
        """Say which named channel of the encoder takes which stain, in place; returns itself.

        Raises
        ------
        ValueError
            When the encoder has no named channels, or a mapping names none of them.

        Examples
        --------
        >>> zoo.load("pixel-statistics", device="cpu").with_channel_map({}).channel_map
        {}
        """
        self.channel_map = check_mapping(self.spec, mapping)
        return self
