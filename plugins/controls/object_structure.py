"""Positions and sizes of objects: the structure of an image without its intensities."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, spatial

from zoo import plugin

from .column_names import NEIGHBOUR_RADII, RIPLEY_RADII
from .column_names import SPREAD_PERCENTILES as PERCENTILES
from .per_image import Array, PerImage
from .segmentation import Objects, find_objects


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

    Distances grow as objects get fewer, so a single object must not have the distance 0.
    """
    if len(objects) < 2:
        return np.ones(1)
    distances: Array = spatial.KDTree(objects.points).query(objects.points, k=2)[0][:, 1]
    return distances


def ripley_l(objects: Objects, radii: tuple[float, ...] = RIPLEY_RADII) -> list[float]:
    """Ripley's L(r) - r (1977): above 0 objects cluster, below 0 they repel each other.

    Edges are corrected by translation (Ohser 1983): a pair shifted by (dy, dx) weighs
    1 / ((H - abs(dy)) (W - abs(dx))), the inverse of the area in which such a pair can be observed.
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
    that lie in the image. Neighbours: mean and sd over objects, without edge correction.
    Boundary: share of objects on the convex hull and area of the hull. Statistics of triangles
    are 0 for fewer than 4 objects or objects on one line.
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
    corners, edges = mesh.simplices, _edges(mesh)
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


def describe_types(objects: Objects, kinds: int) -> list[float]:
    """Neighbourhoods by type of object: 2 + `kinds` + pairs of kinds, and their number is fixed.

    Share of each type; share of Delaunay edges between each pair of types (00, 01, …, 11, 12, …)
    minus its expectation when types are permuted among the objects; entropy of
    the types among an object's Delaunay neighbours, mean over objects, 1 for all types alike; share
    of objects whose nearest other one is of their type. Statistics of neighbours are 0 without any.
    """
    n, types = len(objects), objects.types
    if types is None:
        raise ValueError("these objects have no types")
    first, second = np.triu_indices(kinds)
    if n == 0:
        return [0.0] * (2 + kinds + len(first))
    counts = np.bincount(types, minlength=kinds).astype(np.float64)
    excess, entropy, alike = np.zeros(len(first)), 0.0, 0.0
    if n > 1:
        nearest = spatial.KDTree(objects.points).query(objects.points, k=2)[1]
        own = nearest[:, 0] == np.arange(n)  # where points coincide, the other may come first
        alike = float(np.mean(types[np.where(own, nearest[:, 1], nearest[:, 0])] == types))
    if _spans_a_plane(objects.points):
        edges = _edges(spatial.Delaunay(objects.points))
        low, high = np.sort(types[edges], axis=1).T
        seen = np.zeros((kinds, kinds))
        np.add.at(seen, (low, high), 1 / len(edges))
        both = np.outer(counts, counts)
        np.fill_diagonal(both, counts * (counts - 1) / 2)
        excess = (seen - both / (n * (n - 1) / 2))[first, second]
        around = np.zeros((n, kinds))
        for here, there in (edges.T, edges.T[::-1]):
            np.add.at(around, (here, types[there]), 1)
        around = around[around.sum(1) > 0]
        shares = around / around.sum(1, keepdims=True)
        logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        entropy = float(-(shares * logs).sum(1).mean() / np.log(kinds)) if kinds > 1 else 0.0
    return [*(counts / n).tolist(), *excess.tolist(), entropy, alike]


def _spans_a_plane(points: Array) -> bool:
    if len(points) < 4:
        return False
    along, across = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(across > 1e-6 * along)


def _edges(mesh: spatial.Delaunay) -> NDArray[np.integer]:
    sides = mesh.simplices[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    edges: NDArray[np.integer] = np.unique(np.sort(sides, axis=1), axis=0)
    return edges


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


class ObjectEncoder(PerImage):
    """A description of the objects of an image, given by a mask or found by a threshold."""

    def __init__(
        self, spec: plugin.EncoderSpec, describe_objects: Callable[[Objects], list[float]]
    ) -> None:
        super().__init__(spec)
        self.describe_objects = describe_objects

    def describe(self, image: plugin.Image) -> tuple[Array, None]:
        """Describe the objects of an image."""
        objects = find_objects(image.pixels, image.stains, image.mask, image.types)
        return np.array(self.describe_objects(objects)), None


def _describe_typed(objects: Objects, kinds: int) -> list[float]:
    return describe_structure(objects) + describe_types(objects, kinds)


class TypedObjectEncoder(ObjectEncoder):
    """The same for objects of known types, up to the number of types in the record."""

    requires_object_types = True

    def __init__(self, spec: plugin.EncoderSpec) -> None:
        self.kinds = int(spec.options["types"])
        super().__init__(spec, partial(_describe_typed, kinds=self.kinds))

    def check_objects(
        self, mask: NDArray[np.integer] | None, types: NDArray[np.int64] | None, item: str
    ) -> None:
        """Raise `ImageError`, naming `item`, without types or with more than the record has."""
        super().check_objects(mask, types, item)
        if types is not None and len(types) and int(types.max()) >= self.kinds:
            raise plugin.ImageError(
                f"{item} has an object of type {int(types.max())}, but {self.name} has the types "
                f"0 to {self.kinds - 1}: merge the others"
            )


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> ObjectEncoder:
    """Build from the record; there is nothing to load and nothing random."""
    what = str(spec.options["statistics"])
    if what == "types":
        return TypedObjectEncoder(spec)
    return ObjectEncoder(spec, {"density": describe_density, "structure": describe_structure}[what])
