"""Objects from given masks and from stained tissue, and who neighbours whom, by counting."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture
from scipy import stats
from scipy.spatial import Delaunay
from skimage.measure import regionprops
from zoo.plugins.controls import object_structure as structure
from zoo.plugins.controls.segmentation import (
    Objects,
    colour_channels,
    find_objects,
    haematoxylin,
    segment,
)

import zoo
from zoo import errors

SIDE = 96
TYPED = "cell-structure-typed"
STRUCTURE = zoo.plugin.get_spec("cell-structure").embedding_size


def blobs(centres, radius=6, side=SIDE):
    """A mask of numbered discs; later ones lie on top."""
    rows, columns = np.indices((side, side))
    mask = np.zeros((side, side), np.int32)
    for k, (row, column) in enumerate(centres, 1):
        mask[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = k
    return mask


def grid(count=4, step=22):
    return [(15 + step * i, 15 + step * j) for i in range(count) for j in range(count)]


def grey(seed=0, side=SIDE):
    return np.random.default_rng(seed).random((1, side, side), dtype=np.float32)


def encode(name, images, **arguments):
    encoder = zoo.load(name)
    return encoder.encode(images, preprocess=False, **arguments).embedding.numpy()


class TestGivenMasks:
    def test_against_regionprops(self):
        mask = blobs([(20, 30), (24, 38), (70, 60)])  # the first two touch
        found = find_objects(grey(), mask=mask)
        regions = regionprops(mask)
        assert len(found) == len(regions) == 3
        centres = [(np.array(r.centroid) + 0.5) / SIDE for r in regions]
        assert found.points == pytest.approx(np.array(centres))
        assert found.areas == pytest.approx([r.area / SIDE**2 for r in regions])
        assert found.extent == (1, 1)
        assert found.types is None

    def test_numbers_may_have_gaps_and_be_large(self):
        mask = blobs(grid()).astype(np.int64)
        before = find_objects(grey(), mask=mask)
        sparse = np.array([0, *(10**12 + 7 * k for k in range(16))])[mask]
        after = find_objects(grey(), mask=sparse)
        assert np.array_equal(before.points, after.points)
        assert np.array_equal(before.areas, after.areas)

    def test_types_follow_their_numbers_also_where_objects_are_gone(self):
        mask = blobs(grid())
        types = np.arange(16) % 3
        mask[np.isin(mask, [1, 6, 16])] = 0
        found = find_objects(grey(), mask=mask, types=types)
        assert found.types.tolist() == [k % 3 for k in range(16) if k not in (0, 5, 15)]

    def test_single_pixels_and_parts_are_objects_as_they_are_given(self):
        mask = np.zeros((SIDE, SIDE), int)
        mask[3, 3] = 1
        mask[10, 10] = mask[90, 20] = 2
        found = find_objects(grey(), mask=mask)
        assert found.areas.tolist() == [1 / SIDE**2, 2 / SIDE**2]
        assert found.points[1] == pytest.approx([50.5 / SIDE, 15.5 / SIDE])

    @pytest.mark.parametrize("name", ["object-density", "cell-structure"])
    def test_the_mask_decides_and_no_pixel(self, name):
        masks = [blobs(grid()), blobs(grid(3))]
        first = encode(name, [grey(0), grey(1)], masks=masks)
        other = encode(name, [grey(2), 0 * grey(3)], masks=masks)
        assert np.array_equal(first, other)
        assert first[:, 0].tolist() == [16, 9]

    @pytest.mark.parametrize("name", ["object-density", "cell-structure"])
    def test_without_a_mask_the_threshold_does_beside_others_with_one(self, name):
        image = (blobs(grid(2)) > 0).astype(np.float32)[None]
        mixed = encode(name, [image, image], masks=[blobs(grid()), None])
        assert mixed[:, 0].tolist() == [16, 4]
        assert np.array_equal(mixed[1:], encode(name, [image]))

    @pytest.mark.parametrize("name", ["object-density", "cell-structure"])
    def test_an_empty_mask_holds_nothing_whatever_the_pixels(self, name):
        bright = (blobs(grid()) > 0).astype(np.float32)[None]
        empty = encode(name, [bright], masks=[np.zeros((SIDE, SIDE), int)])
        assert np.array_equal(empty, encode(name, [0 * bright]))

    def test_masks_are_resized_and_cropped_with_their_image(self):
        mask = blobs([(2 * y, 2 * x) for y, x in grid()], 12, 192)
        pixels = (mask > 0).astype(np.uint8)[None] * 200
        record = zoo.Preprocessing(resize=SIDE, crop=80)
        encoder = zoo.load("object-density", preprocessing=record)
        given = encoder.encode([pixels], masks=[mask]).embedding[0].numpy()
        found = encoder.encode([pixels]).embedding[0].numpy()
        assert given[0] == found[0] == 16
        assert given[1:16] == pytest.approx(found[1:16], rel=0.1, abs=3e-3)  # edges, a pixel


def naive_types(points, types, kinds):
    """Counts over Delaunay edges; expectations by dealing the types out in every way there is."""
    n = len(points)
    edges = {
        tuple(sorted(e)) for t in Delaunay(points).simplices for e in itertools.combinations(t, 2)
    }
    pairs = [(a, b) for a in range(kinds) for b in range(a, kinds)]

    def shares(dealt):
        counts = dict.fromkeys(pairs, 0)
        for i, j in edges:
            counts[tuple(sorted((dealt[i], dealt[j])))] += 1 / len(edges)
        return np.array(list(counts.values()))

    deals = set(itertools.permutations(types))
    excess = shares(types) - sum(shares(d) for d in deals) / len(deals)
    entropies, alike = [], []
    for i in range(n):
        near = [types[b if a == i else a] for a, b in edges if i in (a, b)]
        ps = [near.count(k) / len(near) for k in set(near)]
        entropies.append(-sum(p * math.log(p) for p in ps) / math.log(kinds))
        nearest = min(
            (j for j in range(n) if j != i), key=lambda j: math.dist(points[i], points[j])
        )
        alike.append(types[nearest] == types[i])
    return [
        *(types.count(k) / n for k in range(kinds)),
        *excess,
        sum(entropies) / n,
        sum(alike) / n,
    ]


def typed(points, types):
    points = np.asarray(points, float).reshape(-1, 2)
    return Objects(points, np.full(len(points), 0.01), (1.0, 1.0), np.asarray(types, np.int64))


class TestTypes:
    @pytest.mark.parametrize("types", [(0, 0, 1, 1, 2, 0, 3), (3, 3, 3, 1, 1, 1, 1)])
    def test_against_every_way_to_deal_the_types(self, types):
        points = np.random.default_rng(len(set(types))).random((7, 2))
        found = structure.describe_types(typed(points, types), 4)
        assert found == pytest.approx(naive_types(points.tolist(), types, 4), abs=1e-12)

    def test_columns_say_what_the_numbers_are(self):
        points = np.random.default_rng(0).random((60, 2))
        types = (points[:, 0] > 0.5).astype(int) * 2  # 0 on one side, 2 on the other
        names = zoo.plugin.get_spec(TYPED).columns[STRUCTURE:]
        found = dict(zip(names, structure.describe_types(typed(points, types), 4), strict=True))
        assert found["share of type 0"] + found["share of type 2"] == 1
        assert found["share of type 1"] == found["share of type 3"] == 0
        assert found["edges 0-0 beyond chance"] > 0.15
        assert found["edges 2-2 beyond chance"] > 0.15
        assert found["edges 0-2 beyond chance"] < -0.3
        assert found["edges 1-3 beyond chance"] == 0
        assert found["nearest is alike"] > 0.85
        assert found["entropy of neighbours"] < 0.2

    def test_independent_types_are_at_chance(self):
        rng = np.random.default_rng(1)
        rows = [
            structure.describe_types(typed(rng.random((200, 2)), rng.integers(0, 4, 200)), 4)
            for _ in range(30)
        ]
        found = np.mean(rows, axis=0)
        assert found[:4] == pytest.approx([0.25] * 4, abs=0.03)  # 5 standard errors
        assert found[4:14] == pytest.approx(np.zeros(10), abs=0.01)  # the same
        assert found[15] == pytest.approx(0.25, abs=0.04)

    def test_a_chessboard_has_no_neighbour_of_its_kind(self):
        board = [(i / 10 + 0.05, j / 13 + 0.02) for i in range(8) for j in range(8)]
        types = [(i + j) % 2 for i in range(8) for j in range(8)]
        found = structure.describe_types(typed(board, types), 2)
        assert found[:2] == [0.5, 0.5]
        assert found[3] > 0.1  # edges between the types; diagonals join equal ones
        assert found[-1] == 0

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
    def test_few_objects_or_objects_on_one_line_have_shares_only(self, count):
        points = [(0.1 * i, 0.15 * i) for i in range(count)]
        found = structure.describe_types(typed(points, [1] * count), 4)
        assert found[:4] == ([0, 1, 0, 0] if count else [0] * 4)
        assert found[4:15] == [0] * 11
        assert found[15] == (count > 1)

    def test_one_type_is_no_neighbourhood(self):
        points = np.random.default_rng(2).random((30, 2))
        found = structure.describe_types(typed(points, [2] * 30), 4)
        assert found == pytest.approx([0, 0, 1, 0, *[0] * 10, 0, 1], abs=1e-12)
        assert structure.describe_types(typed(points, [0] * 30), 1) == pytest.approx([1, 0, 0, 1])

    def test_objects_at_one_place_are_each_others_nearest(self):
        points = [(0.2, 0.2), (0.2, 0.2), (0.8, 0.8), (0.8, 0.8)]
        assert structure.describe_types(typed(points, [0, 1, 0, 1]), 2)[-1] == 0
        assert structure.describe_types(typed(points, [0, 0, 1, 1]), 2)[-1] == 1


class TestTypedEncoder:
    types = np.arange(16) % 4

    def test_is_the_structure_and_then_the_types(self):
        mask = blobs(grid())
        row = encode(TYPED, [grey()], masks=[mask], types=[self.types])[0]
        plain = encode("cell-structure", [grey()], masks=[mask])[0]
        objects = find_objects(grey(), mask=mask, types=self.types)
        assert np.array_equal(row[:STRUCTURE], plain)
        expected = structure.describe_types(objects, 4)
        assert row[STRUCTURE:] == pytest.approx(expected, rel=1e-6)  # float32 of the result

    def test_is_as_long_whatever_types_an_image_has(self):
        rows = encode(
            TYPED,
            [grey(s) for s in range(4)],
            masks=[blobs(grid()), blobs(grid()), blobs(grid(1)), np.zeros((SIDE, SIDE), int)],
            types=[self.types, [2] * 16, [1], []],
        )
        assert rows.shape == (4, zoo.plugin.get_spec(TYPED).embedding_size)
        assert np.isfinite(rows).all()
        assert not rows[3, STRUCTURE:].any()

    def test_images_without_types_are_refused_in_one_sentence(self):
        for arguments in ({}, {"masks": [blobs(grid()), blobs(grid())]}):
            with pytest.raises(errors.ImageError, match=rf"^image 0 has no object types.* {TYPED}"):
                encode(TYPED, [grey(), grey()], **arguments)
        encoder = zoo.load(TYPED)
        with pytest.raises(errors.ImageError, match=r"^well B07 has no object types"):
            encoder.check(grey(), "well B07", mask=blobs(grid()))
        encoder.check(grey(), "well B07", mask=blobs(grid()), types=self.types)

    def test_types_beyond_the_record_are_refused(self):
        masks = [blobs(grid())] * 2
        with pytest.raises(errors.ImageError, match=r"^image 1 has an object of type 4.* 0 to 3"):
            encode(TYPED, [grey(), grey()], masks=masks, types=[self.types, self.types + 1])


@pytest.mark.parametrize(
    ("stains", "places"),
    [
        (("red", "green", "blue"), [0, 1, 2]),
        (("Red", "GREEN", "Blue "), [0, 1, 2]),
        (("R", "G", "B"), [0, 1, 2]),
        (("b", "g", "r"), [2, 1, 0]),
        (("red", "green"), None),
        (("red", "green", "blue", "DNA"), None),
        (("red", "red", "blue"), None),
        (("R", "green", "blue"), None),
        (("GFP", "RFP", "DNA"), None),
        (None, None),
    ],
)
def test_colours_are_known_by_name_only(stains, places):
    assert colour_channels(stains) == places


RGB = ("red", "green", "blue")
STAINED = np.array([[0.45, 0.35, 0.65], [0.93, 0.6, 0.78]])  # haematoxylin and eosin in the light


def slide(centres, radius=6, side=SIDE, nuclei=1.0):
    """Violet nuclei on pink tissue with a white hole."""
    rows, columns = np.indices((side, side))
    rgb = np.ones((3, side, side)) * STAINED[1][:, None, None]
    rgb[:, side - 20 :, side - 20 :] = 0.97
    for row, column in centres:
        inside = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        rgb[:, inside] *= (STAINED[0] ** nuclei)[:, None]
    return rgb.astype(np.float32)


class TestTissue:
    def test_nuclei_of_a_slide_are_found_and_pink_and_white_are_not(self):
        found = find_objects(slide(grid(3)), RGB)
        assert len(found) == 9
        expected = np.array(sorted(((y + 0.5) / SIDE, (x + 0.5) / SIDE) for y, x in grid(3)))
        assert found.points[np.lexsort(found.points.T[::-1])] == pytest.approx(expected, abs=0.005)

    def test_colours_in_another_order_give_the_same(self):
        image = slide(grid(3))
        before, after = find_objects(image, RGB), find_objects(image[::-1], RGB[::-1])
        assert np.array_equal(before.points, after.points)

    def test_without_their_names_the_bright_parts_are_objects(self):
        image = slide(grid(3))
        assert len(find_objects(image)) != 9
        rows = zoo.load("object-density").encode([image] * 2, stains=[RGB, None], preprocess=False)
        assert rows.embedding[0, 0] == 9
        assert rows.embedding[1, 0] != 9

    def test_haematoxylin_is_where_nuclei_are_whatever_the_eosin(self):
        density = haematoxylin(slide(grid(3)))
        rows, columns = np.indices((SIDE, SIDE))
        nuclei = np.zeros((SIDE, SIDE), bool)
        for y, x in grid(3):
            nuclei |= (rows - y) ** 2 + (columns - x) ** 2 <= 36
        assert density[nuclei].min() > density[~nuclei].max() + 0.01

    def test_colours_beyond_0_and_1_are_brought_there(self):
        image = slide(grid(3))
        assert len(find_objects(5 * image - 2, RGB)) == 9

    @pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1.0])
    def test_an_even_slide_holds_nothing(self, value):
        image = np.full((3, 64, 64), value, np.float32)
        image[1] *= 0.7
        assert not segment(image, RGB).any()
        for name in ("object-density", "cell-structure"):
            row = zoo.load(name).encode([image], stains=[RGB], preprocess=False).embedding
            assert row[0, 0] == 0
            assert row.isfinite().all()

    def test_black_pixels_are_as_dark_as_can_be_and_no_darker(self):
        image = slide(grid(3))
        image[:, 40, 80] = 0
        assert len(find_objects(image, RGB)) == 9


def read(path):
    return np.ascontiguousarray(np.moveaxis(np.asarray(Picture.open(path).convert("RGB")), -1, 0))


def test_counts_in_annotated_stained_sections(real_data):
    if not (real_data / "dsb2018").is_dir():
        pytest.skip("no dsb2018 beside the other images")
    table = pd.read_csv(real_data / "dsb2018" / "labels.csv")
    table = table[table["modality"] == "brightfield_stained_rgb"]
    images = [read(real_data / "dsb2018" / p) for p in table["image"]]
    masks = [np.asarray(Picture.open(real_data / "dsb2018" / p)).astype(int) for p in table["mask"]]
    encoder = zoo.load("object-density")
    given = encoder.encode(images, masks=masks).embedding.numpy()
    found = encoder.encode(images, stains=[RGB] * len(images)).embedding.numpy()
    # A threshold is no annotator, yet sections rank alike and counts are right within a third.
    assert stats.spearmanr(found[:, 0], given[:, 0])[0] > 0.75
    assert stats.spearmanr(found[:, 1], given[:, 1])[0] > 0.75
    assert 0.67 < np.median((found[:, 0] + 1) / (given[:, 0] + 1)) < 1.5


def test_counts_in_classes_of_tissue(real_data):
    if not (real_data / "he_crcval").is_dir():
        pytest.skip("no he_crcval beside the other images")
    paths = sorted((real_data / "he_crcval").glob("*.png"))
    rows = zoo.load("object-density").encode([read(p) for p in paths], stains=[RGB] * len(paths))
    counts = pd.Series(rows.embedding[:, 0].numpy(), [p.name.split("-")[0] for p in paths])
    median = counts.groupby(level=0).median()
    # 112 µm squares: fat is almost empty, a lymph node is packed, mucosa lies between.
    assert median["ADI"] < 40
    assert 60 < median["NORM"] < 150
    assert 120 < median["LYM"] < 400
    assert counts.max() < 500
