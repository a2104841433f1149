"""Find the objects of an image: in a given mask, or bright objects, or nuclei of stained tissue.

Lengths are fractions of the image's side (the root of its area in pixels), areas fractions of its
area, so that the numbers do not depend on the size in pixels.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

Array = NDArray[np.float64]

SMOOTHING = 0.005  # sd of the Gaussian before the threshold, in sides
SMALLEST = 2e-4  # smaller objects and smaller holes in objects are dropped, in areas
SMALLEST_IN_TISSUE = 6e-4  # the same in stained tissue, where fibres break into specks
DARKEST = 1 / 255  # lower bound of pixels of stained tissue, since 0 would have an infinite density
NECK = 0.9  # touching objects are narrower between them than this share of the narrower one
APART = 0.02  # centres of touching objects are at least this far apart, in sides

_NUCLEAR = (
    re.compile(r"dna|dapi|hoechst|draq", re.IGNORECASE),
    re.compile(r"nuc(?!leol)[a-z]*", re.IGNORECASE),  # not nucleolus
)


@dataclass(frozen=True)
class Objects:
    """What a segmentation found.

    Parameters
    ----------
    points
        Centres (row, column), `(n, 2)`, in sides from the upper left corner.
    areas
        `(n,)`, in areas of the image.
    extent
        Height and width of the image in sides; their product is 1.
    types
        Type of each, `(n,)`, where types are known.
    """

    points: Array
    areas: Array
    extent: tuple[float, float]
    types: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.areas)


def nuclear_channel(stains: tuple[str, ...] | None) -> int | None:
    """Position of the first channel with a DNA stain, else of one called nuclear, else None.

    Whole words count, also in ``"OrigDNA"`` and ``"Hoechst33342"``: ``"ERSytoBleed"`` and
    ``"RNA"`` name no nucleus.
    """
    for pattern in _NUCLEAR:
        for position, stain in enumerate(stains or ()):
            words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", stain)
            if any(pattern.fullmatch(word) for word in words):
                return position
    return None


def colour_channels(stains: tuple[str, ...] | None) -> list[int] | None:
    """Positions of red, green and blue where the channels are just these, by name, else None."""
    names = [stain.strip().lower() for stain in stains or ()]
    for colours in (["red", "green", "blue"], ["r", "g", "b"]):
        if sorted(names) == sorted(colours):
            return [names.index(colour) for colour in colours]
    return None


def find_objects(
    image: NDArray[np.floating],
    stains: tuple[str, ...] | None = None,
    mask: NDArray[np.integer] | None = None,
    types: NDArray[np.int64] | None = None,
) -> Objects:
    """Measure the objects of a mask, `(H, W)`, or those that `segment` finds where there is none.

    All pixels with the same number form one object, even if it is small or has several parts.
    ``types[k - 1]`` is the type of object k.
    """
    return measure(segment(image, stains) if mask is None else mask, types)


def measure(labels: NDArray[np.integer], types: NDArray[np.int64] | None = None) -> Objects:
    """Measure the objects of a label image, in the order of their numbers."""
    numbers, places = np.unique(labels, return_inverse=True)
    places = places.ravel()
    counts = np.bincount(places)
    centres = np.stack(
        [np.bincount(places, at.ravel() + 0.5) / counts for at in np.indices(labels.shape)], axis=1
    )
    height, width = labels.shape
    side = float(np.sqrt(height * width))
    kept = numbers > 0  # 0 is the background
    return Objects(
        centres[kept] / side,
        counts[kept] / side**2,
        (height / side, width / side),
        None if types is None else types[numbers[kept] - 1],
    )


def segment(
    image: NDArray[np.floating], stains: tuple[str, ...] | None = None
) -> NDArray[np.integer]:
    """Label bright objects, found by a threshold (Otsu 1979), and split those that touch.

    The nuclear channel is used where the stains name one, otherwise the mean of the channels,
    each scaled to [0, 1] by its minimum and maximum after smoothing, so that gain and offset of
    a channel have no effect. A constant channel holds no object.

    Channels called red, green and blue are taken as stained tissue in transmitted light, whose
    nuclei have a high density of haematoxylin (Ruifrok and Johnston 2001).

    Parameters
    ----------
    image
        `(C, H, W)`, finite.
    stains
        Names of the channels, where known.

    Returns
    -------
    NDArray
        `(H, W)`: number of the object at each pixel, 0 for background.
    """
    side = float(np.sqrt(image.shape[1] * image.shape[2]))
    colours, nuclear = colour_channels(stains), nuclear_channel(stains)
    chosen: NDArray[np.floating] = image if nuclear is None else image[[nuclear]]
    smallest = SMALLEST
    if colours is not None:
        chosen, smallest = haematoxylin(image[colours])[None], SMALLEST_IN_TISSUE
    brightness = np.mean([_to_unit(plane, SMOOTHING * side) for plane in chosen], axis=0)
    mask = brightness > threshold_otsu(brightness)  # nowhere, where brightness is constant
    mask = _fill_small_holes(mask, smallest * side**2)
    labels = _split(mask, max(1, round(APART * side)))
    kept = np.bincount(labels.ravel()) >= smallest * side**2
    return np.where(kept[labels], labels, 0)


def haematoxylin(rgb: NDArray[np.floating]) -> Array:
    """Density of haematoxylin in `(3, H, W)` colours of transmitted light, in any unit.

    Colours should lie in [0, 1]; otherwise each is scaled by its minimum and maximum.
    """
    low, high = (f(rgb, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    if not (low < high).any():  # equal pixels could come out different in the last bit
        return np.zeros(rgb.shape[1:])
    if low.min() < 0 or high.max() > 1:
        rgb = (rgb - low) / np.where(low < high, high - low, 1)
    seen = np.clip(np.moveaxis(rgb, 0, -1).astype(np.float64), DARKEST, 1)
    density: Array = rgb2hed(seen)[..., 0]
    return density


def _to_unit(plane: NDArray[np.floating], sd: float) -> Array:
    if plane.min() == plane.max():  # smoothed, equal pixels could differ in the last bit
        return np.zeros(plane.shape)
    smooth: Array = ndimage.gaussian_filter(plane.astype(np.float64), sd)
    smooth -= smooth.min()
    smooth /= max(float(smooth.max()), float(np.finfo(np.float64).tiny))
    return smooth


def _fill_small_holes(mask: NDArray[np.bool_], smallest: float) -> NDArray[np.bool_]:
    holes, _ = ndimage.label(~mask)
    small = np.bincount(holes.ravel()) < smallest
    filled: NDArray[np.bool_] = mask | small[holes]
    return filled


def _split(mask: NDArray[np.bool_], apart: int) -> NDArray[np.integer]:
    """Label objects; those that touch are cut along the watersheds of the distance to the edge."""
    depth = ndimage.distance_transform_edt(mask)
    peaks = mask & (depth == ndimage.maximum_filter(depth, size=2 * apart + 1))
    markers, count = ndimage.label(peaks)
    parts, _ = ndimage.label(mask)
    # A component close to a deeper one may have no peak, but is an object.
    bare = ~np.isin(parts, parts[peaks]) & mask
    markers[bare] = parts[bare] + count
    return _join_without_neck(watershed(-depth, markers, mask=mask), depth)


def _join_without_neck(labels: NDArray[np.integer], depth: Array) -> NDArray[np.integer]:
    """Undo cuts without a neck: a long object has several peaks, but stays wide between them."""
    top = np.zeros(labels.max() + 1)
    np.maximum.at(top, labels.ravel(), depth.ravel())
    joined = []
    for here, there in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = labels[here], labels[there]
        wide = np.minimum(depth[here], depth[there]) > NECK * np.minimum(top[a], top[b])
        joined.append(np.stack([a, b])[:, wide & (a != b)])  # depth 0 joins no background
    pairs = np.concatenate(joined, axis=1)
    graph = sparse.coo_array((np.ones(pairs.shape[1]), pairs), shape=(len(top), len(top)))
    merged = sparse.csgraph.connected_components(graph, directed=False)[1]
    return np.where(labels > 0, merged[labels] + 1, 0)
