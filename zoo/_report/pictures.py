"""Thumbnails of images, as data URLs inside the page."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import Preprocessing, ZooError

from .._data.design import design_of
from .._evaluation.scorecard import Scorecard
from .._images.image import Image
from .._images.preprocess import scale
from .sampling import spread_over

THUMBNAILS = 400

SIDE = 88  # pixels of a thumbnail

TINTS = {
    1: (("grey", (1.0, 1.0, 1.0)),),
    2: (("green", (0.15, 1.0, 0.2)), ("magenta", (0.95, 0.2, 0.95))),
    3: (
        ("green", (0.15, 0.95, 0.2)),
        ("magenta", (0.9, 0.15, 0.9)),
        ("yellow", (0.85, 0.65, 0.0)),
    ),
}


def thumbnails(result: Scorecard, shown: NDArray[np.intp]) -> list[str | None]:
    """Data URL of a picture for each point; None beyond `THUMBNAILS` or without an image."""
    pictures: list[str | None] = [None] * len(shown)
    dataset = result.dataset
    if dataset.read is None or len(dataset) != len(result.embeddings):
        return pictures
    labels = dataset.metadata[design_of(dataset).label].astype(str).to_numpy(dtype=str)[shown]
    for place in spread_over(labels, THUMBNAILS):
        pictures[place] = item_picture(result, int(shown[place]), SIDE, "jpeg")
    return pictures


def item_picture(result: Scorecard, item: int, side: int, kind: str = "png") -> str | None:
    """Draw an item; None if it cannot be read."""
    try:
        return picture(result.dataset[item], side, kind)
    except (ZooError, OSError):
        return None


def picture(image: "Image", side: int, kind: str = "png") -> str:
    """Draw an image as a data URL: RGB unchanged, other channels as additive colours."""
    with io.BytesIO() as out:
        options = {"quality": 82} if kind == "jpeg" else {"optimize": True}
        drawn(image, side).save(out, kind, **options)
        return f"data:image/{kind};base64," + base64.b64encode(out.getvalue()).decode()


def drawn(image: "Image", side: int) -> Any:
    """Draw an image as a picture of PIL, its longer side at most `side` pixels."""
    from PIL import Image as Picture

    # Four pixels for each drawn pixel are enough.
    step = max(1, min(image.pixels.shape[1:]) // (4 * side))
    pixels = np.nan_to_num(image.pixels[:3, ::step, ::step], posinf=0, neginf=0)
    if in_colour(image):
        white = 255 if pixels.dtype == np.uint8 else max(float(pixels.max()), 1e-12)
        colour = np.moveaxis(pixels / white, 0, -1)
    else:
        planes = scale(pixels, Preprocessing(scaling="percentile"), "a picture")
        tints = np.array([tint for _, tint in TINTS[len(planes)]])
        colour = np.einsum("chw,cr->hwr", planes, tints)
    found = Picture.fromarray((255 * np.clip(colour, 0, 1)).astype(np.uint8))
    found.thumbnail((side, side))
    return found


def in_colour(image: "Image") -> bool:
    """Whether the channels are red, green and blue."""
    return tuple(s.lower() for s in image.stains or ()) == COLOURS


def tinted(image: "Image") -> str:
    """Describe the colour of each channel; empty for RGB images."""
    if in_colour(image):
        return ""
    count = len(image.pixels)
    tints = TINTS[min(count, 3)]
    names = image.stains or tuple(f"channel {k + 1}" for k in range(count))
    colours = ", ".join(f"{name} {tint}" for name, (tint, _) in zip(names, tints, strict=False))
    more = f"; the other {count - 3} of {count} channels are not drawn" if count > 3 else ""
    return f"Additive colours: {colours}{more}. Each channel of each image is scaled separately."


COLOURS = ("red", "green", "blue")
