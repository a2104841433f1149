"""Settings of a training run: what can be set, presets, and files of settings."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from zoo.registry import DataError, Preprocessing, Scaling, suggest

DEFAULT_INPUT = 224
Keep = Literal["teacher", "student"]
Optimiser = Literal["adamw", "sgd"]
Centring = Literal["mean", "sinkhorn"]
Precision = Literal["float32", "bfloat16"]


_POSITIVE = (
    *("depth", "embed_dim", "num_heads", "hidden_dim", "patch_size", "max_channels", "steps"),
    *("prototypes", "head_hidden", "head_bottleneck", "teacher_temperature", "learning_rate"),
    *("first_teacher_temperature", "workers", "save_every"),
)


def _check_type(name: str, value: Any, wanted: Any) -> None:
    """Raise `ValueError` unless a value is of the type that its field declares."""
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise ValueError(
                f"{name} is {value!r}, but must be one of {', '.join(get_args(wanted))}"
            )
        return
    if value is None and "None" in str(wanted):
        return
    text = str(wanted)
    kinds: tuple[type, ...] = (int,)
    if "tuple" in text:
        kinds = (tuple,)
    elif "bool" in text:
        kinds = (bool,)
    elif "float" in text:
        kinds = (int, float)
    right = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if not right or (kinds == (tuple,) and len(value) != 2):
        names = {tuple: "two numbers", bool: "true or false", int: "a whole number"}
        what = "a number" if float in kinds else names[kinds[0]]
        raise ValueError(f"{name} is {value!r}, but must be {what}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a training run, all of which are recorded with it.

    Parameters
    ----------
    depth, embed_dim, num_heads, hidden_dim, patch_size, max_channels
        Architecture of the network. Patches and crops are in pixels.
    size
        Side of large crops in pixels.
    resize
        Length of an image's shorter side before crops are taken; None keeps its pixels.
    window
        Side of the part of an image, drawn for each epoch, that its crops are cut from; None for
        the whole image. Crops of one window overlap, those of a large field need not.
    input_size
        Side of the images that the trained encoder takes, from the middle of larger ones; by
        default the largest multiple of `patch_size` that all images have, up to 224.
    scaling
        Scaling of pixel values, as in `Preprocessing`.
    steps
        Updates of the network.
    images
        Images in a batch, over all processes.
    tokens
        Most tokens of a batch's large crops; None for no limit.
    small_crops, small_size
        Number of small crops of an image, and their side in pixels.
    large_area, small_area
        Smallest and largest part of an image's area that a crop shows.
    gain, shift
        Intensities of each channel are multiplied by 1 ± `gain` and moved by ± `shift`, drawn
        evenly; after scaling an image fills 0 to 1.
    turn
        Whether crops are flipped and turned by multiples of 90°.
    sample_channels
        Whether each view shows a random part of an image's channels.
    prototypes, head_hidden, head_bottleneck, batch_norm, fixed_length
        The projection head: widths, batch normalisation, prototypes of length 1.
    teacher_temperature, first_teacher_temperature, temperature_epochs
        The teacher's temperature, and from where and over how many epochs it is reached.
    momentum
        What the teacher keeps of itself at the first update; None for 1 − 10 / `steps`.
    centring
        Guard against the use of one prototype: the mean of logits, or Sinkhorn-Knopp.
    spread
        Weight of the loss that drives embeddings apart (KoLeo).
    optimiser, learning_rate, warmup, first_rate, weight_decay, decay_all, clip, frozen_epochs
        The optimiser, its highest rate for 256 images, the part of the steps in which it rises and
        from where, weight decay, whether that holds for biases and norms too, the largest gradient
        of a parameter (0 for no limit), and the epochs in which prototypes stay.
    trained_layers
        Of a run on labels: the last layers that learn, 0 for the prediction alone; None for all.
    precision
        Of the network's products.
    keep
        Which of the two networks `zoo.load` gives: the other is in a folder of its own.
    seed
        Random seed of everything.
    workers
        Threads that read images and cut crops.
    save_every
        Seconds between two states from which the run can go on.
    """

    depth: int = 4
    embed_dim: int = 64
    num_heads: int = 4
    hidden_dim: int = 256
    patch_size: int = 16
    max_channels: int = 10
    size: int = 96
    resize: int | None = None
    window: int | None = 96
    input_size: int | None = None
    scaling: Scaling = "auto"
    steps: int = 240
    images: int = 64
    tokens: int | None = None
    small_crops: int = 2
    small_size: int = 48
    large_area: tuple[float, float] = (0.5, 1.0)
    small_area: tuple[float, float] = (0.25, 0.5)
    gain: float = 0.15
    shift: float = 0.06
    turn: bool = True
    sample_channels: bool = False
    prototypes: int = 256
    head_hidden: int = 256
    head_bottleneck: int = 64
    batch_norm: bool = True
    fixed_length: bool = True
    teacher_temperature: float = 0.04
    first_teacher_temperature: float = 0.04
    temperature_epochs: int = 0
    momentum: float | None = None
    centring: Centring = "mean"
    spread: float = 0.0
    optimiser: Optimiser = "adamw"
    learning_rate: float = 0.02
    warmup: float = 0.1
    first_rate: float = 0.0
    weight_decay: float = 0.04
    decay_all: bool = False
    clip: float = 0.0
    frozen_epochs: int = 1
    trained_layers: int | None = None
    precision: Precision = "float32"
    keep: Keep = "teacher"
    seed: int = 0
    workers: int = 2
    save_every: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), field.type)
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"embed_dim is {self.embed_dim}, but must be a multiple of num_heads "
                f"({self.num_heads})"
            )
        for name in ("size", "small_size", "input_size"):
            side = getattr(self, name)
            if side is not None and (side % self.patch_size or side < 1):
                raise ValueError(
                    f"{name} is {side}, but must be a multiple of patch_size ({self.patch_size})"
                )
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize is {self.resize}, but must be at least size ({self.size})")
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be positive")
        for name in ("small_crops", "gain", "shift", "spread", "weight_decay", "clip", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but must not be negative")
        for name in ("large_area", "small_area"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise ValueError(f"{name} is {low} to {high}, but must rise within 0 to 1")
        for name in ("warmup", "momentum"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, but must lie in 0 to 1")
        if self.images < 2:
            raise ValueError(f"images is {self.images}, but a batch needs at least 2")

    @property
    def preprocessing(self) -> Preprocessing:
        """What the trained encoder does to images."""
        side = self.input_size or self.size
        return Preprocessing(  # sides are checked against the crop
            scaling=self.scaling, resize=self.resize, crop=side, min_side=1
        )

    def for_sides(self, shortest: int) -> "Settings":
        """Settings with an input size, for images whose sides are at least `shortest`."""
        if self.input_size is not None:
            return self
        side = min(shortest, DEFAULT_INPUT) // self.patch_size * self.patch_size
        return replace(self, input_size=max(side, self.patch_size))

    @property
    def architecture(self) -> dict[str, int | float]:
        """The network as config.json has it."""
        return {
            "depth": self.depth,
            "embed_dim": self.embed_dim,
            "num_heads": self.num_heads,
            "patch_size": self.patch_size,
            "img_size": self.size,
            "max_number_channels": self.max_channels,
            "hidden_dim": self.hidden_dim,
            "layer_norm_eps": 1e-5,
        }

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain values."""
        return asdict(self)


PRESETS: dict[str, Settings] = {
    "tiny": Settings(),
    "small": Settings(
        depth=6,
        embed_dim=128,
        num_heads=4,
        hidden_dim=512,
        size=128,
        window=160,
        small_size=64,
        steps=20_000,
        small_crops=4,
        prototypes=1024,
        head_hidden=512,
        head_bottleneck=128,
        learning_rate=0.002,
    ),
    "paper-size": Settings(
        depth=12,
        embed_dim=192,
        num_heads=12,
        hidden_dim=2048,
        size=224,
        resize=256,
        window=None,
        small_size=96,
        small_crops=6,
        steps=100_000,
        images=256,
        prototypes=4096,
        head_hidden=2048,
        head_bottleneck=256,
        learning_rate=0.0005,
        precision="bfloat16",
        workers=8,
        save_every=600.0,
    ),
}


def read_settings(
    preset: str = "tiny", file: Path | None = None, changes: Mapping[str, Any] | None = None
) -> Settings:
    """A preset, changed by a TOML file and then by `changes`.

    Raises
    ------
    DataError
        For an unknown preset or setting, with near names, or a file that is not TOML.
    ValueError
        For a value that is not possible.
    """
    if preset not in PRESETS:
        raise DataError(
            f"there is no preset {preset!r}; there are {', '.join(PRESETS)}."
            f"{suggest(preset, PRESETS)}"
        )
    found: dict[str, Any] = {}
    if file is not None:
        try:
            found = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{file} is not a readable TOML file: {error}") from error
    found |= {name.replace("-", "_"): value for name, value in (changes or {}).items()}
    known = [field.name for field in fields(Settings)]
    for name in found:
        if name not in known:
            raise DataError(f"there is no setting {name!r}.{suggest(name, known)}")
    found = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    found = {k: None if v == "none" else v for k, v in found.items()}  # TOML has no other word
    return replace(PRESETS[preset], **found)
