"""The controls without a network, against loops, regionprops and geometry from first principles."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial import ConvexHull
from skimage.measure import label, regionprops
from zoo.plugins import controls
from zoo.plugins.controls import object_structure as structure
from zoo.plugins.controls.pixel_statistics import channel_correlations, plane_statistics
from zoo.plugins.controls.segmentation import Objects, find_objects, nuclear_channel

import zoo
from zoo import errors

TYPED = "cell-structure-typed"  # for images with types of objects only
NAMES = [spec.name for spec in controls.zoo_encoders() if spec.name != TYPED]
JOINED = {"pixel-statistics": 2 * 10 + 1, "texture": 2 * 64}  # columns for 2 channels
RAGGED = [name for name in NAMES if name not in JOINED]
SIDE = 96
CENTRES = [(20, 20), (20, 60), (50, 35), (70, 75), (75, 20), (45, 80)]


def discs(centres, radius=7, side=SIDE, brightness=None):
    rows, columns = np.indices((side, side))
    plane = np.zeros((side, side), np.float32)
    for i, (row, column) in enumerate(centres):
        inside = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        plane[inside] = 1.0 if brightness is None else brightness[i]
    return plane


def noise(seed, *shape):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def encode(name, images, **arguments):
    return zoo.load(name).encode(images, preprocess=False, **arguments).embedding.numpy()


def objects_at(points, extent=(1.0, 1.0)):
    points = np.asarray(points, dtype=float).reshape(-1, 2)
    return Objects(points, np.full(len(points), 0.01), extent)


def naive_spread(values):
    ordered, n = sorted(float(v) for v in values), len(values)
    mean = sum(ordered) / n
    result = [mean, math.sqrt(sum((v - mean) ** 2 for v in ordered) / n)]
    for percent in (5, 25, 50, 75, 95):
        at = percent / 100 * (n - 1)
        low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
        result.append(low + (at - math.floor(at)) * (high - low))
    return result


def test_listing_imports_nothing_heavy():
    code = (
        "import sys; from zoo.plugins import controls; names = list(controls.zoo_encoders()); "
        "heavy = {'torch', 'timm', 'skimage', 'scipy', 'numpy'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy or len(names) != 9 else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
class TestEveryControl:
    def test_is_a_control_of_the_promised_width(self, name):
        spec = zoo.load(name).spec
        assert spec.role == "control"
        embedding = zoo.load(name).encode([noise(0, 2, 40, 40)]).embedding
        assert embedding.dtype == torch.float32
        assert embedding.shape == (1, spec.embedding_size or JOINED[name])

    @pytest.mark.parametrize("side", [16, 40, 120])
    def test_degenerate_images_give_finite_numbers_of_one_width(self, name, side):
        pixel = np.zeros((2, side, side), np.float32)
        pixel[0, 5, 5] = 1
        images = [
            np.zeros((2, side, side), np.float32),
            np.full((2, side, side), 0.1, np.float32),
            np.full((2, side, side), 1.0, np.float32),
            np.stack([noise(1, side, side), np.zeros((side, side), np.float32)]),
            np.stack([discs([(8, 8)], 5, side)] * 2),
            pixel,
            1 - pixel,
            noise(2, 2, side, side) * 1e-30,
            noise(3, 2, side, side) * 1e4 - 5e3,
        ]
        embedding = encode(name, images)
        assert embedding.shape[0] == len(images)
        assert np.isfinite(embedding).all()

    def test_nothing_but_the_image_matters(self, name):
        """Bit for bit: every image is described by itself."""
        images = [noise(i, 2, 32, 32 + 8 * (i % 2)) for i in range(5)]
        images[3] = np.stack([discs([(8, 8), (20, 24)], 5, 32)] * 2)
        together = encode(name, images)
        alone = np.concatenate([encode(name, [image]) for image in images])
        turned = encode(name, images[::-1], batch_planes=4)[::-1]
        assert np.array_equal(together, alone)
        assert np.array_equal(together, turned)

    def test_listens_to_the_image(self, name):
        first, second = encode(
            name, [noise(1, 2, 40, 40), discs([(9, 9)], 6, 40)[None].repeat(2, 0)]
        )
        assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", [*NAMES, TYPED])
def test_every_named_column_is_there_once(name):
    spec = zoo.plugin.get_spec(name)
    assert len(set(spec.columns)) == len(spec.columns)
    assert len(spec.columns) in (0, spec.embedding_size)
    assert bool(spec.columns) == (name not in JOINED and spec.control != "degenerate")
    assert len(spec.summary) < 90


@pytest.mark.parametrize("name", RAGGED)
def test_takes_any_channel_counts(name):
    images = [noise(i, count, 32, 32) for i, count in enumerate((1, 3, 2, 7))]
    together = encode(name, images)
    alone = np.concatenate([encode(name, [image]) for image in images])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("name", JOINED)
def test_joined_channels_refuse_other_counts(name):
    with pytest.raises(errors.ImageError, match="image 1 has 3"):
        encode(name, [noise(0, 2, 32, 32), noise(1, 3, 32, 32)])


class TestPixelStatistics:
    def test_plane_against_sorted_lists(self):
        plane = np.minimum(noise(0, 9, 13) * 1.2, 1)
        plane[0, :3] = 1.5
        values = sorted(float(v) for v in plane.ravel())
        n = len(values)
        mean = sum(values) / n
        expected = [mean, math.sqrt(sum((v - mean) ** 2 for v in values) / n)]
        for percent in (1, 5, 25, 50, 75, 95, 99):
            at = percent / 100 * (n - 1)
            low, high = values[math.floor(at)], values[math.ceil(at)]
            expected.append(low + (at - math.floor(at)) * (high - low))
        expected.append(sum(v >= 1 for v in values) / n)
        assert 0 < expected[-1] < 1
        # Sums in another order.
        assert plane_statistics(plane) == pytest.approx(expected, rel=1e-12)

    def test_correlations_against_scipy(self):
        image = noise(0, 4, 8, 8)
        image[2] = image[0] * 0.5 + image[1]
        image[3] = 1 - image[0]
        expected = [
            stats.pearsonr(image[i].ravel().astype(float), image[j].ravel().astype(float))[0]
            for i, j in itertools.combinations(range(4), 2)
        ]
        assert channel_correlations(image) == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1.0])
    def test_constant_channel_correlates_with_nothing(self, value):
        flat = np.full((31, 31), value, np.float32)
        assert channel_correlations(np.stack([noise(0, 31, 31), flat, flat])).tolist() == [0, 0, 0]

    def test_joined_is_channel_by_channel_then_pairs(self):
        image = noise(0, 3, 12, 12)
        row = encode("pixel-statistics", [image])[0]
        expected = [*np.concatenate([plane_statistics(p) for p in image])]
        # float32 of the result.
        assert row == pytest.approx([*expected, *channel_correlations(image)], rel=1e-6)

    def test_mean_over_channels(self):
        image = noise(0, 3, 12, 12)
        row = encode("pixel-statistics-mean", [image])[0]
        each = np.mean([plane_statistics(plane) for plane in image], axis=0)
        expected = [*each, channel_correlations(image).mean()]
        assert row == pytest.approx(expected, rel=1e-5)  # float32 of the result
        assert encode("pixel-statistics-mean", [image[:1]])[0, -1] == 0

    @pytest.mark.parametrize("name", ["pixel-statistics", "pixel-statistics-mean"])
    def test_gives_channels_on_request(self, name):
        images = [noise(i, 2, 12, 12) for i in range(2)]
        rows = zoo.load(name).encode(images, preprocess=False, channels=True).channels
        planes = np.concatenate(images)
        assert rows.shape == (4, 10)
        assert rows[:, 0].numpy() == pytest.approx(planes.mean((1, 2)), rel=1e-6)  # float32


@pytest.mark.parametrize(
    ("stains", "position"),
    [
        (("actin", "DNA"), 1),
        (("OrigDNA",), 0),
        (("ERSytoBleed", "Mito", "dapi"), 2),
        (("Hoechst 33342",), 0),
        (("GFP", "Hoechst33342"), 1),
        (("DRAQ5",), 0),
        (("tubulin", "Nuclei"), 1),
        (("nuclear membrane", "DAPI-405"), 1),
        (("nucleus_stain",), 0),
        (("ERSytoBleed", "RNA", "mRNA"), None),
        (("nucleoli", "AGP"), None),
        (("DNAJB6",), None),
        (("",), None),
        (None, None),
    ],
)
def test_nuclear_channel(stains, position):
    assert nuclear_channel(stains) == position


class TestSegmentation:
    def test_discs_against_regionprops(self):
        plane = discs(CENTRES)
        found = find_objects(plane[None])
        drawn = regionprops(label(plane > 0))
        assert len(found) == len(drawn) == len(CENTRES)
        for region in drawn:
            at = (np.array(region.centroid) + 0.5) / SIDE
            nearest = np.argmin(np.linalg.norm(found.points - at, axis=1))
            assert found.points[nearest] == pytest.approx(at, abs=0.25 / SIDE)  # symmetric discs
            # Smoothing and the threshold may move the edge by a part of a pixel.
            assert found.areas[nearest] == pytest.approx(region.area / SIDE**2, rel=0.1)

    @pytest.mark.parametrize(("radius", "distance"), [(7, 13), (10, 17), (14, 23), (20, 32)])
    def test_overlapping_discs_are_split(self, radius, distance):
        plane = np.maximum(
            discs([(100, 90)], radius, 224), discs([(100, 90 + distance)], radius - 1, 224)
        )
        assert len(find_objects(plane[None])) == 2

    def test_touching_discs_are_cut_between_them(self):
        touching = discs([(40, 30), (40, 45), (75, 70)], 8)
        assert label(touching > 0).max() == 2
        found = find_objects(touching[None])
        assert len(found) == 3
        columns = sorted(found.points[:2, 1] * SIDE)
        assert columns == pytest.approx([30, 45.5], abs=1.5)  # the cut takes a cap off each

    @pytest.mark.parametrize("angle", np.linspace(0, np.pi / 2, 9))
    def test_long_objects_stay_whole(self, angle):
        rows, columns = np.indices((224, 224)) - 110.0
        along = rows * np.cos(angle) + columns * np.sin(angle)
        across = columns * np.cos(angle) - rows * np.sin(angle)
        for length, width in ((10, 7), (20, 9), (25, 12), (30, 10), (30, 14)):
            plane = (along / length) ** 2 + (across / width) ** 2 <= 1
            assert len(find_objects(plane[None].astype(np.float32))) == 1

    def test_thin_object_in_the_shade_of_a_thick_one_counts(self):
        plane = discs([(100, 100)], 40, 448)
        plane[85:115, 144:148] = 1
        assert len(find_objects(plane[None])) == label(plane > 0).max() == 2

    def test_image_need_not_be_square(self):
        plane = discs(CENTRES)[:80]
        side = math.sqrt(80 * SIDE)
        found = find_objects(plane[None])
        assert found.extent == pytest.approx((80 / side, SIDE / side))
        expected = sorted(((y + 0.5) / side, (x + 0.5) / side) for y, x in CENTRES if y < 70)
        whole = [p for p in sorted(found.points.tolist()) if p[0] < 65 / side]
        assert np.array(whole) == pytest.approx(np.array(expected), abs=0.3 / side)  # of a pixel

    def test_specks_and_small_holes_do_not(self):
        plane = discs([(100, 100)], 12, 224)
        whole = find_objects(plane[None])
        plane[99:102, 99:102] = 0
        plane[30:33, 30:33] = 1
        spotted = find_objects(plane[None])
        assert len(whole) == len(spotted) == 1
        assert spotted.areas == pytest.approx(whole.areas, rel=0.02)  # other pixels, other Otsu
        assert spotted.points == pytest.approx(whole.points, abs=0.1 / 224)

    @pytest.mark.parametrize(("gain", "offset"), [(4, 0), (0.3, 0), (1, 7), (250, -40), (1e-4, 3)])
    def test_gain_and_offset_change_nothing(self, gain, offset):
        plane = discs(CENTRES, brightness=[0.5, 0.6, 0.7, 0.8, 0.9, 1.0]).astype(np.float64)
        plane += 0.05 * np.random.default_rng(0).random(plane.shape)
        other = discs([(30, 70), (60, 60)], brightness=[0.5, 1]).astype(np.float64)
        before = find_objects(np.stack([plane, other]))
        after = find_objects(np.stack([gain * plane + offset, other]))
        assert len(before) == 8
        assert np.array_equal(after.areas, before.areas)
        assert np.array_equal(after.points, before.points)

    def test_the_nuclear_channel_decides_where_it_is_known(self):
        dna, other = discs(CENTRES), discs([(30, 70), (60, 60)])
        image = np.stack([other, dna])
        known = find_objects(image, ("actin", "DNA"))
        assert len(known) == 6
        assert len(find_objects(image)) == 8
        counts = zoo.load("object-density").encode(
            [image, image], stains=[("actin", "DNA"), None], preprocess=False
        )
        assert counts.embedding[:, 0].tolist() == [6, 8]

    def test_black_channel_beside_another_changes_nothing(self):
        plane = discs(CENTRES)
        alone, beside = (find_objects(i) for i in (plane[None], np.stack([plane, 0 * plane])))
        assert np.array_equal(alone.points, beside.points)

    @pytest.mark.parametrize("name", ["object-density", "cell-structure"])
    def test_numbers_do_not_depend_on_the_size_in_pixels(self, name):
        # Noise that hides the discs, unless smoothing grows with the image.
        small = discs([(2 * y, 2 * x) for y, x in CENTRES], 14, 200) + 2 * noise(0, 200, 200)
        large = small.repeat(3, 0).repeat(3, 1)
        first, second = encode(name, [small[None], large[None]])
        assert first[0] == 6
        assert second == pytest.approx(first, rel=0.05, abs=0.002)  # edges by parts of a pixel


class TestDensity:
    def test_vector_of_known_discs(self):
        row = encode("object-density", [discs(CENTRES)[None]])[0]
        area = float((discs([(50, 50)]) > 0).sum()) / SIDE**2
        assert row[0] == 6
        assert row[1] == pytest.approx(6 * area, rel=0.1)  # the edge moves by part of a pixel
        assert row[2] == pytest.approx(area, rel=0.1)
        assert row[3] == pytest.approx(0, abs=0.02 * area)  # equal discs
        nearest = [min(math.dist(a, b) for b in CENTRES if b != a) / SIDE for a in CENTRES]
        assert row[9:16] == pytest.approx(naive_spread(nearest), abs=0.3 / SIDE)  # of a pixel

    @pytest.mark.parametrize("count", [0, 1])
    def test_without_a_neighbour_the_nearest_is_a_side_away(self, count):
        row = encode("object-density", [discs(CENTRES[:count])[None]])[0]
        assert row[0] == count
        assert row[9:16].tolist() == [1, 0, 1, 1, 1, 1, 1]
        assert row[16:].tolist() == [0, 0, 0, 0]

    def test_two_objects(self):
        row = encode("object-density", [discs([(20, 20), (20, 60)])[None]])[0]
        assert row[9:16] == pytest.approx([40 / SIDE, 0, *[40 / SIDE] * 5], abs=0.3 / SIDE)

    def test_ripley_against_a_double_loop(self):
        extent = (0.8, 1.25)
        points = np.random.default_rng(0).random((40, 2)) * extent
        radii = (0.05, 0.1, 0.3)
        expected = []
        for radius in radii:
            total = 0.0
            for i, j in itertools.permutations(range(40), 2):
                dy, dx = abs(points[i] - points[j])
                if math.hypot(dy, dx) <= radius:
                    total += 1 / ((extent[0] - dy) * (extent[1] - dx))
            expected.append(math.sqrt(total / (40 * 39) / math.pi) - radius)
        found = structure.ripley_l(objects_at(points, extent), radii)
        assert found == pytest.approx(expected, rel=1e-12)  # sums in another order

    def test_ripley_tells_random_clustered_and_regular_apart(self):
        rng = np.random.default_rng(0)
        random = [structure.ripley_l(objects_at(rng.random((300, 2))), (0.05,)) for _ in range(40)]
        assert np.mean(random) == pytest.approx(0, abs=0.002)  # unbiased, 40 draws
        parents = rng.uniform(0.1, 0.9, (15, 1, 2))
        clustered = (parents + rng.normal(0, 0.015, (15, 20, 2))).reshape(-1, 2)
        grid = np.stack(np.meshgrid(*[np.linspace(0.05, 0.95, 10)] * 2), -1).reshape(-1, 2)
        assert structure.ripley_l(objects_at(clustered), (0.05,))[0] > 0.05
        assert structure.ripley_l(objects_at(grid), (0.05,))[0] == pytest.approx(-0.05)


def empty_circles(points):
    """Delaunay triangles by definition: no other point in the circle through the corners."""
    found = []
    for corners in itertools.combinations(range(len(points)), 3):
        (ay, ax), (by, bx), (cy, cx) = points[list(corners)]
        d = 2 * (ax * (by - cy) + bx * (cy - ay) + cx * (ay - by))
        a, b, c = ax**2 + ay**2, bx**2 + by**2, cx**2 + cy**2
        x = (a * (by - cy) + b * (cy - ay) + c * (ay - by)) / d
        y = (a * (cx - bx) + b * (ax - cx) + c * (bx - ax)) / d
        radius = math.dist((y, x), (ay, ax))
        others = (math.dist((y, x), p) for i, p in enumerate(points) if i not in corners)
        if all(distance > radius for distance in others):
            found.append((corners, abs(d) / 4))
    return found


class TestStructure:
    points = np.random.default_rng(3).random((25, 2))

    def test_graph_against_empty_circles(self):
        triangles = empty_circles(self.points)
        edges = {tuple(sorted(e)) for t, _ in triangles for e in itertools.combinations(t, 2)}
        near = {i: {j for e in edges if i in e for j in e if j != i} for i in range(25)}
        clustering = []
        for friends in near.values():
            pairs = list(itertools.combinations(sorted(friends), 2))
            clustering.append(sum(pair in edges for pair in pairs) / len(pairs))
        row = structure.describe_structure(objects_at(self.points))
        lengths = [math.dist(self.points[i], self.points[j]) for i, j in edges]
        expected = [
            25,
            *naive_spread([len(friends) for friends in near.values()]),
            *naive_spread(lengths),
            *naive_spread([area for _, area in triangles]),
            *naive_spread(clustering)[:2],
        ]
        assert row[:24] == pytest.approx(expected, rel=1e-9)  # circumcircles lose digits

    def test_cells_against_nearest_site_of_a_fine_grid(self):
        axis = (np.arange(900) + 0.5) / 300 - 1  # a side of margin all around
        grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 1, 2)
        nearest = np.concatenate(
            [((part - self.points) ** 2).sum(-1).argmin(1) for part in np.array_split(grid, 50)]
        )
        outside = ((grid[:, 0] < 0) | (grid[:, 0] > 1)).any(1)
        inner = sorted(set(range(25)) - set(nearest[outside]))
        areas = [np.sum(nearest == i) / 300**2 for i in inner]
        assert 3 < len(inner) < 25
        row = structure.describe_structure(objects_at(self.points))
        assert row[24:31] == pytest.approx(naive_spread(areas), rel=0.02)  # grid of 1/300

    def test_neighbours_by_counting(self):
        row = structure.describe_structure(objects_at(self.points))
        expected = []
        for radius in (0.05, 0.1, 0.2):
            within = [sum(math.dist(a, b) <= radius for b in self.points) - 1 for a in self.points]
            expected += naive_spread(within)[:2]
        assert row[31:37] == pytest.approx(expected)

    def test_boundary_against_a_convex_hull(self):
        row = structure.describe_structure(objects_at(self.points))
        hull = ConvexHull(self.points)
        assert row[37:] == pytest.approx([len(hull.vertices) / 25, hull.volume])

    @pytest.mark.parametrize(
        "points",
        [
            [],
            [(0.5, 0.5)],
            [(0.2, 0.2), (0.25, 0.2)],
            [(0.2, 0.2), (0.25, 0.2), (0.7, 0.9)],
            [(0.1 * i, 0.2 * i) for i in range(5)],
            [(0.3, 0.1 * i + 1e-17) for i in range(6)],
            [(0.4, 0.4)] * 5,
        ],
    )
    def test_without_triangles_the_graph_is_zero(self, points):
        row = structure.describe_structure(objects_at(points))
        assert row[0] == len(points)
        assert row[1:31] == [0] * 30
        assert row[37:] == [0, 0]
        within = [sum(math.dist(a, b) <= 0.1 for b in points) - 1 for a in points] or [0]
        assert row[33] == pytest.approx(np.mean(within))

    @pytest.mark.filterwarnings("error")
    def test_any_points_give_finite_numbers(self):
        rng = np.random.default_rng(0)
        for _ in range(300):
            count = rng.integers(4, 9)
            points = np.round(rng.random((count, 2)) * 3) / 3  # equal points, many on one circle
            points += rng.normal(size=2) * 10.0 ** rng.uniform(-17, -3)
            numbers = structure.describe_structure(objects_at(points))
            assert len(numbers) == 39
            assert np.isfinite(numbers).all()


class TestNoise:
    def images(self, count):
        return [noise(i, 1, 16, 16) for i in range(count)]

    def test_gaussian_is_standard_normal_and_independent(self):
        rows = encode("gaussian", self.images(200))
        assert rows.shape == (200, 192)
        # 38 400 draws: 5 standard errors of mean, sd and fourth moment.
        assert rows.mean() == pytest.approx(0, abs=0.026)
        assert rows.std() == pytest.approx(1, abs=0.018)
        assert (rows**4).mean() == pytest.approx(3, abs=0.25)
        among = np.corrcoef(rows)[np.triu_indices(200, 1)]
        assert np.abs(among).max() < 6 / math.sqrt(192)

    def test_constant_is_constant_but_for_its_noise(self):
        rows = encode("constant", self.images(50)).astype(np.float64)
        assert np.abs(rows - 1).max() < 1e-5
        assert len(np.unique(rows, axis=0)) == 50
        assert (rows - 1).std() == pytest.approx(1e-6, rel=0.05)  # 9 600 draws, float32 steps

    @pytest.mark.parametrize("name", ["constant", "gaussian"])
    def test_seed_and_content_decide(self, name):
        image = noise(0, 2, 16, 16)
        other = image.copy()
        other[1, 3, 3] += 1e-6
        folded = image.reshape(1, 32, 16)  # the same bytes
        draw = {
            (seed, what): zoo.load(name, seed=seed).encode([i], preprocess=False).embedding.numpy()
            for seed in (0, 1)
            for what, i in (("image", image), ("other", other), ("folded", folded))
        }
        again = zoo.load(name, seed=0).encode([image.copy()], preprocess=False).embedding.numpy()
        assert np.array_equal(again, draw[0, "image"])
        for a, b in itertools.combinations(draw.values(), 2):
            assert not np.array_equal(a, b)

    def test_draws_leave_the_global_generators_alone(self):
        torch.manual_seed(3)
        before = torch.get_rng_state()
        encode("gaussian", self.images(2))
        assert torch.equal(torch.get_rng_state(), before)
