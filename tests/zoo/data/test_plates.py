"""Exports of plate microscopes: the same plate in each format, and what is refused."""

import numpy as np
import plates
import pytest
import tifffile

from zoo import errors
from zoo._data.choices import Choices
from zoo._data.plates.names import canonical_well, well_of
from zoo._data.plates.suspect import looks_split
from zoo._data.sources import open_images, open_source

NAMES = dict(zip(plates.DYES, plates.STAINS, strict=True))
LIGHT = {"Green": "GFP", "Red": "DNA"}
NUMBERS = {"1": "GFP", "2": "DNA"}
WAVES = {f"{c} - {dye}": stain for c, (dye, stain) in enumerate(NAMES.items(), 1)}
FORMATS = {
    "imagexpress": (plates.imagexpress, {}, NAMES, True, "ImageXpress"),
    "imagexpress without settings": (
        plates.imagexpress,
        {"settings": False},
        NAMES,
        True,
        "ImageXpress",
    ),
    "harmony 5": (plates.harmony, {}, NAMES, True, "Harmony"),
    "harmony 7": (plates.harmony, {"version": 7}, NAMES, True, "Harmony"),
    "harmony names": (plates.harmony, {"index": False}, NUMBERS, False, "Harmony"),
    "harmony 7 names": (
        plates.harmony,
        {"index": False, "version": 7},
        NUMBERS,
        False,
        "Harmony",
    ),
    "yokogawa": (plates.yokogawa, {}, NAMES, True, "Yokogawa"),
    "yokogawa names": (plates.yokogawa, {"listing": False}, NUMBERS, False, "Yokogawa"),
    "scanr": (plates.scanr, {}, NAMES, True, "scanR"),
    "incucyte": (plates.incucyte, {}, LIGHT, False, "IncuCyte"),
    "cellomics": (plates.cellomics, {}, NUMBERS, False, "Cellomics"),
    "in cell": (plates.in_cell, {}, WAVES, False, "IN Cell"),
}


def check(source, *, stains, micrometres):
    """Compare every image with what was written."""
    truth = plates.truth()
    table = source.dataset.metadata
    assert len(table) == len(truth)
    assert table["Metadata_Plate"].tolist() == [plates.PLATE] * 4
    assert table["Metadata_Well"].tolist() == ["A01", "A01", "B12", "B12"]
    assert table["Metadata_Site"].tolist() == ["1", "2", "1", "2"]
    assert "Metadata_Timepoint" not in table
    for i, row in table.iterrows():
        image = source.dataset[i]
        wanted = truth[row["Metadata_Well"], row["Metadata_Site"]]
        assert image.pixels.dtype == wanted.dtype
        assert (image.pixels == wanted).all()
        assert image.stains == stains
        if micrometres:
            assert image.pixel_size == pytest.approx(plates.MICROMETRES)
        else:
            assert image.pixel_size is None


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_plate(tmp_path, name):
    build, arguments, names, micrometres, kind = FORMATS[name]
    source = open_source(build(tmp_path, **arguments), Choices(stains=names))
    assert kind in source.kind
    check(source, stains=plates.STAINS, micrometres=micrometres)


def test_names_of_stains_are_those_of_the_format(tmp_path):
    assert open_images(plates.yokogawa(tmp_path))[0].stains == plates.DYES
    source = open_source(tmp_path)
    assert source.stains == plates.DYES
    assert source.pixel_size == pytest.approx(plates.MICROMETRES)


def test_channels_are_chosen_and_ordered(tmp_path):
    plates.imagexpress(tmp_path)
    truth = plates.truth()["A01", "1"]
    chosen = open_images(tmp_path, stains=NAMES, channels=("DNA", "GFP"), pixel_size=0.3)[0]
    assert (chosen.pixels == truth[::-1]).all()
    assert (chosen.stains, chosen.pixel_size) == (("DNA", "GFP"), 0.3)
    assert (open_images(tmp_path, channels=(plates.DYES[1],))[0].pixels == truth[1:]).all()
    with pytest.raises(errors.DataError, match=r"has no stain 'DAPI', only Alexa 488, HOECHST"):
        open_images(tmp_path, stains={"DAPI": "DNA"})
    with pytest.raises(errors.DataError, match=r"but the channel 'DNA' was chosen"):
        open_images(tmp_path, channels=("DNA",))


class TestPattern:
    def test_names_of_ones_own(self, tmp_path):
        plates.own_names(tmp_path)
        source = open_source(tmp_path, Choices(pattern=plates.OWN_PATTERN, channels=plates.STAINS))
        check(source, stains=plates.STAINS, micrometres=False)
        assert {k: len(v) for k, v in source.left_out.items()} == {"masks": 8}

    def test_umlauts_in_either_spelling(self, tmp_path):
        for k in (1, 2):
            plates.write(tmp_path / f"Gru\u0308n_A01_w{k}.tif", np.zeros((4, 4), np.uint8))
        found = open_images(tmp_path, pattern="Gr\u00fcn_{well}_w{channel}.tif")
        assert found[0].pixels.shape == (2, 4, 4)

    def test_rows_and_columns_are_wells(self, tmp_path):
        for channel in (1, 2):
            plates.write(tmp_path / f"Channel{channel}-01-B-03.BMP.tif", np.zeros((4, 4), np.uint8))
        found = open_images(tmp_path, pattern="Channel{channel}-{*}-{row}-{column}.bmp.tif")
        assert found.metadata["Metadata_Well"].tolist() == ["B03"]
        assert "Metadata_Plate" not in found.metadata
        assert found[0].pixels.shape == (2, 4, 4)
        assert found[0].stains is None

    def test_without_a_channel_a_file_is_an_image(self, tmp_path):
        plates.ome_tiff(tmp_path)
        found = open_images(tmp_path, pattern="{well}_s{site}.ome.tif")
        assert found.metadata["Metadata_Site"].tolist() == ["1", "2", "1", "2"]
        assert (found[0].pixels == plates.truth()["A01", "1"]).all()
        assert found[0].stains == plates.STAINS
        named = open_images(tmp_path, pattern="{name}.ome.tif")
        assert named.metadata["Metadata_Name"].tolist()[0] == "A01_s1"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{plate}_{wel}.tif", r"has the field \{wel\}, but the fields are \{plate\}, \{well\}"),
            ("{channel}.tif", "names nothing that tells images apart"),
            ("x.tif", "names nothing that tells images apart"),
            ("{plate}_{site}_{channel}_q.tif", r"no file of .* the first images are A01_s1"),
            ("{row}{column}_s{site}.ome.tif", None),
            ("{row}{column}1_s{site}.ome.tif", r"finds no well such as A01 in"),
        ],
    )
    def test_patterns_that_do_not_fit(self, tmp_path, text, message):
        plates.ome_tiff(tmp_path)
        if message is None:
            assert open_images(tmp_path, pattern=text).metadata["Metadata_Well"].iloc[0] == "A01"
        else:
            if "1_s" in text:
                plates.write(tmp_path / "A001_s1.ome.tif", np.zeros((2, 2), np.uint8))
            with pytest.raises(errors.DataError, match=message):
                open_images(tmp_path, pattern=text)


class TestDepth:
    @pytest.mark.parametrize(
        "build", [plates.imagexpress, plates.harmony, plates.yokogawa, plates.scanr]
    )
    def test_depth_is_projected_or_refused(self, tmp_path, build):
        build(tmp_path, depth=3)
        with pytest.raises(errors.DataError, match=r"3 planes in depth .*--z max, mean, middle"):
            open_images(tmp_path)
        truth = plates.truth(3)["B12", "2"]
        for z, wanted in (("max", truth.max(1)), ("middle", truth[:, 1]), (3, truth[:, 2])):
            assert (open_images(tmp_path, z=z)[3].pixels == wanted).all()
        mean = np.rint(truth.mean(1)).astype(np.uint16)
        assert (open_images(tmp_path, z="mean")[3].pixels == mean).all()

    def test_projections_of_the_instrument_are_left_out(self, tmp_path):
        plates.imagexpress(tmp_path, depth=3)
        for path in sorted((tmp_path / "TimePoint_1" / "ZStep_1").glob("*w?5D*")):
            plates.write(tmp_path / "TimePoint_1" / path.name, tifffile.imread(path))
        source = open_source(tmp_path, Choices(z="max"))
        assert len(source.dataset) == 4
        assert [len(v) for k, v in source.left_out.items() if "projections" in k] == [8]

    def test_a_plane_that_is_missing_in_depth(self, tmp_path):
        plates.imagexpress(tmp_path, depth=3)
        next((tmp_path / "TimePoint_1" / "ZStep_2").glob("*A01_s1_w25*")).unlink()
        with pytest.raises(errors.DataError, match=r"3 planes in depth for channel 2.*but 2 for"):
            open_images(tmp_path, z="max")


class TestLeftOut:
    def test_what_is_no_image_is_counted_by_its_reason(self, tmp_path):
        plates.imagexpress(tmp_path)
        for name in ("masks/a.tif", "A01_Overlay.png", "flat field.tif", "photo of my cat.png"):
            plates.write(tmp_path / name, np.zeros((4, 4), np.uint8))
        (tmp_path / "notes.txt").write_text("x")
        found = {k: len(v) for k, v in open_source(tmp_path).left_out.items()}
        other = "files whose names are not of this format"
        wanted = {"thumbnails": 8, "masks": 1, "overlays": 1, "shading images": 1, other: 1}
        wanted["files that are no images"] = 1
        assert found == wanted

    def test_shading_images_and_failures_of_yokogawa(self, tmp_path):
        found = {k: len(v) for k, v in open_source(plates.yokogawa(tmp_path)).left_out.items()}
        assert found == {"shading images": 1, "images that the instrument could not take": 1}

    def test_masks_of_incucyte(self, tmp_path):
        assert len(open_source(plates.incucyte(tmp_path)).left_out["masks"]) == 4

    def test_files_that_an_index_does_not_list(self, tmp_path):
        plates.harmony(tmp_path)
        images = next(tmp_path.glob("*/Images"))
        plates.write(images / "r09c09f01p01-ch1sk1fk1fl1.tiff", np.zeros((4, 4), np.uint8))
        source = open_source(tmp_path)
        assert len(source.dataset) == 4
        assert source.left_out == {
            "files that the index does not list": [
                (images / "r09c09f01p01-ch1sk1fk1fl1.tiff").relative_to(tmp_path).as_posix()
            ]
        }


class TestIncomplete:
    @pytest.mark.parametrize("build", [plates.imagexpress, plates.harmony, plates.yokogawa])
    def test_a_missing_channel_is_named(self, tmp_path, build):
        build(tmp_path)
        for pattern in ("**/*A01_s1_w25D*", "**/r01c01f01p01-ch2*", "**/*A01_T0001F001*C02.tif"):
            for path in tmp_path.glob(pattern):
                path.unlink()
        with pytest.raises(
            errors.DataError,
            match=r"4 images, but 1 of them .*/A01/s1 has channel 1, not channel 2",
        ):
            open_images(tmp_path)

    def test_images_of_an_index_that_are_not_there_are_left_out(self, tmp_path):
        plates.harmony(tmp_path)
        for path in tmp_path.glob("**/r02*.tiff"):
            path.unlink()
        source = open_source(tmp_path)
        assert source.dataset.metadata["Metadata_Well"].tolist() == ["A01", "A01"]
        assert len(source.left_out["files that the export lists and that are not there"]) == 4

    def test_time_points_that_are_not_there_are_left_out(self, tmp_path):
        plates.harmony(tmp_path)
        index = next(tmp_path.glob("*/Images/Index.idx.xml"))
        text = index.read_text(encoding="utf-8")
        first = text[text.index("<Image><id>") : text.index("</Image>", text.index("<Image><id>"))]
        later = first.replace("<TimepointID>0", "<TimepointID>1").replace(".tiff", "-t1.tiff")
        text = text.replace("</Images>", f"{later}</Image></Images>")
        index.write_text(text, encoding="utf-8")
        source = open_source(tmp_path)
        assert len(source.dataset) == 4
        assert len(source.left_out["files that the export lists and that are not there"]) == 1

    def test_an_index_alone(self, tmp_path):
        plates.harmony(tmp_path)
        for path in tmp_path.glob("**/*.tiff"):
            path.unlink()
        with pytest.raises(
            errors.DataError, match=r"lists 8 files of 4 images .* 488, HOE.*0\.65 µm.* there: Pl"
        ):
            open_images(tmp_path)

    def test_the_same_plate_twice_is_ambiguous(self, tmp_path):
        plates.imagexpress(tmp_path / "first")
        plates.imagexpress(tmp_path / "second")
        with pytest.raises(
            errors.DataError, match=r"two files for channel 1 of .*/A01/s1: first/.* and second/"
        ):
            open_images(tmp_path)

    def test_two_kinds_in_one_folder(self, tmp_path):
        plates.imagexpress(tmp_path / "a")
        plates.harmony(tmp_path / "b")
        with pytest.raises(errors.DataError, match=r"several kinds \(Opera.*8 files, Im"):
            open_images(tmp_path)

    @pytest.mark.parametrize("content", ["", "<EvaluationInputData>", "<EvaluationInputData/>"])
    def test_a_broken_index(self, tmp_path, content):
        plates.harmony(tmp_path)
        next(tmp_path.glob("*/Images/Index.idx.xml")).write_text(content)
        with pytest.raises(errors.DataError, match=r"is not well-formed|lists no images"):
            open_images(tmp_path)

    def test_a_file_with_several_channels_is_no_channel(self, tmp_path):
        plates.cellomics(tmp_path)
        path = next(tmp_path.glob("*A01f01d1.tif"))
        plates.write(path, plates.truth()["A01", "1"])
        with pytest.raises(errors.ImageError, match=r"d1\.tif holds 2 channels, but is one"):
            open_images(tmp_path)[0]

    def test_planes_in_depth_that_differ(self, tmp_path):
        plates.harmony(tmp_path, depth=3)
        path = next(tmp_path.glob("**/r01c01f01p02-ch1*"))
        plates.write(path, np.zeros((4, 4), np.uint16))
        with pytest.raises(errors.ImageError, match=r"A01/s1 differ: .*p02-ch1.*\(1, 4, 4\)"):
            open_images(tmp_path, z="max")[0]
        assert open_images(tmp_path, z="max")[1].pixels.shape == (2, 24, 32)

    def test_channels_that_are_not_chosen_are_not_read(self, tmp_path):
        plates.cellomics(tmp_path)
        for path in tmp_path.glob("*d1.tif"):
            path.write_bytes(b"")
        dataset = open_images(tmp_path, stains={"1": "GFP", "2": "DNA"}, channels=["DNA"])
        assert (dataset[0].pixels == plates.truth()["A01", "1"][1:]).all()

    def test_a_file_that_goes_away_is_an_error_of_its_image(self, tmp_path):
        dataset = open_images(plates.cellomics(tmp_path))
        next(tmp_path.glob("*A01f01d1.tif")).unlink()
        with pytest.raises(errors.ImageError, match=r"A01f01d1\.tif is missing"):
            dataset[0]
        assert dataset[1].pixels.shape == (2, 24, 32)


class TestTime:
    def test_time_points_are_images(self, tmp_path):
        for t in (1, 2):
            for c in (1, 2):
                plane = np.full((4, 4), 10 * t + c, np.uint8)
                plates.write(tmp_path / f"TimePoint_{t}" / f"p_A01_s1_w{c}.tif", plane)
        found = open_images(tmp_path)
        assert found.metadata["Metadata_Timepoint"].tolist() == ["1", "2"]
        assert [image.pixels[:, 0, 0].tolist() for image in found] == [[11, 12], [21, 22]]

    def test_the_archive_of_incucyte(self, tmp_path):
        for time in ("0000", "0600"):
            for channel in ("Ph", "C1"):
                place = tmp_path / "EssenFiles" / "ScanData" / "2101" / "28" / time / "125"
                plates.write(place / f"B3-1-{channel}.tif", np.zeros((4, 4), np.uint8))
        found = open_images(tmp_path, channels=("Phase", "Green"))
        assert found.metadata["Metadata_Plate"].tolist() == ["125", "125"]
        assert found.metadata["Metadata_Well"].tolist() == ["B03", "B03"]
        times = ["2021y01m28d_00h00m", "2021y01m28d_06h00m"]
        assert found.metadata["Metadata_Timepoint"].tolist() == times
        assert found[0].stains == ("Phase", "Green")


class TestNames:
    def test_wells(self):
        assert [well_of(1, 1), well_of(8, 12), well_of(26, 2), well_of(27, 3)] == [
            "A01",
            "H12",
            "Z02",
            "AA03",
        ]
        assert [canonical_well(t) for t in ("a1", "A01", "A-001", "AF48", "A0", "plate")] == [
            "A01",
            "A01",
            "A01",
            "AF48",
            None,
            None,
        ]

    @pytest.mark.parametrize(
        "paths",
        [
            ["a_w1.tif", "a_w2.tif", "b_w1.tif", "b_w2.tif"],
            ["A01_s1_GFP.png", "A01_s1_DNA.png"],
            ["Channel1-01-A-01.BMP", "Channel2-01-A-01.BMP"],
            ["f1/DAPI.tif", "f1/GFP.tif", "f2/DAPI.tif", "f2/GFP.tif"],
            ["a_ch00.tif", "a_ch01.tif", "notes.png"],
        ],
    )
    def test_one_file_for_each_channel_is_suspected_and_never_embedded(self, tmp_path, paths):
        assert looks_split(paths)
        for name in paths:
            plates.write(tmp_path / name, np.zeros((4, 4), np.uint8))
        with pytest.raises(errors.DataError, match=r"seems to hold one file .*--pattern.*\{well\}"):
            open_images(tmp_path)

    @pytest.mark.parametrize(
        "paths",
        [
            ["A01.tif", "A02.tif"],
            ["c0.ome.tif", "c1.ome.tif"],
            ["img_1.png", "img_2.png"],
            ["cat/1.png", "dog/1.png"],
            ["A01_s1.tif", "A01_s2.tif", "A01_s1_DNA.tif", "A01_s1_GFP.tif"],
        ],
    )
    def test_other_names_are_images(self, paths):
        assert not looks_split(paths)


class TestVariants:
    """Names as instruments and people write them: other case, parts left away, other orders."""

    def channels(self, folder, names, **options):
        for k, name in enumerate(names):
            plates.write(folder / name, np.full((4, 4), k, np.uint8))
        source = open_source(folder, Choices(**options))
        values = [image.pixels[:, 0, 0].tolist() for image in source.dataset]
        return values, source

    @pytest.mark.parametrize(
        ("names", "plate", "well"),
        [
            (("B02_s1_w1.tif", "B02_s1_w2.tif"), None, "B02"),
            ((f"g10_s1_w1{plates.GUID.lower()}.tif", f"g10_s1_w2{plates.GUID}.tif"), None, "G10"),
            (("x_y_A1_w1.TIF", "x_y_A1_w2.TIF"), "x_y", "A01"),
            (("exp_A1_b02_s1_w1.png", "exp_A1_b02_s1_w2.png"), "exp_A1", "B02"),
            (("r16c24f09p01-ch1.tiff", "r16c24f09p01-ch2.tiff"), None, "P24"),
            (("A_D04_T0001F006L01A01Z01C01.png", "A_D04_T0001F006L01A02Z01C02.png"), "A", "D04"),
            (
                ("SC_1_D04_T0001F006L01A01Z01C01.tif", "SC_1_D04_T0001F006L01A01Z01C02.tif"),
                "SC_1",
                "D04",
            ),
            (("W00001--P00001--GFP.tif", "W00001--P00001--DAPI.tif"), None, None),
            (("A - 01(fld 1 wv DAPI - DAPI).tif", "A - 01(fld 1 wv Cy3 - Cy3).tif"), None, "A01"),
        ],
    )
    def test_names(self, tmp_path, names, plate, well):
        folder = tmp_path / "folder"
        values, source = self.channels(folder, names)
        assert [sorted(v) for v in values] == [[0, 1]]
        table = source.dataset.metadata
        assert table["Metadata_Plate"].tolist() == [plate or "folder"]
        if well is not None:
            assert table["Metadata_Well"].tolist() == [well]

    @pytest.mark.parametrize(
        ("names", "plate", "stains"),
        [
            (
                ("VID7_Phase_A1_1_00d00h00m.tif", "VID7_Green_A1_1_00d00h00m.tif"),
                "VID7",
                "Green Phase",
            ),
            (("Green_VID7_A1_1_00d00h00m.tif", "Red_VID7_A1_1_00d00h00m.tif"), "VID7", "Green Red"),
            (("p_GFP_A1_1_00d00h00m.tif", "p_DNA_A1_1_00d00h00m.tif"), "p", "DNA GFP"),
            (("p_mine_A1_1_00d00h00m.tif", "p_yours_A1_1_00d00h00m.tif"), "p", "mine yours"),
            (
                ("Phase/VID7_A1_1_00d00h00m.tif", "Green/VID7_A1_1_00d00h00m.tif"),
                "VID7",
                "Green Phase",
            ),
        ],
    )
    def test_channels_of_incucyte(self, tmp_path, names, plate, stains):
        values, source = self.channels(tmp_path, names)
        assert [sorted(v) for v in values] == [[0, 1]]
        assert source.dataset.metadata["Metadata_Plate"].tolist() == [plate]
        assert source.stains == tuple(stains.split())

    def test_plates_of_incucyte_are_no_channels(self, tmp_path):
        names = ("x_VID7_A1_1_00d00h00m.tif", "x_VID8_A1_1_00d00h00m.tif")
        assert self.channels(tmp_path, names)[0] == [[0], [1]]

    def test_a_label_of_scanr_that_is_no_well_is_a_name(self, tmp_path):
        names = [f"cells--W00013--P00001--{c}.tif" for c in ("DAPI", "GFP")]
        _, source = self.channels(tmp_path, names)
        assert "Metadata_Well" not in source.dataset.metadata
        assert source.dataset.metadata["Metadata_Name"].tolist() == ["W13"]

    def test_settings_of_one_wavelength(self, tmp_path):
        plates.write(tmp_path / "p_A01_s1.TIF", np.zeros((4, 4), np.uint8))
        (tmp_path / "p.htd").write_bytes(b'"NWavelengths", 1\r\n"WaveName1", "DAPI"\r\n')
        source = open_source(tmp_path)
        assert source.dataset[0].stains == ("DAPI",)
        assert source.dataset.metadata["Metadata_Well"].tolist() == ["A01"]

    def test_a_picture_of_a_well_is_no_channel(self, tmp_path):
        plates.imagexpress(tmp_path)
        plates.write(tmp_path / f"{plates.PLATE}_A01.TIF", np.zeros((4, 4), np.uint8))
        source = open_source(tmp_path)
        assert len(source.dataset) == 4
        other = source.left_out["files whose names are not of this format"]
        assert other == [f"{plates.PLATE}_A01.TIF"]

    def test_settings_of_other_plates_name_no_stains(self, tmp_path):
        for c in (1, 2):
            plates.write(tmp_path / f"p_A01_s1_w{c}.TIF", np.zeros((4, 4), np.uint8))
        for name, dyes in (("a", ("DAPI", "FITC")), ("b", ("FITC", "DAPI"))):
            text = "\r\n".join(f'"WaveName{c}", "{dye}"' for c, dye in enumerate(dyes, 1))
            (tmp_path / f"{name}.HTD").write_text(text)
        assert open_source(tmp_path).stains is None
        (tmp_path / "P.HTD").write_text((tmp_path / "b.HTD").read_text())
        assert open_source(tmp_path).stains == ("FITC", "DAPI")

    def test_files_that_no_instrument_wrote_are_images(self, tmp_path):
        for name in ("p_A01_s1.tif", "p_A01_s2.tif"):
            plates.write(tmp_path / name, np.zeros((2, 4, 4), np.uint8))
        assert open_source(tmp_path).kind == "image files, one image in each"
