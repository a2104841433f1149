"""BBBC022 from a miniature in the official layout."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from zoo import errors
from zoo._data.sources import load_dataset
from zoo._evaluation.tasks import pose_task

PLATES = [20585, 20586]
SITES = (1, 2)
# Well, role, compound.
WELLS = [
    ("A01", "mock", None),
    ("B07", "compound", "BRD-K001"),
    ("C11", "compound", "BRD-K002"),
    ("P24", "compound", None),
]


def plane(plate, well, site, channel):
    """Pixels that tell plate, well, site and channel."""
    rng = np.random.default_rng([plate, *map(ord, well), site, channel])
    return rng.integers(0, 4096, (6, 8), dtype=np.uint16)


def place(folder, plate, well, site, channel):
    return (
        folder
        / f"BBBC022_v1_images_{plate}w{channel}"
        / f"IXMtest_{well}_s{site}_w{channel}CE70AD49-290D.tif"
    )


def save(folder, wells=WELLS, **names):
    rows = []
    for plate in PLATES:
        for well, role, compound in wells:
            for site in SITES:
                for channel in range(1, 6):
                    file = place(folder, plate, well, site, channel)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    tifffile.imwrite(file, plane(plate, well, site, channel))
                rows.append((plate, well, role, compound, site))
    columns = {
        "plate": "Image_Metadata_PlateID",
        "well": "Image_Metadata_CPD_WELL_POSITION",
        "role": "Image_Metadata_ASSAY_WELL_ROLE",
        "compound": "Image_Metadata_BROAD_ID",
        "site": "Image_Metadata_Site",
    } | names
    table = pd.DataFrame(rows, columns=list(columns.values()))
    table.to_csv(folder / "BBBC022_v1_image.csv", index=False)
    return folder


def open_fields(path=None):
    return load_dataset("bbbc022", path)


class TestOpened:
    def test_the_table(self, tmp_path):
        table = open_fields(save(tmp_path)).metadata
        assert len(table) == 16
        first = table[table["plate"] == "20585"]
        assert first["well"].tolist() == [well for well, *_ in WELLS for _ in SITES]
        assert first["site"].tolist() == [1, 2] * 4
        assert first["control"].tolist() == ["negative"] * 2 + ["sample"] * 6
        assert first["compound"][:6].tolist() == ["none"] * 2 + ["BRD-K001"] * 2 + ["BRD-K002"] * 2
        assert first["compound"][6:].isna().all()
        assert first["row"].tolist() == list("AABBCCPP")
        assert first["column"].tolist() == [1, 1, 7, 7, 11, 11, 24, 24]

    def test_the_images(self, tmp_path):
        dataset = open_fields(save(tmp_path))
        for i, row in dataset.metadata.iterrows():
            image = dataset[i]
            assert image.stains == ("DNA", "ER", "RNA", "AGP", "Mito")
            field = (int(row["plate"]), row["well"], row["site"])
            assert image.pixels.tolist() == [plane(*field, c).tolist() for c in range(1, 6)]

    def test_replicates_are_on_other_plates(self, tmp_path):
        dataset = open_fields(save(tmp_path))
        spec = dataset.spec
        assert (spec.design.group, spec.design.position, spec.design.perturbation) == (
            "plate",
            "well",
            "compound",
        )
        retrieval, separation = (
            pose_task(t, dataset.metadata, spec.design.group) for t in spec.design.tasks
        )
        assert sorted(set(retrieval.truth)) == ["BRD-K001", "BRD-K002"]
        assert retrieval.left_out == ("4 item(s) without compound or plate",)
        assert sorted(set(separation.truth)) == ["negative", "sample"]

    @pytest.mark.parametrize(
        "names",
        [
            {"plate": "plate", "well": "well", "role": "role", "compound": "compound"},
            {"plate": "Metadata_Plate", "compound": "Image_Metadata_SOURCE_COMPOUND_NAME"},
        ],
        ids=["plain", "mixed"],
    )
    def test_other_names_of_columns(self, tmp_path, names):
        official = open_fields(save(tmp_path / "a")).metadata
        other = open_fields(save(tmp_path / "b", **names)).metadata
        pd.testing.assert_frame_equal(official, other)

    def test_plates_and_wells_may_be_missing_and_thumbnails_are_none(self, tmp_path):
        save(tmp_path)
        for channel in range(1, 6):
            for file in place(tmp_path, PLATES[1], "A01", 1, channel).parent.iterdir():
                file.unlink()
            file = place(tmp_path, PLATES[0], "B07", 2, channel)
            file.unlink()
            (file.parent / f"IXMtest_A01_s1_w{channel}_thumb1234.tif").write_bytes(b"")
            (file.parent / f"._IXMtest_A01_s1_w{channel}CE70.tif").write_bytes(b"")
        assert len(open_fields(tmp_path)) == 7

    def test_a_single_plate_may_be_named_by_the_folder_itself(self, tmp_path):
        save(tmp_path / "20585")
        for file in (tmp_path / "20585").rglob(f"*{PLATES[0]}*/*.tif"):
            file.rename(tmp_path / "20585" / file.name)
        for file in (tmp_path / "20585").rglob(f"*{PLATES[1]}*/*.tif"):
            file.unlink()
        assert set(open_fields(tmp_path / "20585").metadata["plate"]) == {"20585"}

    def test_wells_with_one_digit_and_plates_that_a_gap_made_floats(self, tmp_path):
        save(tmp_path)
        table = pd.read_csv(tmp_path / "BBBC022_v1_image.csv")
        well = "Image_Metadata_CPD_WELL_POSITION"
        table[well] = table[well].str.lower().str.replace("01", "1").str.replace("07", "7")
        table.loc[len(table)] = None
        table.to_csv(tmp_path / "BBBC022_v1_image.csv", index=False)
        assert "20585.0" in (tmp_path / "BBBC022_v1_image.csv").read_text()
        assert open_fields(tmp_path).metadata["well"].unique().tolist() == [
            "A01",
            "B07",
            "C11",
            "P24",
        ]


class TestFaults:
    def test_without_data_it_says_what_to_fetch(self):
        with pytest.raises(errors.DataError, match=r"org/BBBC022.*five channels.*--data"):
            open_fields()

    def test_without_the_table(self, tmp_path):
        save(tmp_path)
        (tmp_path / "BBBC022_v1_image.csv").unlink()
        with pytest.raises(errors.DataError, match=r"BBBC022_v1_image\.csv is missing"):
            open_fields(tmp_path)

    @pytest.mark.parametrize("meaning", ["plate", "well", "role", "compound"])
    def test_without_a_column(self, tmp_path, meaning):
        with pytest.raises(
            errors.DataError, match=rf"no column for the {meaning}: none of .*Metadata"
        ):
            open_fields(save(tmp_path, **{meaning: "something"}))

    def test_without_images(self, tmp_path):
        save(tmp_path)
        for file in tmp_path.rglob("*.tif"):
            file.unlink()
        with pytest.raises(errors.DataError, match=r"no images of BBBC022, such as IXMtest_A01"):
            open_fields(tmp_path)

    def test_without_a_channel(self, tmp_path):
        save(tmp_path)
        for channel in (3, 5):
            place(tmp_path, 20586, "C11", 2, channel).unlink()
        with pytest.raises(
            errors.DataError,
            match=r"well C11, site 2 of plate 20586 lacks the channel\(s\) w3, w5",
        ):
            open_fields(tmp_path)

    def test_without_a_plate(self, tmp_path):
        save(tmp_path / "set")
        (tmp_path / "set" / "BBBC022_v1_images_20585w1").rename(tmp_path / "set" / "first")
        with pytest.raises(errors.DataError, match=r"no folder above .* names its plate"):
            open_fields(tmp_path / "set")

    def test_without_controls(self, tmp_path):
        with pytest.raises(errors.DataError, match=r"no negative controls: .* but compound"):
            open_fields(save(tmp_path, WELLS[1:]))

    def test_a_well_that_the_table_does_not_know(self, tmp_path):
        save(tmp_path)
        table = pd.read_csv(tmp_path / "BBBC022_v1_image.csv")
        table[table["Image_Metadata_CPD_WELL_POSITION"] != "B07"].to_csv(
            tmp_path / "BBBC022_v1_image.csv", index=False
        )
        with pytest.raises(
            errors.DataError, match=r"nothing of 4 fields .* well B07 of plate 20585"
        ):
            open_fields(tmp_path)

    def test_a_well_with_two_compounds(self, tmp_path):
        with pytest.raises(errors.DataError, match=r"gives well A01 of plate 20585 two compounds"):
            open_fields(save(tmp_path, [*WELLS, ("A01", "compound", "BRD-K009")]))

    def test_a_channel_twice(self, tmp_path):
        save(tmp_path)
        file = place(tmp_path, 20585, "A01", 1, 1)
        (file.parent / "IXMtest_A01_s1_w1other.tif").write_bytes(file.read_bytes())
        with pytest.raises(errors.DataError, match=r"are the same channel of the same field: keep"):
            open_fields(tmp_path)
