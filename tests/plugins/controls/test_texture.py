"""Texture against plain loops over pixels, and against planes whose texture is known."""

import cmath
import itertools
import math

import numpy as np
import pytest
import torch
from zoo.plugins.controls import texture

import zoo

COLUMNS = zoo.plugin.get_spec("texture-mean").columns


def noise(seed, *shape):
    return np.random.default_rng(seed).random(shape)


def steps(seed, *shape):
    """Blocks of a few grey levels beside noise: ties, edges and everything between."""
    rng = np.random.default_rng(seed)
    plane = rng.integers(0, 4, shape).repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]] / 3
    plane[:, ::2] += 0.2 * rng.random((shape[0], (shape[1] + 1) // 2))
    return plane


def grey(plane):
    return np.round(texture.to_unit(plane) * 255).astype(np.uint8)


class TestUnit:
    def test_percentiles_go_to_0_and_1(self):
        plane = np.arange(1001.0).reshape(7, 143) * 3 - 50  # percentile 0.1 is the second value
        unit = texture.to_unit(plane)
        assert unit.ravel()[[0, 1, 500, 999, 1000]] == pytest.approx([0, 0, 499 / 998, 1, 1])

    def test_few_bright_pixels_are_kept(self):
        plane = np.zeros((100, 100))
        plane[3, 4] = 7
        assert texture.to_unit(plane).sum() == 1

    @pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e30])
    def test_constant_planes_are_black(self, value):
        assert not texture.to_unit(np.full((9, 9), value)).any()


def naive_haralick(levels, dy, dx):
    """f1 to f13 as printed in Haralick et al. (1973), from lists of pairs."""
    height, width = levels.shape
    pairs = {}
    for y, x in itertools.product(range(height), range(width)):
        if 0 <= y + dy < height and 0 <= x + dx < width:
            a, b = int(levels[y, x]), int(levels[y + dy, x + dx])
            for pair in ((a, b), (b, a)):
                pairs[pair] = pairs.get(pair, 0) + 1
    total = sum(pairs.values())
    p = {pair: n / total for pair, n in pairs.items()}
    px, sums, differences = {}, {}, {}
    for (i, j), q in p.items():
        px[i] = px.get(i, 0) + q
        sums[i + j] = sums.get(i + j, 0) + q
        differences[abs(i - j)] = differences.get(abs(i - j), 0) + q
    mean = sum(i * q for i, q in px.items())
    variance = sum((i - mean) ** 2 * q for i, q in px.items())
    f6 = sum(k * q for k, q in sums.items())
    centre = sum(k * q for k, q in differences.items())

    def bits(q):
        return -sum(v * math.log2(v) for v in q.values())

    hxy, hx = bits(p), bits(px)
    hxy1 = -sum(q * math.log2(px[i] * px[j]) for (i, j), q in p.items())
    hxy2 = -sum(
        px[i] * px[j] * math.log2(px[i] * px[j]) for i, j in itertools.product(px, repeat=2)
    )
    return [
        sum(q * q for q in p.values()),
        sum((i - j) ** 2 * q for (i, j), q in p.items()),
        sum((i - mean) * (j - mean) * q for (i, j), q in p.items()) / variance if variance else 0,
        variance,
        sum(q / (1 + (i - j) ** 2) for (i, j), q in p.items()),
        f6,
        sum((k - f6) ** 2 * q for k, q in sums.items()),
        bits(sums),
        hxy,
        sum((k - centre) ** 2 * q for k, q in differences.items()),
        bits(differences),
        (hxy - hxy1) / hx if hx else 0,
        math.sqrt(max(0, 1 - math.exp(-2 * (hxy2 - hxy) * math.log(2)))),
    ]


class TestHaralick:
    @pytest.mark.parametrize("plane", [steps(0, 20, 17), noise(1, 15, 22), np.zeros((9, 9))])
    def test_against_lists_of_pairs(self, plane):
        pixels = grey(plane)
        expected = []
        for d in (1, 4):
            ways = [(0, d), (-d, d), (-d, 0), (-d, -d)]
            if d == 4:  # the nearest pixel 4 away at 45 degrees is 3 rows and 3 columns off
                ways = [(0, 4), (-3, 3), (-4, 0), (-3, -3)]
            each = [naive_haralick(pixels // 8, dy, dx) for dy, dx in ways]
            expected += np.mean(each, axis=0).tolist()
        # Sums in another order, and the root of a difference of entropies near 0.
        assert texture.haralick(pixels) == pytest.approx(expected, rel=1e-9, abs=1e-7)

    def test_noise_is_uncorrelated_and_a_ramp_is_not(self):
        found = dict(zip(COLUMNS, texture.haralick(grey(noise(0, 224, 224))), strict=False))
        assert found["correlation, distance 1"] == pytest.approx(0, abs=0.02)  # 5 / 224
        assert found["entropy, distance 1"] == pytest.approx(10, abs=0.1)  # 2 · log2(32)
        ramp = np.add.outer(np.arange(64.0), np.zeros(64))
        found = dict(zip(COLUMNS, texture.haralick(grey(ramp)), strict=False))
        assert found["correlation, distance 1"] > 0.99

    def test_a_chessboard_of_single_pixels(self):
        board = np.indices((32, 32)).sum(0) % 2
        found = dict(zip(COLUMNS, texture.haralick(grey(board)), strict=False))
        # Two of four directions change between 0 and 31, the diagonals never do.
        assert found["contrast, distance 1"] == pytest.approx(31**2 / 2)
        assert found["correlation, distance 1"] == pytest.approx(0, abs=1e-3)
        assert found["entropy, distance 1"] == pytest.approx(1, abs=1e-3)


def naive_patterns(pixels, points, radius):
    """Uniform patterns point by point, bilinear between pixels, 0 beyond the edge."""
    height, width = pixels.shape

    def at(y, x):
        inside = 0 <= y < height and 0 <= x < width
        return float(pixels[y, x]) if inside else 0.0

    counts = [0] * (points + 2)
    for y, x in itertools.product(range(height), range(width)):
        signs = []
        for k in range(points):
            angle = 2 * math.pi * k / points
            r, c = y - radius * math.sin(angle), x + radius * math.cos(angle)
            r, c = round(r, 5), round(c, 5)
            top, left = math.floor(r), math.floor(c)
            b, a = r - top, c - left
            value = (
                at(top, left) * (1 - b) * (1 - a)
                + at(top, left + 1) * (1 - b) * a
                + at(top + 1, left) * b * (1 - a)
                + at(top + 1, left + 1) * b * a
            )
            signs.append(value >= pixels[y, x])
        changes = sum(a != b for a, b in zip(signs, signs[1:] + signs[:1], strict=True))
        counts[sum(signs) if changes <= 2 else points + 1] += 1
    return np.array(counts) / pixels.size


class TestBinaryPatterns:
    def test_against_points_on_a_circle(self):
        pixels = grey(noise(3, 21, 18))
        expected = np.concatenate([naive_patterns(pixels, 8, 1), naive_patterns(pixels, 8, 3)])
        assert texture.binary_patterns(pixels) == pytest.approx(expected, abs=1e-12)

    def test_a_lone_bright_pixel_is_darker_nowhere(self):
        pixels = np.zeros((20, 20), np.uint8)
        pixels[10, 10] = 255
        found = texture.binary_patterns(pixels)
        assert found[0] == 1 / 400  # no point is as bright as the centre
        assert found[8] == 399 / 400  # none is darker than 0

    def test_noise_is_at_chance(self):
        patches = np.random.default_rng(0).random((50_000, 3, 3))
        far, near = math.sqrt(0.5), 1 - math.sqrt(0.5)  # bilinear weights on a diagonal
        signs = []
        for dy, dx in ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)):
            value = patches[:, 1 + dy, 1 + dx]
            if dy and dx:
                sides = patches[:, 1 + dy, 1] + patches[:, 1, 1 + dx]
                value = far**2 * value + far * near * sides + near**2 * patches[:, 1, 1]
            signs.append(value >= patches[:, 1, 1])
        brighter = np.sum(signs, axis=0)
        changes = np.sum(np.array(signs) != np.roll(signs, 1, axis=0), axis=0)
        chance = np.bincount(np.where(changes <= 2, brighter, 9), minlength=10) / 50_000
        found = texture.binary_patterns(grey(noise(0, 224, 224)))[:10]
        # 5 standard errors of two samples of 50 000, and the edge, 2 % of the pixels.
        assert found == pytest.approx(chance, abs=0.02)


def naive_granularity(unit):
    """Reconstruction under the whole plane by repeated dilation, not under the last opening."""
    height, width = unit.shape[0] // 2, unit.shape[1] // 2
    small = [
        [sum(unit[2 * y + b, 2 * x + a] for a in (0, 1) for b in (0, 1)) / 4 for x in range(width)]
        for y in range(height)
    ]

    def cross(plane, pick):
        return [
            [
                pick(
                    plane[v][u]
                    for v, u in ((y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
                    if 0 <= v < height and 0 <= u < width
                )
                for x in range(width)
            ]
            for y in range(height)
        ]

    def mean(plane):
        return sum(map(sum, plane)) / (height * width)

    means, eroded = [mean(small)], small
    for radius in range(1, 13):
        eroded = cross(eroded, min)
        if radius in (1, 2, 3, 5, 8, 12):
            opened, before = eroded, None
            while opened != before:
                before = opened
                grown = cross(opened, max)
                opened = [
                    [min(g, s) for g, s in zip(*rows, strict=True)]
                    for rows in zip(grown, small, strict=True)
                ]
            means.append(mean(opened))
    return [(a - b) / means[0] for a, b in itertools.pairwise(means)]


class TestGranularity:
    @pytest.mark.parametrize("plane", [noise(0, 24, 31), steps(1, 33, 22)])
    def test_against_repeated_dilation(self, plane):
        unit = texture.to_unit(plane)
        expected = naive_granularity(unit)
        assert texture.granularity(unit) == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize(("side", "place"), [(2, 0), (6, 1), (10, 2), (18, 3), (30, 4)])
    def test_squares_go_with_the_opening_that_is_too_wide(self, side, place):
        # A cross of radius r, 2 r + 1 across, fits into squares of side / 2 pixels up to r.
        unit = np.zeros((224, 224))
        for y, x in itertools.product(range(20, 180, 60), repeat=2):
            unit[y : y + side, x : x + side] = 1
        expected = np.zeros(6)
        expected[place] = 1
        assert texture.granularity(unit) == pytest.approx(expected, abs=1e-12)

    def test_shares_add_up_to_what_is_gone(self):
        unit = texture.to_unit(noise(5, 64, 64))
        found = texture.granularity(unit)
        assert (found >= 0).all()
        assert 0.5 < found.sum() <= 1

    @pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 3), (5, 1)])
    def test_the_smallest_planes(self, shape):
        assert np.isfinite(texture.granularity(np.ones(shape))).all()
        assert not texture.granularity(np.zeros(shape)).any()


class TestPower:
    def test_against_a_sum_over_pixels(self):
        unit = steps(2, 12, 16)
        rows = [0.5 - 0.5 * math.cos(2 * math.pi * (y + 1) / 13) for y in range(12)]
        columns = [0.5 - 0.5 * math.cos(2 * math.pi * (x + 1) / 17) for x in range(16)]
        window = {(y, x): rows[y] * columns[x] for y in range(12) for x in range(16)}
        mean = sum(unit[at] * w for at, w in window.items()) / sum(window.values())
        rings, every = {}, []
        for v, u in itertools.product(range(12), range(16)):
            fy, fx = (v if v <= 6 else v - 12) / 12, (u if u <= 8 else u - 16) / 16
            if (v, u) == (0, 0):
                continue
            total = sum(
                (unit[y, x] - mean) * w * cmath.exp(-2j * math.pi * (fy * y + fx * x))
                for (y, x), w in window.items()
            )
            every.append(abs(total) ** 2)
            f = math.hypot(fy, fx)
            if f <= 0.5:
                rings.setdefault(math.floor(-2 * math.log2(2 * f) + 1e-9), []).append(every[-1])
        expected = [0.0] * 12
        for ring, powers in rings.items():
            if ring < 12:
                share = sum(powers) / len(powers) / (sum(every) / len(every))
                expected[11 - ring] = math.log10(max(share, 1e-6))
        assert texture.power(unit) == pytest.approx(expected, abs=1e-9)  # sums in another order

    @pytest.mark.parametrize("ring", range(8))
    def test_a_wave_is_in_its_ring(self, ring):
        frequency = 0.5 * 2 ** (-ring / 2) / 1.19  # in the middle of its ring
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * frequency * np.indices((224, 224))[1])
        found = texture.power(wave)
        assert found.argmax() == 11 - ring
        assert np.delete(found, 11 - ring).max() < found.max() - 0.5

    def test_white_noise_is_flat(self):
        found = np.mean([texture.power(noise(s, 128, 128)) for s in range(20)], axis=0)
        # Powers are exponential: the finest rings average thousands, the coarsest a few, which the
        # window makes fewer, and the logarithm of a mean of few lies below that of the mean.
        assert found[9:] == pytest.approx(np.zeros(3), abs=0.02)
        assert found[4:] == pytest.approx(np.zeros(8), abs=0.08)
        assert np.abs(found).max() < 0.5

    def test_what_is_not_there_is_0(self):
        assert not texture.power(np.zeros((64, 64))).any()
        assert not texture.power(np.ones((1, 1))).any()
        assert texture.power(noise(0, 16, 16))[0] == 0  # 0.011 cycles a pixel is 1 in 90


@pytest.mark.parametrize(("gain", "offset"), [(4, 0), (0.25, 0), (2, 7), (3.7, -0.3), (1e-4, 5)])
def test_gain_and_offset_change_nothing(gain, offset):
    plane = steps(4, 64, 60) + 0.1 * noise(5, 64, 60)
    before, after = texture.describe_plane(plane), texture.describe_plane(gain * plane + offset)
    # Rounding may carry a pixel over the edge between two grey levels: one in 3 840 by 1 level.
    assert after == pytest.approx(before, rel=2e-3, abs=2e-3)


def test_turning_by_a_quarter_changes_nothing():
    plane = noise(6, 64, 48)
    before, after = (texture.describe_plane(p) for p in (plane, np.rot90(plane)))
    # Points on a circle are interpolated: a tie may fall to the other side.
    assert after == pytest.approx(before, rel=1e-9, abs=1e-3)


def test_coarse_and_fine_textures_of_one_histogram_are_told_apart():
    fine = np.random.default_rng(0).permutation(np.repeat([0.0, 1.0], 64 * 64 // 2)).reshape(64, 64)
    coarse = fine[:16, :16].repeat(4, 0).repeat(4, 1)
    first, second = (dict(zip(COLUMNS, texture.describe_plane(p), strict=True))
                     for p in (fine, coarse))  # fmt: skip
    assert first["contrast, distance 1"] > 2 * second["contrast, distance 1"]
    assert first["granules up to 1"] > second["granules up to 1"]
    finest = "power up to 0.5000 / pixel"
    assert first[finest] == pytest.approx(0, abs=0.1)
    assert second[finest] < -0.5


class TestEncoder:
    images = (noise(0, 2, 32, 40).astype(np.float32), noise(1, 2, 32, 40).astype(np.float32))

    def test_joined_is_channel_by_channel(self):
        row = zoo.load("texture").encode([self.images[0]], preprocess=False).embedding[0]
        expected = np.concatenate([texture.describe_plane(p) for p in self.images[0]])
        assert row.numpy() == pytest.approx(expected, rel=1e-6)  # float32 of the result

    def test_mean_over_channels_of_any_number(self):
        images = [self.images[0], self.images[1][:1]]
        found = zoo.load("texture-mean").encode(images, preprocess=False, channels=True)
        each = [[texture.describe_plane(p) for p in image] for image in images]
        expected = np.stack([np.mean(e, axis=0) for e in each])
        np.testing.assert_allclose(found.embedding, expected, rtol=1e-6)  # float32 of the result
        np.testing.assert_allclose(found.channels, np.concatenate(each), rtol=1e-6)
        assert found.embedding.dtype == torch.float32
