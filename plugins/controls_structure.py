"""Where objects lie and how large they are: what remains of an image without its intensities.

Lengths are fractions of the image's side (the root of its area in pixels), areas fractions of its
area, so that the numbers do not depend on the size in pixels.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, sparse, spatial
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

import zoo

Array = NDArray[np.float64]

SMOOTHING = 0.005  # sd of the Gaussian before the threshold, in sides
SMALLEST = 2e-4  # smaller objects and smaller holes in objects are dropped, in areas
NECK = 0.9  # touching objects are narrower between them than this share of the narrower one
APART = 0.02  # centres of touching objects are at least this far apart, in sides
PERCENTILES = (5, 25, 50, 75, 95)
RIPLEY_RADII = (0.025, 0.05, 0.1, 0.2)
NEIGHBOUR_RADII = (0.05, 0.1, 0.2)

_NUCLEAR = (
    re.compile(r"dna|dapi|hoechst|draq", re.IGNORECASE),
    re.compile(r"nuc(?!leol)[a-z]*", re.IGNORECASE),  # a nucleolus is no nucleus
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
    """

    points: Array
    areas: Array
    extent: tuple[float, float]

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


def segment(image: NDArray[np.floating], stains: tuple[str, ...] | None = None) -> Objects:
    """Find bright objects by a threshold (Otsu 1979) and split those that touch.

    The nuclear channel is used where the stains name one, otherwise the mean of the channels,
    each brought to [0, 1] by its own minimum and maximum after smoothing: gain and offset of a
    channel change nothing. A constant channel holds no object.

    Parameters
    ----------
    image
        `(C, H, W)`, finite.
    stains
        Names of the channels, where known.
    """
    height, width = image.shape[1:]
    side = float(np.sqrt(height * width))
    nuclear = nuclear_channel(stains)
    chosen = image if nuclear is None else image[[nuclear]]
    brightness = np.mean([_to_unit(plane, SMOOTHING * side) for plane in chosen], axis=0)
    mask = brightness > threshold_otsu(brightness)  # nowhere, where brightness is constant
    mask = _fill_small_holes(mask, SMALLEST * side**2)
    labels = _split(mask, max(1, round(APART * side)))
    counts = np.bincount(labels.ravel())
    centres = np.stack(
        [
            np.bincount(labels.ravel(), at.ravel() + 0.5) / np.maximum(counts, 1)
            for at in np.indices(labels.shape)
        ],
        axis=1,
    )
    counts[0] = 0  # the background
    kept = np.flatnonzero(counts >= SMALLEST * side**2)
    return Objects(centres[kept] / side, counts[kept] / side**2, (height / side, width / side))


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
    # A part in the shade of a deeper neighbour has no peak, yet it is an object of its own.
    bare = ~np.isin(parts, parts[peaks]) & mask
    markers[bare] = parts[bare] + count
    return _join_without_neck(watershed(-depth, markers, mask=mask), depth)


def _join_without_neck(labels: NDArray[np.integer], depth: Array) -> NDArray[np.integer]:
    """Undo cuts that are no neck: a long object has several peaks, but stays wide between them."""
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


def spread(values: NDArray[np.floating] | list[float]) -> list[float]:
    """Mean, sd and the percentiles of `PERCENTILES`; zeros for no values."""
    if len(values) == 0:
        return [0.0] * (2 + len(PERCENTILES))
    return [
        float(np.mean(values)),
        float(np.std(values)),
        *(float(p) for p in np.percentile(values, PERCENTILES)),
    ]


def nearest_distances(objects: Objects) -> Array:
    """Distance of each object to the nearest other one; ``[1.0]``, a whole side, for fewer than 2.

    Distances grow as objects get fewer: a lone one must not look as if it had a neighbour at 0.
    """
    if len(objects) < 2:
        return np.ones(1)
    distances: Array = spatial.KDTree(objects.points).query(objects.points, k=2)[0][:, 1]
    return distances


def ripley_l(objects: Objects, radii: tuple[float, ...] = RIPLEY_RADII) -> list[float]:
    """Ripley's L(r) - r (1977): above 0 objects cluster, below 0 they keep apart.

    Edges are corrected by translation (Ohser 1983): a pair shifted by (dy, dx) weighs
    1 / ((H - abs(dy)) (W - abs(dx))), the inverse of the area where such a pair can be seen.
    0 for fewer than two objects.
    """
    if len(objects) < 2:
        return [0.0] * len(radii)
    pairs = spatial.KDTree(objects.points).query_pairs(max(radii), output_type="ndarray")
    shift = np.abs(objects.points[pairs[:, 0]] - objects.points[pairs[:, 1]])
    weight = 1.0 / np.prod(np.array(objects.extent) - shift, axis=1)
    distance = np.hypot(*shift.T)
    ordered = len(objects) * (len(objects) - 1)
    k = [2.0 * weight[distance <= r].sum() / ordered for r in radii]
    return [float(np.sqrt(k_r / np.pi) - r) for k_r, r in zip(k, radii, strict=True)]


def describe_density(objects: Objects) -> list[float]:
    """20 numbers: count, area share, spread of areas and of nearest distances, L(r) - r."""
    return [
        float(len(objects)),
        float(objects.areas.sum()),
        *spread(objects.areas),
        *spread(nearest_distances(objects)),
        *ripley_l(objects),
    ]


def describe_structure(objects: Objects) -> list[float]:
    """39 numbers: count, graph, cells, neighbours within `NEIGHBOUR_RADII`, boundary.

    Graph: spread of degree, of edge length and of triangle area in the Delaunay triangulation,
    mean and sd of the clustering coefficient. Cells: spread of the areas of those Voronoi cells
    that lie in the image. Neighbours: mean and sd over objects, near borders as few as are seen.
    Boundary: share of objects on the convex hull and area of the hull. What needs triangles is 0
    for fewer than 4 objects or objects on one line.
    """
    points = objects.points
    neighbours: list[float] = []
    for radius in NEIGHBOUR_RADII:
        within = np.zeros(1)
        if len(objects):
            tree = spatial.KDTree(points)
            within = tree.query_ball_point(points, radius, return_length=True) - 1.0
        neighbours += [float(within.mean()), float(within.std())]
    if not _spans_a_plane(points):
        nothing = spread([])
        return [float(len(objects)), *nothing * 3, 0.0, 0.0, *nothing, *neighbours, 0.0, 0.0]

    mesh = spatial.Delaunay(points)
    corners = mesh.simplices
    edges = np.unique(np.sort(corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    (ay, ax), (by, bx) = (points[corners[:, i]].T - points[corners[:, 0]].T for i in (1, 2))
    triangles = np.abs(ay * bx - ax * by) / 2
    degree, clustering = _graph(edges, len(objects))
    return [
        float(len(objects)),
        *spread(degree),
        *spread(np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)),
        *spread(triangles),
        float(clustering.mean()),
        float(clustering.std()),
        *spread(_cells_inside(objects)),
        *neighbours,
        len(np.unique(mesh.convex_hull)) / len(objects),
        float(triangles.sum()),
    ]


def _spans_a_plane(points: Array) -> bool:
    if len(points) < 4:
        return False
    along, across = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(across > 1e-6 * along)


def _graph(edges: NDArray[np.integer], n: int) -> tuple[Array, Array]:
    """Degree and clustering coefficient (linked pairs of neighbours / all pairs) of each node."""
    both = np.concatenate([edges, edges[:, ::-1]]).T
    links = sparse.csr_array((np.ones(both.shape[1]), (both[0], both[1])), shape=(n, n))
    degree = np.asarray(links.sum(axis=1), dtype=np.float64)
    closed = np.asarray((links @ links).multiply(links).sum(axis=1), dtype=np.float64)
    pairs = degree * (degree - 1)
    return degree, np.divide(closed, pairs, out=np.zeros(n), where=pairs > 0)


def _cells_inside(objects: Objects) -> Array:
    """Areas of the Voronoi cells whose corners all lie in the image."""
    diagram = spatial.Voronoi(objects.points)
    inside = ((diagram.vertices >= 0) & (diagram.vertices <= objects.extent)).all(axis=1)
    sides = np.asarray(diagram.ridge_vertices)  # -1 stands for infinity
    good = (sides >= 0).all(axis=1) & inside[sides].all(axis=1)
    first, second = diagram.vertices[sides[:, 0]], diagram.vertices[sides[:, 1]]
    areas, bad = np.zeros(len(objects)), np.zeros(len(objects))
    for sites in diagram.ridge_points.T:  # a convex cell is the triangles from its site
        (ay, ax), (by, bx) = ((v - objects.points[sites]).T for v in (first, second))
        np.add.at(areas, sites[good], (np.abs(ay * bx - ax * by) / 2)[good])
        np.add.at(bad, sites[~good], 1)
    whole: Array = areas[(bad == 0) & (areas > 0)]
    return whole


class ObjectEncoder(zoo.Encoder):
    """A segmentation and a description of what it found."""

    def __init__(self, spec: zoo.EncoderSpec, describe: Callable[[Objects], list[float]]) -> None:
        super().__init__(spec)
        self.describe = describe

    def forward(
        self,
        batch: zoo.ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> zoo.Features:
        """Segment and describe each image by itself."""
        stains = batch.stains or (None,) * len(batch)
        rows = [
            self.describe(segment(image.float().cpu().numpy(), names))
            for image, names in zip(batch.images(), stains, strict=True)
        ]
        embedding = torch.tensor(rows, dtype=torch.float32, device=batch.planes.device)
        return zoo.Features(embedding, batch.counts)


def build(spec: zoo.EncoderSpec, *, weights: Path | None, seed: int) -> ObjectEncoder:
    """Build from the record; there is nothing to load and nothing random."""
    describe = {"density": describe_density, "structure": describe_structure}
    return ObjectEncoder(spec, describe[str(spec.options["statistics"])])
