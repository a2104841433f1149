"""BBBC021 from a miniature in the official layout."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from zoo import errors
from zoo._data.sources import load_dataset

CHANNELS = ("DAPI", "Tubulin", "Actin")
PLATES = ["Week1_22123", "Week1_22141", "Week10_40111"]
# Well, compound, concentration, mechanism (None: not annotated).
WELLS = [
    ("B02", "DMSO", 0.0, "DMSO"),
    ("C02", "taxol", 0.3, "Microtubule stabilizers"),
    ("C03", "epothilone B", 0.1, "Microtubule stabilizers"),
    ("D04", "nocodazole", 1.0, "Microtubule destabilizers"),
    ("D05", "vincristine", 0.03, "Microtubule destabilizers"),
    ("E06", "nocodazole", 100.0, None),
    ("F07", "quercetin", 3.0, None),
]


def plane(plate, well, channel):
    """Pixels that tell plate, well and channel."""
    number = sum(map(ord, f"{plate}{well}"))
    rng = np.random.default_rng([number, CHANNELS.index(channel)])
    return rng.integers(0, 4096, (6, 8), dtype=np.uint16)


def file_name(well, channel):
    return f"{well}_s1_w{CHANNELS.index(channel) + 1}A1B2.tif"


def tables(folder, wells=WELLS, plates=PLATES, **columns):
    rows = []
    for plate in plates:
        for well, compound, dose, _ in wells:
            row = {"TableNumber": 0, "ImageNumber": len(rows) + 1}
            for channel in CHANNELS:
                row[f"Image_FileName_{channel}"] = file_name(well, channel)
                row[f"Image_PathName_{channel}"] = f"{plate.partition('_')[0]}/{plate}"
            row |= {
                "Image_Metadata_Plate_DAPI": plate,
                "Image_Metadata_Well_DAPI": well,
                "Replicate": 1,
                "Image_Metadata_Compound": compound,
                "Image_Metadata_Concentration": dose,
            }
            rows.append(row | columns)
    pd.DataFrame(rows).to_csv(folder / "BBBC021_v1_image.csv", index=False)
    known = pd.DataFrame(
        [(c, f"{d:.3f}", m) for _, c, d, m in wells if m],
        columns=["compound", "concentration", "moa"],
    )
    known.drop_duplicates().to_csv(folder / "BBBC021_v1_moa.csv", index=False)
    return folder


def images(folder, plates=PLATES):
    for plate in plates:
        (folder / plate).mkdir(parents=True)
        for well, *_ in WELLS:
            for channel in CHANNELS:
                tifffile.imwrite(
                    folder / plate / file_name(well, channel), plane(plate, well, channel)
                )
    return folder


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "set"
    return tables(images(place))


def open_fields(path=None):
    return load_dataset("bbbc021", path)


class TestOpened:
    def test_the_table(self, folder):
        table = open_fields(folder).metadata
        assert len(table) == 21
        assert table["plate"].tolist() == [p for p in PLATES for _ in WELLS]
        assert table["week"].tolist() == ["Week1"] * 14 + ["Week10"] * 7
        first = table[:7]
        assert first["well"].tolist() == [well for well, *_ in WELLS]
        assert first["row"].tolist() == list("BCCDDEF")
        assert first["column"].tolist() == [2, 2, 3, 4, 5, 6, 7]
        assert first["compound"].tolist() == [c for _, c, *_ in WELLS]
        assert first["treatment"].tolist() == [
            "DMSO",
            "taxol 0.3",
            "epothilone B 0.1",
            "nocodazole 1",
            "vincristine 0.03",
            "nocodazole 100",
            "quercetin 3",
        ]
        assert first["control"].tolist() == ["negative"] + ["sample"] * 6
        # DMSO is a control, no mechanism; of nocodazole one concentration is annotated.
        assert first["moa"].isna().tolist() == [True, False, False, False, False, True, True]
        assert first["moa"].dropna().tolist() == [m for _, _, _, m in WELLS if m and m != "DMSO"]

    def test_the_images(self, folder):
        dataset = open_fields(folder)
        for i in (0, 6, 20):
            plate, well = dataset.metadata[["plate", "well"]].iloc[i]
            image = dataset[i]
            assert image.stains == ("DNA", "tubulin", "actin")
            assert image.pixels.dtype == np.uint16
            assert image.pixels.tolist() == [plane(plate, well, c).tolist() for c in CHANNELS]

    def test_questions_leave_controls_and_unknown_mechanisms_out(self, folder):
        dataset = open_fields(folder)
        spec = dataset.spec
        assert (spec.design.group, spec.design.batch, spec.design.perturbation) == (
            "compound",
            "plate",
            "treatment",
        )
        assert spec.design.domains == ("week",)
        from zoo._evaluation.tasks import pose_task

        for task in spec.design.tasks:
            question = pose_task(task, dataset.metadata, spec.design.group)
            assert sorted(set(question.groups)) == [
                "epothilone B",
                "nocodazole",
                "taxol",
                "vincristine",
            ]
            assert len(question.items) == 12
            assert question.left_out == ("6 item(s) without moa or compound",)

    def test_some_plates_and_other_places_will_do(self, tmp_path):
        place = tables(images(tmp_path / "deep" / "Week1", PLATES[1:2]).parent)
        (place / "__MACOSX" / PLATES[1]).mkdir(parents=True)
        (place / "__MACOSX" / PLATES[1] / "._x.tif").write_bytes(b"")
        dataset = open_fields(place)
        assert dataset.metadata["plate"].unique().tolist() == PLATES[1:2]
        assert dataset[1].pixels[2].tolist() == plane(PLATES[1], "C02", "Actin").tolist()

    def test_a_plate_unpacked_into_a_folder_of_its_name(self, tmp_path):
        images(tmp_path / PLATES[0], PLATES[:1])
        assert len(open_fields(tables(tmp_path))) == 7

    def test_structures_where_they_are_given(self, folder):
        (folder / "BBBC021_v1_compound.csv").write_text("compound,smiles\ntaxol,CCO\n")
        table = open_fields(folder).metadata
        assert table["smiles"].dropna().unique().tolist() == ["CCO"]
        assert (table["smiles"].notna() == (table["compound"] == "taxol")).all()

    def test_fields_without_a_compound_stay_without(self, tmp_path):
        wells = [*WELLS[:6], ("F07", None, None, None)]
        table = open_fields(tables(images(tmp_path), wells)).metadata
        strange = table[table["well"] == "F07"]
        assert len(strange) == 3
        assert strange[["compound", "treatment", "control", "moa"]].isna().all(axis=None)

    def test_the_two_tables_may_write_a_number_in_two_ways(self, folder):
        text = (folder / "BBBC021_v1_moa.csv").read_text()
        assert "taxol,0.300," in text
        (folder / "BBBC021_v1_moa.csv").write_text(text.replace("0.300", "0.30000001"))
        assert open_fields(folder).metadata["moa"][1] == "Microtubule stabilizers"


class TestFaults:
    def test_without_data_it_says_what_to_fetch(self):
        with pytest.raises(
            errors.DataError, match=r"bbbc\.broadinstitute\.org/BBBC021.*_moa\.csv.*--data"
        ):
            open_fields()

    @pytest.mark.parametrize("name", ["image", "moa"])
    def test_a_missing_table(self, folder, name):
        (folder / f"BBBC021_v1_{name}.csv").unlink()
        with pytest.raises(errors.DataError, match=rf"BBBC021_v1_{name}\.csv is missing"):
            open_fields(folder)

    def test_missing_columns(self, folder):
        (folder / "BBBC021_v1_moa.csv").write_text("compound,moa\n")
        with pytest.raises(errors.DataError, match=r"lacks the column\(s\) concentration"):
            open_fields(folder)
        (folder / "BBBC021_v1_image.csv").write_text("TableNumber\n1\n")
        with pytest.raises(errors.DataError, match=r"lacks the column\(s\) Image_FileName_DAPI"):
            open_fields(folder)

    def test_a_concentration_that_is_none(self, tmp_path):
        tables(images(tmp_path), Image_Metadata_Concentration="high")
        with pytest.raises(
            errors.DataError, match=r"'high' in the column Image_Metadata_Concentra"
        ):
            open_fields(tmp_path)

    def test_no_plate(self, tmp_path):
        with pytest.raises(
            errors.DataError, match=r"images of no plate .*in a folder Week1_22123 "
        ):
            open_fields(tables(tmp_path))

    def test_the_same_plate_twice(self, folder):
        images(folder / "again", PLATES[:1])
        with pytest.raises(errors.DataError, match=r"are the same plate: keep one"):
            open_fields(folder)

    def test_missing_files_are_counted_and_one_is_named(self, folder):
        for channel in CHANNELS[1:]:
            (folder / PLATES[1] / file_name("D04", channel)).unlink()
        with pytest.raises(
            errors.DataError, match=r"^2 files are missing .*22141/D04_s1_w2A1B2\.tif"
        ):
            open_fields(folder)

    def test_two_mechanisms_of_one_treatment(self, folder):
        with (folder / "BBBC021_v1_moa.csv").open("a") as file:
            file.write("taxol,0.3,Actin disruptors\n")
        with pytest.raises(
            errors.DataError, match=r"gives taxol at 0\.3 two mechanisms: Microtubule"
        ):
            open_fields(folder)

    def test_a_colour_picture_is_no_channel(self, folder):
        for channel in CHANNELS:
            tifffile.imwrite(
                folder / PLATES[0] / file_name("B02", channel),
                np.zeros((6, 8, 3), np.uint8),
                photometric="rgb",
            )
        with pytest.raises(errors.DataError, match=r"B02_s1_w1A1B2\.tif, …\) have 9"):
            open_fields(folder)[0]
