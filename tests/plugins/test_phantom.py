"""The phantom against what it says of itself: known biology, known shortcuts, known nuisances."""

import numpy as np
import pytest
from scipy.ndimage import label
from zoo.plugins.phantom import SIDE, Dials, _draw_field, _draw_plate, _Plate, make
from zoo.registry import registry

import zoo
from zoo._dataset import open_dataset

SPEC = registry().dataset("phantom")
SMALL = Dials(plates=2, doses=3, replicates=2, cells=6)
QUIET = {"gain": 0.0, "background": 0.0, "illumination": 0.0, "density": 0.0}
PLATE = _Plate(np.ones(2), np.full(2, 100.0), np.ones((SIDE, SIDE)), 1.0)


def draw(dials, share, seeds=12, plate=PLATE):
    """Fields of one dose above their background; the same seeds draw the same cells.

    `share` is the dose: 0 for the lowest, 1 for the highest.
    """
    fields = [_draw_field(dials, plate, share, np.random.default_rng(s)) for s in range(seeds)]
    # The camera rounds down, which takes half a count on average.
    return np.stack(fields) + 0.5 - plate.background[:, None, None]


def totals(fields):
    return fields.sum(axis=(2, 3))


def nuclei(fields):
    """DNA well above its noise of some 10 counts and well below a nucleus of 700."""
    return fields[:, 0] > 250


def nuclear_share(fields):
    """Share of the protein that lies under the DNA, over all fields."""
    return (fields[:, 1] * nuclei(fields)).sum() / fields[:, 1].sum()


class TestPlates:
    def test_images_are_of_a_12_bit_camera(self):
        image = make(SPEC, SMALL)[0]
        assert image.pixels.dtype == np.uint16
        assert image.pixels.shape == (2, 224, 224)
        assert image.stains == ("DNA", "FKHR-GFP")
        assert image.pixel_size == 0.65

    def test_the_brightest_gain_saturates_at_4095(self):
        blinding = _Plate(np.full(2, 50.0), PLATE.background, PLATE.light, 1.0)
        fields = draw(SMALL, 1.0, seeds=2, plate=blinding) + 100 - 0.5
        assert fields.max() == 4095
        assert fields.min() >= 0

    def test_nothing_saturates_by_default(self):
        # Saturation would take from the amount where protein is dense, and so by dose.
        dials = Dials()
        plates = [_draw_plate(dials, np.random.default_rng([0, 2, p])) for p in range(dials.plates)]
        brightest = max(plates, key=lambda plate: plate.gain[1])
        fields = draw(dials, 1.0, seeds=3, plate=brightest)
        assert fields.max() + brightest.background.max() < 4095

    def test_the_same_seed_gives_the_same_images_in_any_order(self):
        one, other = make(SPEC, SMALL, seed=3), make(SPEC, SMALL, seed=3)
        forth = [one[i].pixels for i in range(6)]
        back = [other[i].pixels for i in reversed(range(6))][::-1]
        assert all(map(np.array_equal, forth, back))
        assert np.array_equal(one[4].pixels, forth[4])
        assert one.metadata.equals(other.metadata)

    def test_no_state_outside_is_read_or_changed(self):
        np.random.seed(1)  # noqa: NPY002
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        first = make(SPEC, SMALL)[1].pixels
        assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
        np.random.seed(2)  # noqa: NPY002
        assert np.array_equal(make(SPEC, SMALL)[1].pixels, first)

    def test_other_seeds_and_places_give_other_images(self):
        one, other = make(SPEC, SMALL, seed=0), make(SPEC, SMALL, seed=1)
        assert not np.array_equal(one[0].pixels, other[0].pixels)
        assert len({one[i].pixels.tobytes() for i in range(6)}) == 6

    def test_every_plate_holds_every_dose_as_often(self):
        dials = Dials(plates=3, doses=5, replicates=4)
        table = make(SPEC, dials).metadata
        assert len(table) == 3 * 5 * 4
        assert (table.groupby(["plate", "dose"]).size() == 4).all()
        assert table["image"].is_unique
        assert (table["image"] == table["plate"] + "-" + table["well"]).all()
        wanted = table["dose"].map({0: "negative", 4: "positive"}).fillna("sample")
        assert (table["control"] == wanted).all()
        layouts = {tuple(doses) for _, doses in table.groupby("plate")["dose"]}
        assert len(layouts) == 3
        assert all(list(doses) != sorted(doses) for doses in layouts)

    def test_items_lie_on_the_plate_that_their_row_names(self):
        # Without noise of any kind but the gain, the brightness of the DNA tells the plate.
        dials = Dials(plates=2, doses=3, replicates=2, **{**QUIET, "gain": 1.0})
        dataset = make(SPEC, dials)
        gains = [_draw_plate(dials, np.random.default_rng([0, 2, p])).gain[0] for p in range(2)]
        for i in range(0, 12, 3):
            pixels = dataset[i].pixels[0].astype(float) - 100
            plate = int(dataset.metadata["plate"][i].removeprefix("P")) - 1
            found = np.median(pixels[pixels > pixels.max() / 3]) / 700
            # Blurred edges and 12 % between nuclei move the median of a field by some percent.
            assert found == pytest.approx(gains[plate], rel=0.2)
        assert max(gains) > 1.7 * min(gains)

    def test_the_registry_opens_the_default_and_takes_no_path(self, tmp_path):
        dataset = open_dataset("phantom")
        assert len(dataset) == 8 * 6 * 2
        assert dataset.spec == SPEC
        assert np.array_equal(dataset[37].pixels, make(SPEC)[37].pixels)
        with pytest.raises(ValueError, match="takes no path"):
            open_dataset("phantom", tmp_path)


class TestBiology:
    def test_the_nuclear_share_rises_from_a_quarter_by_the_dial(self):
        found = {s: nuclear_share(draw(Dials(cells=8), s)) for s in (0, 0.5, 1)}
        # The blurred rim of the nucleus and the cytoplasm of neighbours move the share by some
        # percent; 12 fields of 8 cells with 6 % between cells have a standard error of 0.6 %.
        for share, wanted in ((0, 0.25), (0.5, 0.475), (1, 0.7)):
            assert found[share] == pytest.approx(wanted, abs=0.06)
        weak = nuclear_share(draw(Dials(cells=8, translocation=0.2), 1))
        assert weak - found[0] == pytest.approx(0.2, abs=0.04)

    @pytest.mark.parametrize("share", [0.5, 1.0])
    def test_the_amount_of_protein_carries_no_dose(self, share):
        low, high = draw(Dials(), 0), draw(Dials(), share)
        # The same cells: what differs is the grain (15 %, some six grains a nucleus, 22 cells)
        # under the share that moved, 0.6 % a field, and shot noise far below it. Twelve fields
        # average to 0.2 %; 1 % is five such errors.
        ratio = totals(high)[:, 1].sum() / totals(low)[:, 1].sum()
        assert ratio == pytest.approx(1, abs=0.01)
        per_field = totals(high)[:, 1] / totals(low)[:, 1]
        assert np.abs(per_field - 1).max() < 0.04

    def test_the_amount_of_a_single_cell_carries_no_dose(self):
        # Fields of few cells, so that cells clipped by the edge weigh in.
        low, high = (totals(draw(Dials(cells=1.5), s, seeds=20))[:, 1] for s in (0, 1))
        some = low > 1e4  # fields without a cell hold noise of some thousand counts
        assert 10 <= some.sum() < 20
        # One cell has the grain of six patches, 15 % / √6 of 0.45 of it: 3 % a cell.
        assert np.abs(high / low - 1)[some].max() < 0.12
        assert high[some].sum() / low[some].sum() == pytest.approx(1, abs=0.03)

    @pytest.mark.parametrize("share", [0.5, 1.0])
    def test_number_and_dna_of_cells_carry_no_dose(self, share):
        low, high = draw(Dials(), 0, seeds=4), draw(Dials(), share, seeds=4)
        # The same cells but for the read-out: 4 counts of noise, some 30 of shot noise.
        assert np.abs(low[:, 0] - high[:, 0]).max() < 300
        assert totals(high)[:, 0] == pytest.approx(totals(low)[:, 0], rel=0.003)

    def test_without_translocation_the_dose_is_nowhere(self):
        for seed in range(3):
            fields = [
                _draw_field(Dials(translocation=0), PLATE, share, np.random.default_rng(seed))
                for share in (0, 0.4, 1)
            ]
            assert np.array_equal(fields[0], fields[1])
            assert np.array_equal(fields[0], fields[2])

    def test_the_dataset_carries_the_biology_by_its_dose_column(self):
        dials = Dials(plates=1, doses=3, replicates=3, cells=8, **QUIET)
        dataset = make(SPEC, dials)
        fields = np.stack([dataset[i].pixels for i in range(9)]) - 99.5
        for dose, wanted in enumerate((0.25, 0.475, 0.7)):
            found = nuclear_share(fields[dataset.metadata["dose"] == dose])
            assert found == pytest.approx(wanted, abs=0.07)


class TestShortcuts:
    @pytest.mark.parametrize("strength", [0.3, 1.0])
    def test_intensity_rises_with_the_dose_as_dialled(self, strength):
        dials = Dials(translocation=0, intensity_shortcut=strength)
        low, middle, high = (totals(draw(dials, s, seeds=4)) for s in (0, 0.5, 1))
        # The same cells, brighter: only shot noise, a thousandth of the total, differs.
        assert high[:, 1] / low[:, 1] == pytest.approx(1 + strength, rel=0.01)
        assert middle[:, 1] / low[:, 1] == pytest.approx(1 + strength / 2, rel=0.01)
        assert high[:, 0] / low[:, 0] == pytest.approx(1, rel=0.003)

    def test_density_rises_with_the_dose_as_dialled(self):
        dials = Dials(translocation=0, density_shortcut=1.0, cells=15)
        low, high = (draw(dials, share, seeds=16) for share in (0, 1))
        # Poisson counts of 16 × 15 and 16 × 30 cells: 6.5 % and 4.6 %, so 8 % of their ratio;
        # 0.35 is more than two such errors of 0.16 to either side.
        ratio = totals(high).sum(axis=0) / totals(low).sum(axis=0)
        assert ratio == pytest.approx([2, 2], abs=0.35)
        counts = [np.mean([label(mask)[1] for mask in nuclei(f)]) for f in (low, high)]
        assert counts[0] == pytest.approx(15, rel=0.25)  # neighbours may touch
        assert counts[1] > 1.5 * counts[0]

    def test_the_number_of_cells_is_as_dialled(self):
        for cells in (4, 20):
            fields = draw(Dials(cells=cells), 0, seeds=16)
            found = np.mean([label(mask)[1] for mask in nuclei(fields)])
            # Poisson: √(4 / 16) is 12 % of 4; touching nuclei take a few percent of 20.
            assert found == pytest.approx(cells, rel=0.35)

    def test_a_field_without_cells_is_background(self):
        fields = draw(Dials(cells=0), 1, seeds=2)
        # Shot noise of 100 counts and read noise of 4: 10.8, over 50 000 pixels.
        assert fields.mean(axis=(0, 2, 3)) == pytest.approx([0, 0], abs=0.2)
        assert fields.std() == pytest.approx(10.8, rel=0.02)


class TestNuisances:
    def plates(self, count=400, **dials):
        rngs = (np.random.default_rng([5, p]) for p in range(count))
        return [_draw_plate(Dials(**dials), rng) for rng in rngs]

    def test_their_spread_is_as_dialled(self):
        plates = self.plates(gain=0.3, background=60, density=0.25)
        gains = np.log([p.gain for p in plates])
        # A standard deviation of 400 draws has an error of 3.5 %, of 800 one of 2.5 %.
        assert gains.std() == pytest.approx(0.3, rel=0.1)
        assert gains.mean() == pytest.approx(0, abs=0.04)
        assert abs(np.corrcoef(gains.T)[0, 1]) < 0.2  # channels on their own: 1 / √400 is 0.05
        assert np.log([p.density for p in plates]).std() == pytest.approx(0.25, rel=0.14)
        background = np.array([p.background for p in plates])
        assert background.min() == pytest.approx(100, abs=1)
        assert background.max() == pytest.approx(160, abs=1)

    def test_the_light_is_a_slope_of_mean_1(self):
        for plate in self.plates(count=20, illumination=0.4):
            assert plate.light.mean() == pytest.approx(1, abs=1e-9)
            down, across = np.gradient(plate.light)
            assert np.ptp(down) + np.ptp(across) == pytest.approx(0, abs=1e-9)
            # 0.4 from edge to edge, in any direction.
            rise = np.hypot(down[0, 0], across[0, 0]) * (SIDE - 1)
            assert rise == pytest.approx(0.4, rel=1e-9)
        angles = [np.arctan2(*(g[0, 0] for g in np.gradient(p.light))) for p in self.plates(20)]
        assert np.std(angles) > 1

    def test_turned_off_they_are_absent(self):
        for plate in self.plates(count=5, **QUIET):
            assert plate.gain.tolist() == [1, 1]
            assert plate.background.tolist() == [100, 100]
            assert (plate.light == 1).all()
            assert plate.density == 1

    def test_images_follow_their_plate(self):
        light = np.linspace(0.8, 1.2, SIDE)[:, None] * np.ones(SIDE)
        plate = _Plate(np.array([1.5, 0.5]), np.array([130.0, 150.0]), light, 1.0)
        dials = Dials(cells=30)
        plain, found = draw(dials, 0, seeds=6), draw(dials, 0, seeds=6, plate=plate)
        # The same cells under other light: shot noise only, a thousandth of such sums.
        for band in (slice(0, 70), slice(70, 150), slice(150, 224)):
            expected = (plain[:, :, band] * light[band]).sum(axis=(0, 2, 3)) * plate.gain
            assert found[:, :, band].sum(axis=(0, 2, 3)) == pytest.approx(expected, rel=0.01)

    def test_density_of_the_plate_is_that_of_its_fields(self):
        crowded = _Plate(PLATE.gain, PLATE.background, PLATE.light, 2.0)
        some, many = (draw(Dials(cells=12), 0, seeds=12, plate=p) for p in (PLATE, crowded))
        # Poisson counts of 144 and 288 cells: 10 % of their ratio.
        assert totals(many).sum() / totals(some).sum() == pytest.approx(2, abs=0.5)

    def test_plates_differ_by_nuisance_not_by_dose(self):
        table = make(SPEC, Dials()).metadata
        means = table.groupby("plate")["dose"].mean()
        assert means.nunique() == 1


def test_centres_keep_their_distance():
    from zoo.plugins.phantom import _draw_centres

    for count in (0, 1, 20, 60):
        centres = np.array(_draw_centres(count, np.random.default_rng(0))).reshape(-1, 2)
        assert len(centres) == count
        gaps = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1))
        assert (gaps + 1e9 * np.eye(count) > 22).all()
        assert ((centres >= 6) & (centres <= SIDE - 6)).all()
    # Where there is no room for more, drawing ends.
    assert 60 < len(_draw_centres(500, np.random.default_rng(0))) < 130


def test_the_spec_says_what_is_made():
    assert (SPEC.label, SPEC.batch, SPEC.group) == ("dose", "plate", "plate")
    assert SPEC.channels == (2, 2)
    assert isinstance(make(SPEC, SMALL), zoo.Dataset)
