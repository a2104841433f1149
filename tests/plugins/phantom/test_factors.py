"""Every planted factor, measured on images by other means: what it moves and what it must not."""

import functools

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_laplace
from scipy.spatial import Delaunay
from skimage.measure import regionprops
from zoo.plugins.phantom import FACTORS, Dials, make
from zoo.plugins.phantom.cells import draw_cells, grow_cells, scatter
from zoo.plugins.phantom.geometry import Cells
from zoo.plugins.phantom.optics import Plate, light_field
from zoo.plugins.phantom.tissue import assign_types
from zoo.registry import registry

SPEC = registry().dataset("phantom")
FIELDS = 8
OFF = dict.fromkeys(FACTORS, 0.0)


@functools.cache
def fields(factor=None, level=0.0, **changes):
    """Images of one plate where one factor has a level and all else is equal, cells included."""
    held = {"fixed": {factor: level}}
    if factor is None:
        held = {}
    elif factor == "position":
        held = {"wells": {factor: level}}
    elif factor == "arrangement":
        held = {"fixed": {factor: level, "mixture": 0.5}}
    dials = Dials(**held, plates_count=1, doses=1, replicates=FIELDS, **changes)
    dataset = make(SPEC, dials)
    return [dataset[i] for i in range(FIELDS)]


def tissue(level):
    return fields("arrangement", level, tissue=True, channels=3, cells=90)


def light(images, background=100.0):
    """Counts above background, `(n, C, H, W)`; the camera rounds down by half a count."""
    return np.stack([image.pixels for image in images]) + 0.5 - background


def totals(images):
    return light(images).sum(axis=(0, 2, 3))


def counts(images):
    return np.array([len(image.types) for image in images])


def whole_nuclei(images):
    """Nuclei that the border does not cut and no neighbour covers."""
    for image in images:
        for region in regionprops(image.mask):
            top, left, bottom, right = region.bbox
            if top > 0 and left > 0 and max(bottom, right) < image.mask.shape[0]:
                yield region


def nuclear_share(images):
    protein = light(images)[:, 1]
    nuclei = np.stack([image.mask > 0 for image in images])
    return protein[nuclei].sum() / protein.sum()


def granule_size(images):
    """How much nearer protein is to that 1.3 µm aside than to that 3.9 µm aside, around nuclei.

    A variogram: the mean squared difference reaches its full height beyond the size of granules.
    """
    height = []
    for step in (2, 6):
        differences = []
        for image in images:
            protein = np.log(image.pixels[1].astype(float))
            nuclei = image.mask > 0
            around = binary_dilation(nuclei, iterations=9) & ~binary_dilation(nuclei, iterations=3)
            both = around[:, :-step] & around[:, step:]
            differences.append((protein[:, :-step] - protein[:, step:])[both])
        height.append(np.mean(np.square(np.concatenate(differences))))
    return 1 - height[0] / height[1]


def elongation(images):
    ratios = [r.axis_major_length / r.axis_minor_length for r in whole_nuclei(images)]
    return np.mean(ratios)


def small_share(images):
    """Share of nuclei with less than 0.82 of the area of a mean nucleus of type A."""
    areas = np.array([r.area for r in whole_nuclei(images)]) * 0.65**2
    return np.mean(areas < 0.82 * np.pi * 6.2**2)


def agreement(images):
    """Share of neighbours by Delaunay that are of one type."""
    same = []
    for image in images:
        points = np.array([region.centroid for region in regionprops(image.mask)])
        corners = Delaunay(points).simplices
        pairs = np.sort(corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        pairs = np.unique(pairs, axis=0)
        same.append(np.mean(image.types[pairs[:, 0]] == image.types[pairs[:, 1]]))
    return np.mean(same)


def sharpness(images):
    """Energy of the Laplacian of the DNA, smoothed by 1.5 pixels against noise."""
    planes = light(images)[:, 0]
    return np.mean([np.square(gaussian_laplace(p, 1.5)).mean() / p.var() for p in planes])


def darkness(images):
    """Level of the darkest tenth, far from any cell."""
    return np.mean([np.percentile(image.pixels, 10) for image in images])


def slope(images):
    """Rise of the light across the field, by a plane through the sums of 7 × 7 tiles.

    The same cells in even light are divided out.
    """
    lit, even = (light(i).sum(axis=(0, 1)) for i in (images, fields()))
    tiles = [plane.reshape(7, 32, 7, 32).sum(axis=(1, 3)).ravel() for plane in (lit, even)]
    y, x = (((at + 0.5) / 7 - 0.5).ravel() for at in np.indices((7, 7)))
    design = np.stack([np.ones(49), y, x], axis=1)
    # Weighed by what a tile holds.
    mean, down, right = np.linalg.lstsq(
        design * np.sqrt(tiles[1])[:, None], tiles[0] / np.sqrt(tiles[1]), rcond=None
    )[0]
    return np.hypot(down, right) / mean


MEASURES = {
    "translocation": nuclear_share,
    "texture": granule_size,
    "shape": elongation,
    "mixture": small_share,
    "arrangement": agreement,
    "intensity": lambda images: totals(images).sum(),
    "background": darkness,
    "density": lambda images: counts(images).mean(),
    "focus": lambda images: -sharpness(images),
    "illumination": slope,
    "position": lambda images: -counts(images).mean(),
}


@pytest.mark.parametrize("factor", FACTORS)
class TestEveryFactor:
    def test_rises_with_its_dial(self, factor):
        draw = tissue if factor == "arrangement" else functools.partial(fields, factor)
        found = [MEASURES[factor](draw(level)) for level in (0.0, 0.5, 1.0)]
        # Steps are many times what noise can do, as the cells are the same: the ends differ by
        # more than a tenth of the larger, and the middle lies between them.
        assert found[0] < found[1] < found[2]
        assert found[2] - found[0] > 0.1 * max(map(abs, found))

    def test_at_0_it_is_nowhere(self, factor):
        dials = {"plates_count": 1, "doses": 2, "replicates": 2}
        dials |= {"fixed": {"mixture": 0.5}} if factor != "mixture" else {}
        plain, dialled = Dials(**dials), Dials(**dials, rises={factor: 0.0})
        one, other = make(SPEC, plain), make(SPEC, dialled)
        assert all(np.array_equal(one[i].pixels, other[i].pixels) for i in range(4))
        # What is measured does not follow a dose either: equal cells, whatever the dose.
        doses = [make(SPEC, Dials(**dials, rises={factor: s})).metadata for s in (0.0, 1.0)]
        if factor != "position":
            assert doses[0][factor].nunique() == 1
            assert doses[1][factor].nunique() == 2


class TestValues:
    """What the record of a factor promises, in its own unit."""

    def test_translocation(self):
        # The blurred rim of nuclei and the cytoplasm of neighbours below them move the share.
        assert nuclear_share(fields("translocation", 0.0)) == pytest.approx(0.25, abs=0.06)
        assert nuclear_share(fields("translocation", 1.0)) == pytest.approx(0.70, abs=0.08)

    def test_shape(self):
        # 6 % between cells; pixels round 1.1 up or down by some percent.
        assert elongation(fields("shape", 0.0)) == pytest.approx(1.1, abs=0.06)
        assert elongation(fields("shape", 1.0)) == pytest.approx(2.2, abs=0.1)

    def test_mixture(self):
        for level in (0.0, 0.25, 1.0):
            types = np.concatenate([image.types for image in fields("mixture", level)])
            # Exact but for rounding in each field, and for cells beyond its border.
            assert types.mean() == pytest.approx(level, abs=0.06)
            # B has 0.64 of A's area; their radii scatter by 9 %, so 0.82 parts most of them.
            assert small_share(fields("mixture", level)) == pytest.approx(level, abs=0.25)

    def test_intensity_doubles(self):
        ratio = totals(fields("intensity", 1.0)) / totals(fields())
        # The same cells: shot noise, a thousandth of such sums.
        assert ratio == pytest.approx([2, 2], rel=0.01)

    def test_background(self):
        assert darkness(fields("background", 1.0)) - darkness(fields()) == pytest.approx(150, abs=8)

    def test_density(self):
        few, many = (counts(fields("density", level)).mean() for level in (0.0, 1.0))
        # Nuclei that the border cuts count: (145.6 + 12.4)² of 145.6² µm², 18 % more. Counts of a
        # hard core scatter by 2 of 22, so their mean by 3 %.
        assert few == pytest.approx(22 * 1.18, rel=0.1)
        assert many / few == pytest.approx(2.5, rel=0.1)

    def test_focus_is_the_width_of_an_edge(self):
        """The sd of a Gaussian between a blurred plane and a sharp one, by their spectra."""
        sharp, blurred = (light(fields("focus", level))[:, 0] for level in (0.0, 1.0))
        window = np.outer(np.hanning(224), np.hanning(224))
        power = [np.square(np.abs(np.fft.rfft2(p * window))).sum(axis=0) for p in (sharp, blurred)]
        frequency = np.hypot(np.fft.fftfreq(224)[:, None], np.fft.rfftfreq(224)) / 0.65  # 1/µm
        low = (frequency > 0.02) & (frequency < 0.08)  # above, noise takes over
        fall = np.log(power[0][low].sum() / power[1][low].sum())
        # Power falls by exp(−4π²·sd²·f²): of 2.5² − 0.7² at the frequencies that hold it.
        mean = (frequency[low] ** 2 * power[0][low]).sum() / power[0][low].sum()
        found = np.sqrt(fall / (4 * np.pi**2 * mean) + 0.7**2)
        assert found == pytest.approx(2.5, rel=0.1)

    def test_blur_moves_no_light(self):
        found = [totals(fields("focus", level)) for level in (0.0, 1.0)]
        assert found[1] == pytest.approx(found[0], rel=0.02)  # some crosses borders

    def test_illumination(self):
        assert slope(fields("illumination", 1.0)) == pytest.approx(0.8, abs=0.03)
        assert slope(fields("illumination", 0.0)) < 0.01

    def test_position_takes_cells_and_lets_light_in_from_the_wall(self):
        dials = {"plates_count": 1, "doses": 1, "replicates": 96, "wells": {"position": 1.0}}
        empty = make(SPEC, Dials(**dials, cells=0))
        table = empty.metadata.reset_index().set_index("well")
        walls = {"D01": (0, -1), "D12": (0, 1), "A06": (-1, 0), "H06": (1, 0)}
        for well, (down, right) in walls.items():
            planes = empty[int(table["index"][well])].pixels.mean(axis=0)
            halves = [planes[:112].mean(), planes[112:].mean()]
            across = [planes[:, :112].mean(), planes[:, 112:].mean()]
            # 60 counts at the wall and none opposite: halves differ by 30; noise is 0.1.
            assert halves[1] - halves[0] == pytest.approx(30 * down, abs=1)
            assert across[1] - across[0] == pytest.approx(30 * right, abs=1)
        levels = {**OFF, "position": 1.0}
        dials = Dials(cells=30.0)
        lost = [
            [len(grow_cells(dials, there, (seed,)).centres) for seed in range(20)]
            for there in (OFF, levels)
        ]
        assert np.mean(lost[1]) / np.mean(lost[0]) == pytest.approx(0.7, abs=0.02)  # rounding

    def test_vignettes_take_light_from_corners_and_keep_the_mean(self):
        plate = Plate(np.ones(2), np.zeros(2), 0.4, np.array([1.0, 0.0]))
        field = light_field(Dials(), OFF, plate)
        assert field.mean() == pytest.approx(1, abs=1e-5)
        assert field[112, 112] - field[0, 0] == pytest.approx(0.4, abs=0.01)


class TestWhatMustStay:
    @pytest.mark.parametrize("factor", ["translocation", "texture", "shape", "mixture"])
    def test_biology_moves_no_amount_and_no_cell(self, factor):
        low, high = fields(factor, 0.0), fields(factor, 1.0)
        # Cells that the border cuts show more or less of what they hold: a third of 22 cells by
        # some 10 % either way, which over 8 fields averages to below 1 %.
        assert totals(high) == pytest.approx(totals(low), rel=0.03)
        # Small or long nuclei reach a little less or more often into the field.
        assert counts(high).sum() == pytest.approx(counts(low).sum(), rel=0.08)

    @pytest.mark.parametrize("stain", range(10))
    @pytest.mark.parametrize("is_tissue", [False, True])
    def test_a_cell_holds_the_same_whatever_the_biology(self, stain, is_tissue):
        dials = Dials(channels=10, tissue=is_tissue)
        kind = 1 if dials.stains[stain] == "marker B" else 0
        found = [
            one_cell(dials, {**OFF, **levels}, kind)[stain].sum()
            for levels in (
                {},
                {"translocation": 1.0},
                {"texture": 1.0},
                {"shape": 1.0},
                {"translocation": 0.5, "texture": 0.4, "shape": 0.3},
            )
        ]
        assert found[0] > 1000
        assert found == pytest.approx([found[0]] * 5, rel=1e-4)  # sums of float32

    def test_types_of_a_culture_hold_the_same(self):
        a, b = (one_cell(Dials(), OFF, kind).sum(axis=(1, 2)) for kind in (0, 1))
        assert b == pytest.approx(a, rel=1e-4)

    def test_nuclei_keep_their_area_as_they_grow_long(self):
        areas = [np.mean([r.area for r in whole_nuclei(fields("shape", s))]) for s in (0.0, 1.0)]
        # Long nuclei at the border are left out and tips are covered now and then.
        assert areas[1] == pytest.approx(areas[0], rel=0.03)

    @pytest.mark.parametrize("factor", ["translocation", "texture", "intensity", "background"])
    def test_nuclei_stay_where_they_are(self, factor):
        for a, b in zip(fields(factor, 0.0), fields(factor, 1.0), strict=True):
            assert np.array_equal(a.mask, b.mask)

    def test_the_nuclear_share_stays_with_texture(self):
        shares = [nuclear_share(fields("texture", level)) for level in (0.0, 1.0)]
        assert shares[1] == pytest.approx(shares[0], abs=0.01)

    def test_arrangement_moves_nothing_but_types(self):
        mixed, apart = tissue(0.0), tissue(1.0)
        for a, b in zip(mixed, apart, strict=True):
            assert np.array_equal(a.mask, b.mask)
        # DNA: shot noise of some 17 counts at most, over 50 000 pixels: five sd.
        difference = light(mixed)[:, 0] - light(apart)[:, 0]
        assert np.abs(difference).max() < 5.5 * np.sqrt(2 * light(mixed)[:, 0].max() + 232)
        # The number of B is fixed in and around the field, of which a seventh lies around it.
        shares = [np.concatenate([i.types for i in images]).mean() for images in (mixed, apart)]
        assert shares == pytest.approx([0.5, 0.5], abs=0.03)

    def test_arrangement_keeps_the_histogram_and_the_correlation_of_markers(self):
        mixed, apart = (light(tissue(level)) for level in (0.0, 1.0))
        steps = np.arange(5, 100, 5)
        for marker in (1, 2):
            low, high = (np.percentile(planes[:, marker], steps) for planes in (mixed, apart))
            # Other cells of the same kind: 20 % between cells, 400 of a type, so 1 % and the
            # shares above; 3 counts where there are no cells.
            assert high == pytest.approx(low, rel=0.12, abs=3)
        between = [np.corrcoef(p[:, 1].ravel(), p[:, 2].ravel())[0, 1] for p in (mixed, apart)]
        assert between[1] == pytest.approx(between[0], abs=0.01)

    def test_arrangement_draws_no_marker_over_another(self):
        """Blurred markers of unlike neighbours would tell how often these touch."""
        for level in (0.0, 1.0):
            a, b = light(tissue(level))[:, 1:].transpose(1, 0, 2, 3)
            dense = 0.1 * np.percentile(a, 99.5)  # of a cell's middle; noise is an eighth of it
            assert np.mean((a > dense) & (b > dense)) < 0.005 * np.mean(a > dense)


class TestTypes:
    def test_mixed_types_agree_by_chance_and_apart_far_more_often(self):
        # 8 fields of 300 edges: 1.1 % of error by chance, where each type has half of the cells.
        assert agreement(tissue(0.0)) == pytest.approx(0.5, abs=0.04)
        assert agreement(tissue(1.0)) > 0.7

    @pytest.mark.parametrize("arrangement", [0.0, 0.5, 1.0])
    def test_the_number_of_b_depends_on_the_mixture_only(self, arrangement):
        centres = np.random.default_rng(0).uniform(0, 145, (101, 2))
        found = [
            int(assign_types(centres, 0.3, arrangement, np.random.default_rng(s)).sum())
            for s in range(40)
        ]
        assert set(found) <= {30, 31}
        assert np.mean(found) == pytest.approx(30.3, abs=0.25)  # three sd of 40 coins of 0.3

    def test_none_and_one_cell_have_types(self):
        rng = np.random.default_rng(0)
        assert assign_types(np.zeros((0, 2)), 0.5, 1.0, rng).shape == (0,)
        assert assign_types(np.zeros((1, 2)), 1.0, 1.0, rng).tolist() == [1]
        assert assign_types(np.zeros((1, 2)), 0.0, 1.0, rng).tolist() == [0]


def test_centres_keep_their_distance():
    for count in (0, 1, 20, 60):
        points = scatter(count, (-10.0, 150.0), 14.3, np.random.default_rng(0))
        assert points.shape == (count, 2)
        gaps = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
        assert (gaps + 1e9 * np.eye(count) > 14.3).all()
        assert ((points >= -10) & (points <= 150)).all()
    # Where there is no room for more, dropping ends: discs cover at most 0.547 (Feder, J. Theor.
    # Biol. 87, 1980) of a large square whose edges meet.
    full = scatter(500, (0.0, 150.0), 14.3, np.random.default_rng(0))
    assert 0.45 < len(full) * np.pi * (14.3 / 2) ** 2 / 150**2 < 0.58


def one_cell(dials, levels, kind):
    """Signal of a single cell in the middle of the field, without light or noise."""
    rng = np.random.default_rng(0)
    stretch = FACTORS["shape"].at(levels["shape"])
    size = 2.6 if dials.tissue else 6.2
    small = 0.8 if kind == 1 and not dials.tissue else 1.0
    cell = Cells(
        centres=np.array([[72.3, 71.9]]),
        types=np.array([kind], np.int32),
        radius=np.array([size * small]),
        ratio=np.array([stretch]),
        angle=np.array([0.7]),
        size=np.array([size]),
        draws=rng.standard_normal((1, 16)),
    )
    signal, mask, types = draw_cells(dials, levels, cell, (0,))
    assert types.tolist() == [kind]
    # Pixels whose centre lies in an ellipse: its area, but for a rim of random roundings.
    assert (mask > 0).sum() * 0.65**2 == pytest.approx(np.pi * (size * small) ** 2, rel=0.1)
    return signal
