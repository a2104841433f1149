"""Frozen records of encoders, weights, datasets and evaluation designs.

Imports no torch, so that listings are fast.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from .environment import Environment
from .field_checks import (
    check_choice,
    check_line,
    check_range,
    check_target,
    check_type,
    check_words,
)

Role = Literal["encoder", "control"]
ControlKind = Literal["untrained", "ablation", "structural", "statistics", "degenerate"]
Scaling = Literal["auto", "range", "percentile", "instance", "image", "none"]
TaskKind = Literal["dose", "separation", "retrieval", "knn", "probe"]

_RESERVED = ("precomputed",)
_PICKLES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")
_FILES = (".csv", ".tsv", ".parquet", ".h5ad", ".gz")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+-]*")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Preprocessing of images before encoding; part of the record and of cache keys.

    Parameters
    ----------
    scaling
        Scaling of pixel values to floats, per image and per channel:
        ``"range"`` divides integers by the maximum of their type (255, 65535) and takes floats
        in [0, 1] as they are; ``"percentile"`` maps the percentiles of `percentiles` to 0 and 1
        (the extremes, where the two coincide) and clips; ``"instance"`` subtracts the mean and
        divides by the standard deviation; ``"image"`` maps the extremes of all channels of an
        image together to 0 and 1; ``"none"`` only converts to float. ``"auto"`` is
        ``"range"`` for uint8 and ``"percentile"`` for all others, because a 12-bit camera uses a
        sixteenth of uint16. A constant channel becomes zeros if it would be divided by its
        contrast.
    percentiles
        The two percentiles, in percent, of ``"percentile"`` scaling.
    resize
        Length of the shorter side in pixels after resizing (bilinear, antialiased), or None.
    crop
        Side in pixels of the square cut from the centre after resizing, or None.
    min_side
        Images with a shorter side, in pixels, are refused, not upsampled.
    standardise
        What is added to the variance of each channel when, at the end, its mean is subtracted and
        it is divided by its standard deviation; None leaves channels as they are.
    pixel_size
        Micrometres per pixel to which images of a dataset are resampled before all else (bilinear,
        antialiased); images whose pixel size is unknown are refused. None takes pixels as they are.

    Examples
    --------
    >>> print(zoo.Preprocessing())
    scaling auto (0.1–99.9 %), shorter side 256, centre crop 224
    """

    scaling: Scaling = "auto"
    percentiles: tuple[float, float] = (0.1, 99.9)
    resize: int | None = 256
    crop: int | None = 224
    min_side: int = 16
    standardise: float | None = None
    pixel_size: float | None = None

    def __post_init__(self) -> None:
        check_choice("scaling", self.scaling, get_args(Scaling))
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles are {self.percentiles}, but must rise within 0 to 100")
        for what, value in (("resize", self.resize), ("crop", self.crop)):
            if value is not None and value < 1:
                raise ValueError(f"{what} is {value}, but must be a positive number of pixels")
        if self.crop and self.resize and self.crop > self.resize:
            raise ValueError(f"crop ({self.crop}) is larger than resize ({self.resize})")
        if self.standardise is not None and not self.standardise > 0:
            raise ValueError(f"standardise is {self.standardise}, but must be a positive number")
        if self.pixel_size is not None and not 0 < self.pixel_size < float("inf"):
            raise ValueError(f"pixel_size is {self.pixel_size}, but must be micrometres above 0")

    def __str__(self) -> str:
        """One line for tables and reports."""
        parts = [f"scaling {self.scaling}"]
        if self.scaling in ("auto", "percentile"):
            parts[0] += " ({:g}–{:g} %)".format(*self.percentiles)
        if self.pixel_size:
            parts.insert(0, f"resampled to {self.pixel_size:g} µm per pixel")
        if self.resize:
            parts.append(f"shorter side {self.resize}")
        if self.crop:
            parts.append(f"centre crop {self.crop}")
        if self.standardise:
            parts.append(f"channels standardised (ε {self.standardise:g})")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One safetensors file: on the hub at a pinned commit, in a pip package, or local.

    Parameters
    ----------
    repo, revision
        Hub repository and 40-hex commit.
    latest
        The newest commit, instead of `revision`: it is looked up when the file is first fetched and
        kept from then on. For families whose users may name a commit.
    distribution
        Installed pip package that carries the file, instead of `repo` and `revision`.
    filename
        Name of the file in the repository, or its path in the package, folders included.
    path
        Local file, instead of all of these.
    sha256
        Hash of the content, if known. Otherwise it is saved at the first download and verified
        from then on.
    size
        Bytes, for display.
    gated
        Whether the hub asks to accept terms first.

    Examples
    --------
    >>> commit = "91a41123650ccff12f590364fec95d76af36cc93"
    >>> print(zoo.plugin.Weights(repo="nicoboou/chadavit16-moyen", revision=commit))
    nicoboou/chadavit16-moyen@91a41123650ccff12f590364fec95d76af36cc93/model.safetensors
    """

    repo: str | None = None
    revision: str | None = None
    latest: bool = False
    distribution: str | None = None
    filename: str = "model.safetensors"
    path: Path | None = None
    sha256: str | None = None
    size: int | None = None
    gated: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.path, str):
            object.__setattr__(self, "path", Path(self.path))
        if self.path is not None:
            check_type("path of weights", self.path, Path, "a path")
        for what in ("repo", "revision", "distribution", "sha256"):
            if getattr(self, what) is not None:
                check_line(f"{what} of weights", getattr(self, what))
        check_line("filename of weights", self.filename)
        if self.size is not None:
            check_type("size of weights", self.size, int, "a number of bytes")
        if sum(place is not None for place in (self.repo, self.distribution, self.path)) != 1:
            raise ValueError(
                "weights are either on the hub (repo=, revision=), in a package (distribution=) "
                "or local (path=)"
            )
        if self.latest and (self.revision is not None or self.repo is None):
            raise ValueError("latest=True takes the place of revision=, for weights on the hub")
        pinned = self.repo is None or self.latest or _SHA1.fullmatch(self.revision or "")
        if not pinned:
            raise ValueError(
                f"revision of {self.repo} is {self.revision!r}, but must be a full 40-hex commit: "
                "a branch or tag can change"
            )
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 is {self.sha256!r}, but must be 64 lower-case hex digits")

    @property
    def is_pickle(self) -> bool:
        """Whether the hub has a pickle only, which users convert by themselves."""
        return self.repo is not None and self.filename.endswith(_PICKLES)

    def __str__(self) -> str:
        """Source of the file, in one line."""
        if self.path is not None:
            return str(self.path)
        if self.distribution is not None:
            return f"{self.distribution}/{self.filename}"
        return f"{self.repo}@{self.revision or 'latest'}/{self.filename}"


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """The record of an encoder, available without loading it.

    Parameters
    ----------
    name
        Unique name. Families put their scheme before a colon.
    builder
        ``"module:callable"``, imported only when the encoder is loaded and called as
        ``callable(spec, weights=path_or_None, seed=int)``; returns a `zoo.Encoder`.
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

    def __post_init__(self) -> None:
        self._check_types()
        scheme, _, rest = self.name.rpartition(":")
        if not rest or (not scheme and not _NAME.fullmatch(rest)):
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


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of an evaluation.

    Parameters
    ----------
    kind
        ``"dose"`` (ordinal regression), ``"separation"`` (two control classes), ``"retrieval"``
        (of items with the same value), ``"knn"`` and ``"probe"`` (classification).
    target
        Metadata column with the true values.
    title
        Title in tables.
    where
        Items to use: column → accepted values; empty for all.

    Examples
    --------
    >>> zoo.Task(kind="separation", target="dose", title="0 against 4", where={"dose": (0, 4)}).kind
    'separation'
    """

    kind: TaskKind
    target: str
    title: str
    where: Mapping[str, tuple[str | int | float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("task kind", self.kind, ("dose", "separation", "retrieval", "knn", "probe"))


@dataclass(frozen=True, kw_only=True)
class Design:
    """Columns of biology, nuisance and independent units, and the tasks of an evaluation.

    Parameters
    ----------
    label
        Column of biology.
    group
        Column of the independent unit, such as plate, well or patient, that folds and bootstrap
        never split.
    tasks
        Tasks; empty for default tasks, chosen by the values of `label`.
    batch
        Column of a nuisance.
    perturbation
        Column whose equal values are replicates, if finer than `label`.
    negative
        Negative controls: column → accepted values. Alignment is fitted on them.
    position
        Column of the well position, a shortcut if replicates share it.
    domains
        Columns for leave-one-value-out generalisation, such as batch or cell line.
    confounders
        Columns of confounders, numeric or categorical.
    factors
        Columns of planted factors of synthetic data, numbers in [0, 1].

    Examples
    --------
    >>> zoo.Design(label="compound", group="plate", batch="site").columns
    ('compound', 'plate', 'site')
    """

    label: str
    group: str
    tasks: tuple[Task, ...] = ()
    batch: str | None = None
    perturbation: str | None = None
    negative: Mapping[str, tuple[str | int | float, ...]] = field(default_factory=dict)
    position: str | None = None
    domains: tuple[str, ...] = ()
    confounders: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the design, without repeats."""
        named = [self.label, self.group, self.batch, self.perturbation, self.position]
        named += [*self.negative, *self.domains, *self.confounders, *self.factors]
        for task in self.tasks:
            named += [task.target, *task.where]
        return tuple(dict.fromkeys(name for name in named if name is not None))


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """The record of a dataset.

    Parameters
    ----------
    name
        What users type.
    builder
        ``"module:callable"``, called as ``callable(spec, path=Path or None)``; returns a
        `zoo.Dataset`.
    summary
        One line.
    design
        Columns of biology, nuisance and independent unit, and the tasks.
    channels
        Smallest and largest number of channels.
    notes
        Caveats for the interpretation of scores, such as built-in confounders.
    licence, citation
        Terms and what to cite.
    """

    name: str
    builder: str
    summary: str
    design: Design
    channels: tuple[int, int] = (1, 1)
    notes: tuple[str, ...] = ()
    licence: str = "not stated"
    citation: str = ""

    def __post_init__(self) -> None:
        check_line("name of a dataset", self.name)
        for what in ("summary", "licence"):
            check_line(f"{what} of {self.name}", getattr(self, what))
        check_type(f"citation of {self.name}", self.citation, str, "a text")
        check_words(f"notes of {self.name}", self.notes)
        check_type(f"design of {self.name}", self.design, Design, "zoo.plugin.Design(…)")
        check_range(f"channels of {self.name}", self.channels, open_ended=False)
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a dataset name: letters, digits and . _ - only")
        check_target(f"builder of {self.name}", self.builder)
        if not self.design.tasks:
            raise ValueError(f"dataset {self.name} has no tasks: it needs at least one")
