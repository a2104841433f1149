"""Where tissue is on a slide, by its colour."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Saturation, in [0, 1], below which nothing is tissue: glass is grey.
_FLOOR = 0.05
# A slide with less glass than this is all tissue; a threshold would split the tissue itself.
_LEAST_GLASS = 0.05
_NEIGHBOURHOOD = 7


def tissue_mask(picture: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a slide has tissue: Otsu's threshold on the saturation of its colours.

    Parameters
    ----------
    picture
        The whole slide, made small, `(H, W, 3)` uint8. Single tiles cannot be used: a threshold
        splits any picture.

    Returns
    -------
    ndarray
        `(H, W)` bool.
    """
    from PIL import Image as Picture
    from PIL import ImageFilter
    from skimage.filters import threshold_otsu

    wide = picture.astype(np.float32)
    high, low = wide.max(2), wide.min(2)
    colour = np.divide(high - low, high, out=np.zeros_like(high), where=high > 0)
    smooth = Picture.fromarray(np.rint(255 * colour).astype(np.uint8)).filter(
        ImageFilter.MedianFilter(_NEIGHBOURHOOD)
    )
    saturation = np.asarray(smooth)
    coloured = saturation > 255 * _FLOOR
    if not coloured.any() or (~coloured).mean() < _LEAST_GLASS:
        return coloured
    return coloured & (saturation > threshold_otsu(saturation))
