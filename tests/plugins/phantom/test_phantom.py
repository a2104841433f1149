"""Plates of the phantom: layout, camera, reproducibility, and the registered datasets."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from zoo.plugins.phantom import DATASETS, FACTORS, Dials, make
from zoo.plugins.phantom.factors import BIOLOGY, PLATE
from zoo.registry import registry

import zoo
from zoo._data.sources import load_dataset

SPEC = registry().dataset("phantom")
SMALL = Dials(rises={"translocation": 1}, plates_count=2, doses=3, replicates=2, cells=8)


class TestImages:
    def test_are_of_a_12_bit_camera_with_nuclei_and_types(self):
        image = make(SPEC, SMALL)[0]
        assert image.pixels.dtype == np.uint16
        assert image.pixels.shape == (2, 224, 224)
        assert image.stains == ("DNA", "protein")
        assert image.pixel_size == 0.65
        assert image.mask.shape == (224, 224)
        assert image.mask.dtype == np.int32
        assert set(np.unique(image.mask)) == set(range(len(image.types) + 1))
        assert image.types.dtype.kind == "i"
        assert set(image.types) == {0}  # nothing was said of a mixture

    def test_follow_from_seed_and_place_in_any_order(self):
        one, other = make(SPEC, SMALL, seed=3), make(SPEC, SMALL, seed=3)
        forth = [one[i] for i in range(6)]
        back = [other[i] for i in reversed(range(6))][::-1]
        for a, b in zip(forth, back, strict=True):
            assert np.array_equal(a.pixels, b.pixels)
            assert np.array_equal(a.mask, b.mask)
        assert one.metadata.equals(other.metadata)
        assert len({image.pixels.tobytes() for image in forth}) == 6
        assert not np.array_equal(make(SPEC, SMALL, seed=4)[0].pixels, forth[0].pixels)

    def test_no_state_outside_is_read_or_changed(self):
        np.random.seed(1)  # noqa: NPY002
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        first = make(SPEC, SMALL)[1].pixels
        assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
        np.random.seed(2)  # noqa: NPY002
        assert np.array_equal(make(SPEC, SMALL)[1].pixels, first)

    def test_of_no_cells_are_background(self):
        image = make(SPEC, replace(SMALL, cells=0))[0]
        assert len(image.types) == 0
        assert not image.mask.any()
        pixels = image.pixels + 0.5  # the camera rounds down
        # Shot noise of 100 counts and read noise of 4: 10.8, over 100 000 pixels.
        assert pixels.mean() == pytest.approx(100, abs=0.2)
        assert pixels.std() == pytest.approx(np.sqrt(100 + 16), rel=0.02)

    @pytest.mark.parametrize("tissue", [False, True])
    @pytest.mark.parametrize("channels", [1, 3, 10])
    def test_have_as_many_named_channels_as_dialled(self, channels, tissue):
        dials = Dials(channels=channels, tissue=tissue, doses=1, replicates=1, side=96)
        dataset = make(SPEC, dials)
        image = dataset[0]
        assert len(image.pixels) == len(image.stains) == len(set(image.stains)) == channels
        assert image.stains[0] == "DNA"
        assert image.stains == dials.stains
        assert dataset.spec.channels == (channels, channels)

    def test_every_stain_shows_cells(self):
        image = make(SPEC, Dials(fixed={"mixture": 0.5}, channels=10, doses=1, replicates=1))[0]
        for plane in image.pixels:
            # An empty plane has a sd of 10.8 and hardly a pixel five sd above 100.
            assert (plane > 154).mean() > 0.005

    @pytest.mark.parametrize("pixel_size", [0.325, 1.3])
    def test_show_the_same_cells_larger_or_smaller(self, pixel_size):
        def measure(size):
            dials = Dials(pixel_size=size, doses=1, replicates=4, plates_count=4)
            images = [make(SPEC, dials)[i] for i in range(16)]
            areas, inside = [], []
            for image in images:
                counts = np.bincount(image.mask.ravel())[1:]
                border = np.unique(np.r_[image.mask[0], image.mask[-1], *image.mask[:, [0, -1]].T])
                whole = np.setdiff1d(np.arange(1, len(counts) + 1), border)
                areas += list(counts[whole - 1] * size**2)
                inside.append(len(whole))
            return np.mean(areas), np.sum(inside) / np.sum(
                [(image.mask.shape[0] * size - 12.4) ** 2 for image in images]
            )

        (area, crowd), (area_0, crowd_0) = measure(pixel_size), measure(0.65)
        # Radii differ by 9 % between cells, areas by 18 %: 2 % of the mean of 80 or more cells.
        # The pixels of a nucleus of radius 4.8 pixels miss its area by about 1 %.
        assert area == pytest.approx(np.pi * 6.2**2, rel=0.06)
        assert area == pytest.approx(area_0, rel=0.08)
        # Whole nuclei by the area where their centres may lie; hard-core counts of 50 scatter 10 %.
        assert crowd == pytest.approx(crowd_0, rel=0.3)


class TestLayout:
    def test_every_plate_holds_every_dose_as_often_in_other_places(self):
        dials = Dials(plates_count=3, doses=5, replicates=4)
        table = make(SPEC, dials).metadata
        assert len(table) == 3 * 5 * 4
        assert (table.groupby(["plate", "dose"]).size() == 4).all()
        assert table["image"].is_unique
        assert (table["image"] == table["plate"] + "-" + table["well"]).all()
        wells = table["row"] + table["column"].map("{:02d}".format)
        assert (table["well"] == wells).all()
        wanted = table["dose"].map({0: "negative", 4: "positive"}).fillna("sample")
        assert (table["control"] == wanted).all()
        layouts = {tuple(doses) for _, doses in table.groupby("plate")["dose"]}
        assert len(layouts) == 3

    def test_place_tells_no_dose_unless_asked(self):
        wells = Dials(wells={"position": 1.0}, plates_count=8, doses=6, replicates=8)
        free = make(SPEC, wells).metadata
        # 384 wells: a correlation of two independent columns has an sd of 0.05.
        assert abs(spearmanr(free["dose"], free["position"]).statistic) < 0.15
        rises = replace(wells, wells={}, rises={"position": 1.0})
        tied = make(SPEC, rises).metadata
        for _, plate in tied.groupby("plate"):
            ordered = plate.sort_values(["dose", "position"])["position"]
            assert ordered.is_monotonic_increasing

    def test_position_is_nearness_to_the_wall_of_a_plate(self):
        dials = Dials(wells={"position": 0.5}, plates_count=1, doses=6, replicates=16)
        table = make(SPEC, dials).metadata  # fills 8 rows and 12 columns
        at = table.set_index("well")["position"]
        for corner in ("A01", "A12", "H01", "H12", "D01", "A06"):
            assert at[corner] == pytest.approx(0.5)
        assert at.idxmin() in ("D06", "D07", "E06", "E07")
        assert at["B06"] < at["A06"]

    def test_levels_are_sums_of_what_the_dials_say(self):
        dials = Dials(
            fixed={"shape": 0.5, "density": 0.1},
            rises={"density": 0.3},
            wells={"density": 0.2, "focus": 0.4},
            plates={"density": 0.4, "background": 0.6},
            doses=3,
            replicates=10,
        )
        table = make(SPEC, dials).metadata
        assert (table["shape"] == 0.5).all()
        assert (table[["translocation", "texture", "intensity", "position"]] == 0).all(axis=None)
        assert table["focus"].between(0, 0.4).all()
        assert table.groupby("plate")["background"].nunique().eq(1).all()
        assert np.ptp(table["background"]) > 0.6 * 6 / 8  # one of each eighth
        rest = table["density"] - 0.1 - 0.3 * table["dose"] / 2
        assert rest.between(0, 0.6).all()
        within = rest - rest.groupby(table["plate"]).transform("min")
        assert within.max() <= 0.2
        assert dials.varying == ("background", "density", "focus")

    def test_what_varies_from_well_to_well_is_matched_between_doses(self):
        dials = Dials(wells={"intensity": 1.0}, doses=4, replicates=5)
        table = make(SPEC, dials).metadata
        for _, levels in table.groupby(["plate", "dose"])["intensity"]:
            # 5 wells of a dose on a plate: one level in each fifth.
            assert np.floor(np.sort(levels) * 5).tolist() == list(range(5))
        assert table["intensity"].is_unique

    @pytest.mark.parametrize("wells", [1, 6, 7, 96, 97, 1536])
    def test_wells_fit_a_plate_that_can_be_bought(self, wells):
        table = make(SPEC, Dials(plates_count=1, doses=1, replicates=wells)).metadata
        assert table["well"].is_unique
        assert (table["control"] == "sample").all()  # one dose is no control
        formats = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))
        rows, columns = next(f for f in formats if f[0] * f[1] >= wells)
        assert table["column"].between(1, columns).all()
        names = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "AA", "AB", "AC", "AD", "AE", "AF"]
        assert set(table["row"]) <= set(names[:rows])


class TestDials:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"rises": {"translocaton": 1}}, r"'translocaton'.* Did you mean 'translocation'"),
            ({"wells": {"blur": 0.5}}, "there are translocation, texture"),
            ({"rises": {"texture": 1.2}}, r"texture in rises is 1\.2.*\[0, 1\]"),
            ({"wells": {"focus": -0.1}}, r"focus in wells is -0\.1"),
            ({"wells": {"focus": float("nan")}}, "focus in wells is nan"),
            ({"wells": {"focus": "0.5"}}, "must be a number"),
            ({"wells": {"focus": True}}, "must be a number"),
            ({"rises": {"density": 0.7}, "plates": {"density": 0.4}}, r"density adds up to 1\.1"),
            ({"wells": {"plate": 0.4}}, "name it in plates, not in wells"),
            ({"plates": {"position": 0.4}}, "name it in wells"),
            ({"rises": {"texture": 1}, "doses": 1}, "only one dose"),
            ({"channels": 11}, "channels is 11.*1 to 10"),
            ({"channels": 2.0}, r"channels is 2\.0"),
            ({"side": 10}, "side is 10"),
            ({"doses": 100, "replicates": 16}, "do not fit on a plate of 1536 wells"),
            ({"pixel_size": 0.0}, "pixel_size is 0.0"),
            ({"cells": -1}, "cells is -1"),
            ({"cells": float("nan")}, "cells is nan"),
            ({"cells": 40, "rises": {"density": 1}}, "100 where density is highest.*0 to 59"),
            ({"rises": {"translocation": 1}, "channels": 1}, "the protein, channel 2"),
            ({"rises": {"texture": 1}, "channels": 3, "tissue": True}, "the protein, channel 4"),
            ({"fixed": {"mixture": 0.5}, "channels": 1, "tissue": True}, "markers"),
            ({"rises": {"arrangement": 1}}, r"mixture is 0.*fixed=\{'mixture': 0\.5\}"),
        ],
    )
    def test_that_mean_nothing_are_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            Dials(**arguments)

    def test_keep_no_hold_of_what_was_given(self):
        given = {"texture": 0.5}
        dials = Dials(wells=given)
        given["texture"] = 7.0
        assert dials.wells == {"texture": 0.5}

    def test_every_factor_is_documented(self):
        for name, factor in FACTORS.items():
            assert factor.meaning, name
            assert factor.at(0) == factor.low
            assert factor.at(1) == pytest.approx(factor.high)
            assert factor.low < factor.at(0.5) < factor.high
        assert set(BIOLOGY) == {"translocation", "texture", "shape", "mixture", "arrangement"}
        assert FACTORS["texture"].at(0.5) == pytest.approx(np.sqrt(0.4 * 1.6))


class TestDatasets:
    @pytest.mark.parametrize("name", DATASETS)
    def test_the_registry_opens_them_as_it_describes_them(self, name, tmp_path):
        dataset = load_dataset(name)
        assert dataset.spec == registry().dataset(name)
        assert dataset.spec.design.factors == DATASETS[name].varying
        assert (dataset.spec.design.batch, dataset.spec.design.group) == ("plate", "plate")
        assert dataset.metadata["plate"].nunique() == 8
        levels = dataset.metadata[list(FACTORS)]
        assert levels.ge(0).all(axis=None)
        assert levels.le(1).all(axis=None)
        still = levels.drop(columns=list(dataset.spec.design.factors))
        assert (still.nunique() == 1).all()
        assert dataset.spec.notes
        with pytest.raises(ValueError, match="takes no path"):
            load_dataset(name, tmp_path)

    @pytest.mark.parametrize("name", DATASETS)
    def test_hardly_a_pixel_saturates(self, name):
        dataset = load_dataset(name)
        table = dataset.metadata
        bright = table.sort_values(["intensity", "density"]).index[-4:]
        for i in bright:
            # Saturation would take from the amount where there is much in one place.
            assert (dataset[i].pixels >= 4095).mean() < 1e-4

    def test_other_records_bring_their_own_dials(self):
        spec = replace(SPEC, name="mine")
        with pytest.raises(ValueError, match=r"mine has no dials.*phantom-tissue"):
            make(spec)
        assert len(make(spec, SMALL)) == 12

    def test_phantom_is_translocation_with_nuisances_by_plate(self):
        table = load_dataset("phantom").metadata
        assert len(table) == 8 * 6 * 2
        assert (table["translocation"] == table["dose"] / 5).all()
        for factor in ("intensity", "background", "density", "illumination"):
            assert table.groupby("plate")[factor].nunique().eq(1).all()
        assert table.groupby("plate")["dose"].mean().nunique() == 1

    def test_the_shortcut_plants_no_biology(self):
        dataset = load_dataset("phantom-shortcut")
        table = dataset.metadata
        assert (table[list(BIOLOGY)] == 0).all(axis=None)
        some = table[table["plate"] == "P3"].index
        counts = [len(dataset[i].types) for i in some]
        # 6.6 cells for each dose, where the border adds or takes two.
        assert spearmanr(counts, table["dose"][some]).statistic > 0.9

    def test_factors_vary_evenly_and_each_by_itself(self):
        table = load_dataset("phantom-factors").metadata
        assert len(table) == 240
        levels = table[list(FACTORS)]
        for name, column in levels.items():
            if name == "position":
                continue
            low, high = (0.2, 0.8) if name == "mixture" else (0, 1)
            for _, levels_here in column.groupby(table["plate"]):
                place = (np.sort(levels_here) - low) / (high - low) * 30
                assert np.floor(place).tolist() == list(range(30)), name
        between = levels.corr(method="spearman").to_numpy() - np.eye(len(FACTORS))
        # The sd of a correlation of 240 independent pairs is 0.065; 55 pairs stay below four.
        assert np.abs(between).max() < 0.26
        plates = pd.get_dummies(table["plate"]).to_numpy(float)
        for name, column in levels.items():
            fitted = plates @ (plates.T @ column / plates.sum(axis=0))
            # Share of variance between 8 plates by chance: 7/239, 0.03.
            assert np.var(fitted) / np.var(column) < 0.1, name


def oracle(dataset, factor):
    """Read the planted factor, with a bump for each level so that neighbours are near by cosine."""
    level = dataset.metadata[factor].to_numpy()
    steps = np.unique(level)
    bumps = np.exp(-(((level[:, None] - steps) * len(steps)) ** 2))
    noise = np.random.default_rng(0).normal(0, 1e-3, (len(level), len(steps) + 1))
    matrix = (np.c_[level, bumps] + noise).astype(np.float32)
    return zoo.Embeddings(matrix, dataset.metadata, {"encoder": "oracle"})


@pytest.mark.slow
def test_tissue_is_seen_by_who_reads_it_and_not_by_density_or_pixels():
    # Half of the doses, mixed and apart among them: as telling, in half of the time.
    dials = replace(DATASETS["phantom-tissue"], doses=3)
    dataset = make(registry().dataset("phantom-tissue"), dials)
    controls = ["object-density", "pixel-statistics"]
    result = zoo.evaluate(
        oracle(dataset, "arrangement"), dataset, controls=controls, cache=False, control_seeds=1
    )
    assert {v.outcome for v in result.verdicts} == {"beats all controls"}
    for row in result.rows:
        for name in controls:
            # 48 wells: correlations by chance scatter by 0.15, accuracies by 0.07, and an AUC of
            # 16 and 16 by 0.1.
            assert row.estimates[name].value < row.chance + 0.3, (row.metric, name)
    # The pixels hold it all the same: patches of one marker are what remains when cells blur.
    seen = []
    for image in (dataset[i] for i in range(0, 48, 2)):
        a, b = (gaussian_filter(plane.astype(float), 20) for plane in image.pixels[1:])
        seen.append(-np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert spearmanr(seen, dataset.metadata["dose"][::2]).statistic > 0.5


def test_the_plate_has_gains_and_backgrounds_of_its_own():
    dials = Dials(plates={PLATE: 1.0}, plates_count=6, doses=1, replicates=1, cells=0)
    dark = np.array([make(SPEC, dials)[i].pixels.mean(axis=(1, 2)) for i in range(6)])
    assert (dark > 99).all()
    assert (dark < 181).all()
    assert dark.std(axis=0).min() > 5  # noise is 0.05
    assert np.abs(dark[:, 0] - dark[:, 1]).max() > 5
