"""How images are scaled, resized and cropped before an encoder sees them."""

from dataclasses import dataclass
from typing import Literal, get_args

from .field_checks import check_choice

Scaling = Literal["auto", "range", "percentile", "instance", "image", "none"]


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
