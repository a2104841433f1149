"""Frozen records of encoders and of families of encoders.

Imports no torch, so that listings are fast.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .environment import Environment
from .field_checks import (
    NAME,
    check_choice,
    check_line,
    check_range,
    check_target,
    check_type,
    check_words,
)
from .preprocessing import Preprocessing
from .weights import Weights

Role = Literal["encoder", "control"]
ControlKind = Literal["untrained", "ablation", "structural", "statistics", "degenerate"]

_RESERVED = ("precomputed",)
_FILES = (".csv", ".tsv", ".parquet", ".h5ad", ".gz")


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """The record of an encoder, available without loading it.

    Parameters
    ----------
    name
        Unique name. Families put their scheme before a colon.
    builder
        ``"module:callable"``, imported only when the encoder is loaded and called as
        ``callable(spec, weights=path_or_None, seed=int)``, and ``files=tuple_of_paths`` if the
        record has any; returns a `zoo.Encoder`.
    summary
        One line.
    embedding_size
        Dimensions of the embedding, or None if they depend on the images or the model.
    channels
        Smallest and largest number of channels; None for no maximum.
    preprocessing
        Preprocessing that `encode` applies.
    weights
        The file that holds the parameters, or None for encoders that need none.
    files
        Further files that the model needs, such as the other parts of its parameters or its
        configuration. Each is fetched and verified as `weights` is.
    seeded
        Whether `zoo.load(seed=…)` changes the encoder: untrained networks and noise.
    role, control
        A control names its kind; ``"ablation"`` is a trained encoder with restricted input.
    twin
        Name of the untrained encoder of the same architecture, if there is one.
    options
        Plain values for the builder, shown in the record and part of cache keys.
    columns
        Names of the embedding's dimensions, if they are interpretable.
    licence, citation, trained_on
        Terms of the weights, what to cite, names of the training data.
    slots
        Names of the channels in the order of the encoder's channel index, empty where channels have
        no fixed meaning. Images with stains are placed by name; the encoder sees the places as
        `ImageBatch.channel_index`.
    stain_synonyms
        Further names of stains: name → slot, beside the table of synonyms that all encoders share.
    pixel_size
        Micrometres per pixel of the images that it was trained on, one for each magnification; for
        information. `Preprocessing.pixel_size` resamples.
    reference
        ``"module:callable"`` that returns images and the embeddings that they must give, `(B, D)`:
        `zoo.testing` compares them.
    environment
        Packages of an encoder whose dependencies clash with those of zoo. Its builder runs in an
        environment of its own, and is called otherwise: see `Environment`.

    Examples
    --------
    >>> record = zoo.plugin.EncoderSpec(
    ...     name="brightness",
    ...     builder="my_package.brightness:build",
    ...     summary="Mean of all pixels",
    ...     role="control",
    ...     control="statistics",
    ... )
    >>> record.channels
    (1, None)
    """

    name: str
    builder: str
    summary: str
    embedding_size: int | None = None
    channels: tuple[int, int | None] = (1, None)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    weights: Weights | None = None
    files: tuple[Weights, ...] = ()
    seeded: bool = False
    role: Role = "encoder"
    control: ControlKind | None = None
    twin: str | None = None
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    licence: str = "not stated"
    citation: str = ""
    trained_on: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    stain_synonyms: Mapping[str, str] = field(default_factory=dict)
    pixel_size: tuple[float, ...] = ()
    reference: str | None = None
    environment: Environment | None = None

    @property
    def all_files(self) -> tuple[Weights, ...]:
        """The weights, if there are any, and the further files."""
        return (*(() if self.weights is None else (self.weights,)), *self.files)

    def __post_init__(self) -> None:
        self._check_types()
        scheme, _, rest = self.name.rpartition(":")
        if not rest or (not scheme and not NAME.fullmatch(rest)):
            raise ValueError(
                f"{self.name!r} is not an encoder name: letters, digits and . _ / - only"
            )
        if not scheme and rest.lower().endswith(_FILES):
            raise ValueError(
                f"{self.name!r} is not an encoder name: it is read as a file of embeddings"
            )
        check_target(f"builder of {self.name}", self.builder)
        if self.reference is not None:
            check_target(f"reference of {self.name}", self.reference)
        check_choice("role", self.role, ("encoder", "control"))
        kinds = ("untrained", "ablation", "structural", "statistics", "degenerate")
        if self.role == "control":
            check_choice(f"control kind of {self.name}", self.control, kinds)
        elif self.control is not None:
            raise ValueError(f"{self.name} names a control kind, but its role is 'encoder'")
        check_range(f"channels of {self.name}", self.channels, open_ended=True)

    def _check_types(self) -> None:
        """Refuse values of a wrong type when they are given, not when they are shown."""
        check_line("name of an encoder", self.name)
        for what in ("summary", "licence"):
            check_line(f"{what} of {self.name}", getattr(self, what))
        check_type(f"citation of {self.name}", self.citation, str, "a text")
        if self.twin is not None:
            check_line(f"twin of {self.name}", self.twin)
        for what in ("columns", "trained_on", "slots"):
            check_words(f"{what} of {self.name}", getattr(self, what))
        check_type(f"stain_synonyms of {self.name}", self.stain_synonyms, Mapping, "a dict")
        stray = sorted(set(map(str, self.stain_synonyms.values())) - set(self.slots))
        if stray or len({s.lower() for s in self.slots}) < len(self.slots):
            raise ValueError(
                f"stain_synonyms of {self.name} name {stray[0]!r}, which is none of its slots"
                if stray
                else f"slots of {self.name} are {self.slots}, but must differ"
            )
        size = self.embedding_size
        if size is not None:
            check_type(f"embedding_size of {self.name}", size, int, "a whole number or None")
            if size < 1:
                raise ValueError(f"embedding_size of {self.name} is {size}, but must be positive")
        check_type(f"pixel_size of {self.name}", self.pixel_size, tuple, "a tuple of micrometres")
        for micrometres in self.pixel_size:
            check_type(
                f"pixel_size of {self.name}", micrometres, (int, float), "a tuple of micrometres"
            )
            if not 0 < micrometres < float("inf"):
                raise ValueError(f"pixel_size of {self.name} is {self.pixel_size}, but must be > 0")
        if self.weights is not None:
            check_type(f"weights of {self.name}", self.weights, Weights, "zoo.plugin.Weights(…)")
        check_type(f"files of {self.name}", self.files, tuple, "a tuple of zoo.plugin.Weights(…)")
        for file in self.files:
            check_type(f"one of the files of {self.name}", file, Weights, "zoo.plugin.Weights(…)")
            if file.is_pickle:
                raise ValueError(f"files of {self.name} name {file}, but pickles are never read")
        check_type(
            f"preprocessing of {self.name}",
            self.preprocessing,
            Preprocessing,
            "zoo.plugin.Preprocessing(…)",
        )
        if self.environment is not None:
            wanted = "zoo.plugin.Environment(…)"
            check_type(f"environment of {self.name}", self.environment, Environment, wanted)
        check_type(f"options of {self.name}", self.options, Mapping, "a dict of plain values")
        for key, value in self.options.items():
            check_line(f"a key of the options of {self.name}", key)
            if not isinstance(value, str | int | float | bool):
                raise TypeError(
                    f"options of {self.name} have {key!r} {value!r}, but values must be texts, "
                    "numbers or truth values"
                )


@dataclass(frozen=True, kw_only=True)
class EncoderFamily:
    """An open set of encoders behind a scheme, such as ``timm:`` before any timm model name.

    Parameters
    ----------
    scheme
        The word before the colon.
    resolver
        ``"module:callable"``, called with the text after the colon; returns an `EncoderSpec`
        whose name is ``"scheme:text"``, or raises `UnknownNameError` with near names.
    summary
        One line.
    examples
        Full names that resolve.
    """

    scheme: str
    resolver: str
    summary: str
    examples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_line("scheme of a family", self.scheme)
        check_line(f"summary of {self.scheme}:", self.summary)
        check_words(f"examples of {self.scheme}:", self.examples)
        if self.scheme in _RESERVED:
            raise ValueError(f"the scheme {self.scheme!r} is taken: choose another one")
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.scheme):
            raise ValueError(
                f"{self.scheme!r} is not a scheme: lower-case letters, digits, hyphens"
            )
        check_target(f"resolver of {self.scheme}:", self.resolver)
