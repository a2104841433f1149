"""Views of an image: crops with one box for all channels, and intensities of each its own."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .settings import Settings

ASPECT = (3 / 4, 4 / 3)
CROPS = 2
"""What the seed is for, so that the same numbers never give the same draws twice."""


@dataclass(frozen=True)
class View:
    """One crop: planes `(c, size, size)`, and which channels of its image they are, `(c,)`."""

    planes: Tensor
    channels: Tensor


def cut_views(planes: Tensor, settings: Settings, epoch: int, image: int) -> list[View]:
    """Cut two large crops and the small ones from a window of an image.

    All is drawn by seed, epoch and image, so that it does not depend on what was cut before, nor on
    who cuts.

    Parameters
    ----------
    planes
        `(C, H, W)` float32, scaled.
    epoch, image
        Numbers of the epoch and of the image in its dataset.
    """
    draw = np.random.default_rng((settings.seed, epoch, image, CROPS))
    if settings.window is not None:
        height, width = (min(side, settings.window) for side in planes.shape[1:])
        top = int(draw.integers(planes.shape[1] - height + 1))
        left = int(draw.integers(planes.shape[2] - width + 1))
        planes = planes[:, top : top + height, left : left + width]
    kinds = [(settings.size, settings.large_area)] * 2
    kinds += [(settings.small_size, settings.small_area)] * settings.small_crops
    return [_cut(planes, side, area, settings, draw) for side, area in kinds]


def _cut(
    planes: Tensor,
    side: int,
    area: tuple[float, float],
    settings: Settings,
    draw: np.random.Generator,
) -> View:
    count = len(planes)
    channels = np.arange(count)
    if settings.sample_channels:
        channels = np.sort(draw.choice(count, draw.integers(1, count + 1), replace=False))
    top, left, height, width = draw_box(planes.shape[1], planes.shape[2], area, draw)
    crop = planes[torch.from_numpy(channels), top : top + height, left : left + width]
    if (height, width) != (side, side):
        crop = F.interpolate(crop[None], size=(side, side), mode="bilinear", antialias=True)[0]
    if settings.turn:
        if draw.random() < 0.5:
            crop = crop.flip(-1)
        crop = crop.rot90(int(draw.integers(4)), (1, 2))
    shift = draw.uniform(-settings.shift, settings.shift, (len(channels), 1, 1))
    gain = draw.uniform(1 - settings.gain, 1 + settings.gain, (len(channels), 1, 1))
    crop = (crop + torch.from_numpy(shift).float()) * torch.from_numpy(gain).float()
    return View(crop.contiguous(), torch.from_numpy(channels))


def draw_box(
    height: int, width: int, area: tuple[float, float], draw: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw top, left, height and width of a box within an image.

    Its area is a part of the image's, its aspect up to 4:3; a box that fits in none of ten draws
    becomes the largest square in the middle.
    """
    for _ in range(10):
        pixels = height * width * draw.uniform(*area)
        aspect = np.exp(draw.uniform(*np.log(ASPECT)))
        rows, columns = round((pixels / aspect) ** 0.5), round((pixels * aspect) ** 0.5)
        if 0 < rows <= height and 0 < columns <= width:
            top = int(draw.integers(height - rows + 1))
            return top, int(draw.integers(width - columns + 1)), rows, columns
    short = min(height, width)
    return (height - short) // 2, (width - short) // 2, short, short
