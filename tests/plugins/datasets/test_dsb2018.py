"""BBBC038 from miniatures of both layouts, with the answers counted by hand, and real images."""

import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture
from scipy import ndimage
from zoo.plugins.datasets import dsb2018

import zoo
from zoo import errors
from zoo._data.sources import load_dataset

IDS = [f"{k:064x}" for k in range(40, 48)]
# Size and look of each image; nuclei are squares of 2 × 2 pixels on a lattice.
LOOKS = [
    ("fluorescence", (24, 32)),
    ("fluorescence", (24, 32)),
    ("fluorescence", (32, 32)),
    ("fluorescence", (32, 32)),
    ("brightfield_stained_rgb", (24, 32)),
    ("brightfield_stained_rgb", (32, 32)),
    ("brightfield_grey", (40, 32)),
    ("brightfield_grey", (40, 32)),
]
COUNTS = [1, 2, 3, 5, 4, 6, 2, 3]


def nuclei(k):
    """Masks of image k, (count, H, W)."""
    masks = np.zeros((COUNTS[k], *LOOKS[k][1]), bool)
    for n, mask in enumerate(masks):
        mask[4 * (n // 3) + 1 :, 6 * (n % 3) + 2 :][:2, :2] = True
    return masks


def pixels(k):
    """RGBA as the archive stores all images, (H, W, 4)."""
    look, size = LOOKS[k]
    rng = np.random.default_rng(k)
    ground, object_ = (30, 120) if look == "fluorescence" else (200, 90)
    grey = np.where(nuclei(k).any(0), object_, ground) + rng.integers(0, 20, size)
    colour = np.repeat(grey[..., None], 3, axis=2)
    if look == "brightfield_stained_rgb":
        colour[..., 1] -= 20
    return np.dstack([colour, np.full(size, 255)]).astype(np.uint8)


def save_official(folder, numbers=range(8)):
    for k in numbers:
        place = folder / IDS[k]
        (place / "images").mkdir(parents=True)
        (place / "masks").mkdir()
        Picture.fromarray(pixels(k)).save(place / "images" / f"{IDS[k]}.png")
        for n, mask in enumerate(nuclei(k)):
            Picture.fromarray(mask.astype(np.uint8) * 255).save(place / "masks" / f"{n:03d}.png")
    return folder


def save_plain(folder, **columns):
    rows = []
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for k, (look, (height, width)) in enumerate(LOOKS):
        numbers = (nuclei(k) * np.arange(1, COUNTS[k] + 1)[:, None, None]).sum(0)
        colour = pixels(k)[..., :3]
        grey = look != "brightfield_stained_rgb"
        Picture.fromarray(colour[..., 0] if grey else colour).save(folder / f"images/{k}.png")
        Picture.fromarray(numbers.astype(np.uint16)).save(folder / f"masks/{k}.png")
        share = 4 * COUNTS[k] / (height * width)
        files = (f"images/{k}.png", f"masks/{k}.png")
        rows.append((*files, IDS[k], look, COUNTS[k], height, width, share))
    names = ["image", "mask", "dsb_id", "modality", "n_nuclei", "h", "w", "nuclear_area_frac"]
    table = pd.DataFrame(rows, columns=names).assign(**columns)
    table.to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


def open_nuclei(path=None):
    return load_dataset("dsb2018", path)


class TestLayouts:
    def test_both_give_the_same(self, tmp_path):
        official = open_nuclei(save_official(tmp_path / "a" / "stage1_train").parent)
        plain = open_nuclei(save_plain(tmp_path / "b"))
        assert official.metadata["image"].tolist() == plain.metadata["dsb_id"].tolist() == IDS
        columns = ["modality", "nuclei", "nuclear_area", "height", "width", "source"]
        pd.testing.assert_frame_equal(official.metadata[columns], plain.metadata[columns])
        assert official.metadata["modality"].tolist() == [look for look, _ in LOOKS]
        assert official.metadata["nuclei"].tolist() == COUNTS
        assert official.metadata["source"][4] == "brightfield_stained_rgb, 24 × 32"
        for k in range(8):
            for dataset in (official, plain):
                image = dataset[k]
                coloured = LOOKS[k][0] == "brightfield_stained_rgb"
                wanted = np.moveaxis(pixels(k)[..., : 3 if coloured else 1], -1, 0)
                assert image.pixels.tolist() == wanted.tolist()
                assert image.stains == (("red", "green", "blue") if coloured else None)
                assert image.mask.dtype == np.int32
                assert image.mask.max() == COUNTS[k]
                assert [(image.mask == n + 1).tolist() for n in range(COUNTS[k])] == [
                    mask.tolist() for mask in nuclei(k)
                ]

    def test_the_record_asks_what_the_table_answers(self, tmp_path):
        dataset = open_nuclei(save_plain(tmp_path))
        assert dataset.spec.design.label == "modality"
        assert len(dataset.spec.design.tasks) == 5
        assert any("not recorded" in note for note in dataset.spec.notes)
        assert dataset.metadata["image"].is_unique

    def test_one_modality_leaves_its_question_out(self, tmp_path):
        dataset = open_nuclei(save_official(tmp_path, range(4)))
        assert {task.kind for task in dataset.spec.design.tasks} == {"dose"}
        assert sum("is left out" in note for note in dataset.spec.notes) == 2

    def test_overlaps_belong_to_the_first_and_empty_masks_to_nobody(self, tmp_path):
        save_official(tmp_path, [0])
        place = tmp_path / IDS[0] / "masks"
        for name, rows in (
            ("a_empty", slice(0, 0)),
            ("b_overlap", slice(0, 2)),
            ("c", slice(1, 2)),
        ):
            mask = np.zeros((24, 32), np.uint8)
            mask[rows] = 255
            Picture.fromarray(mask).save(place / f"{name}.png")
        dataset = open_nuclei(tmp_path)
        mask = dataset[0].mask
        # The nucleus of "000" covers two rows from 1, "b_overlap" rows 0 and 1 but for it; nothing
        # is left for "c".
        assert dataset.metadata["nuclei"].tolist() == [2]
        assert mask[1, 2:4].tolist() == mask[2, 2:4].tolist() == [1, 1]
        assert (mask[0] == 2).all()
        assert (mask == 2).sum() == 2 * 32 - 2
        assert dataset.metadata["nuclear_area"][0] == pytest.approx((64 + 2) / (24 * 32))

    def test_grey_without_nuclei_has_no_modality(self, tmp_path):
        save_official(tmp_path, [0, 1, 2, 4, 5])
        Picture.fromarray(np.zeros((24, 32), np.uint8)).save(tmp_path / IDS[0] / "masks/000.png")
        for _ in range(2):  # measured, then remembered
            table = open_nuclei(tmp_path).metadata
            assert table["modality"].isna().tolist() == [True, False, False, False, False]
            assert table["source"].isna().tolist() == [True, False, False, False, False]
            assert table["nuclei"].tolist() == [0, 2, 3, 4, 6]


class TestRemembered:
    def test_measured_once_while_nothing_changes(self, tmp_path, cache, monkeypatch):
        save_official(tmp_path / "set")
        first = open_nuclei(tmp_path / "set").metadata
        assert [p.suffix for p in cache.iterdir()] == [".csv"]
        with monkeypatch.context() as context:
            context.setattr(dsb2018, "_measure", pytest.fail)
            pd.testing.assert_frame_equal(open_nuclei(tmp_path / "set").metadata, first)
        extra = np.zeros((24, 32), np.uint8)
        extra[20:22] = 255
        Picture.fromarray(extra).save(tmp_path / "set" / IDS[0] / "masks" / "more.png")
        assert open_nuclei(tmp_path / "set").metadata["nuclei"].tolist() == [2, *COUNTS[1:]]

    @pytest.mark.parametrize("content", ["", "modality\nx\n", "\0", '"'])
    def test_a_spoilt_note_is_measured_again(self, tmp_path, cache, content):
        save_official(tmp_path / "set")
        first = open_nuclei(tmp_path / "set").metadata
        (note,) = cache.iterdir()
        note.write_text(content)
        pd.testing.assert_frame_equal(open_nuclei(tmp_path / "set").metadata, first)

    def test_a_cache_that_cannot_be_written_is_no_hindrance(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
        assert len(open_nuclei(save_official(tmp_path / "set", [0, 4]))) == 2


class TestFaults:
    def test_another_folder(self, tmp_path):
        (tmp_path / "x.png").write_bytes(b"")
        with pytest.raises(errors.DataError, match=r"neither labels\.csv nor ID/images/ID\.png"):
            open_nuclei(tmp_path)
        with pytest.raises(errors.DataError, match="does not exist"):
            open_nuclei(tmp_path / "nowhere")

    def test_images_without_masks(self, tmp_path):
        save_official(tmp_path)
        for mask in (tmp_path / IDS[3] / "masks").iterdir():
            mask.unlink()
        with pytest.raises(errors.DataError, match=rf"{IDS[3]}/masks has no masks: .*stage1_train"):
            open_nuclei(tmp_path)

    def test_a_mask_of_another_size(self, tmp_path):
        save_official(tmp_path)
        Picture.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / IDS[1] / "masks/001.png")
        with pytest.raises(
            errors.DataError, match=r"001\.png has 5 × 6 pixels, but its image 24 × 32"
        ):
            open_nuclei(tmp_path)

    def test_a_broken_image_is_named(self, tmp_path):
        save_official(tmp_path)
        broken = tmp_path / IDS[2] / "images" / f"{IDS[2]}.png"
        broken.write_bytes(broken.read_bytes()[:40])
        with pytest.raises(errors.ImageError, match=IDS[2]):
            open_nuclei(tmp_path)

    def test_faults_of_the_table(self, tmp_path):
        folder = save_plain(tmp_path / "set", n_nuclei="many")
        with pytest.raises(errors.DataError, match=r"'many' in the column n_nuclei.* numbers"):
            open_nuclei(folder)
        (folder / "labels.csv").write_text("image,mask\na,b\n")
        with pytest.raises(
            errors.DataError, match=r"lacks the column\(s\) modality, n_nuclei, h, w"
        ):
            open_nuclei(folder)

    def test_missing_files_of_the_table_are_named(self, tmp_path):
        folder = save_plain(tmp_path)
        (folder / "masks" / "3.png").unlink()
        with pytest.raises(errors.DataError, match=r"1 of 16 files .*masks/3\.png"):
            open_nuclei(folder)

    def test_rows_without_an_image(self, tmp_path):
        folder = save_plain(tmp_path, image=[None] * 8)
        with pytest.raises(errors.DataError, match="rows without an image or a mask"):
            open_nuclei(folder)

    def test_a_mask_of_colours_numbers_nothing(self, tmp_path):
        folder = save_plain(tmp_path)
        Picture.fromarray(np.zeros((24, 32, 3), np.uint8)).save(folder / "masks/0.png")
        with pytest.raises(errors.DataError, match=r"masks/0\.png has the shape \(3, 24, 32\)"):
            open_nuclei(folder)[0]


def test_the_archive_is_fetched_once(tmp_path, cache, monkeypatch):
    folder = save_official(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "stage1_train.zip", "w") as file:
        for path in sorted(folder.rglob("*.png")):
            file.write(path, path.relative_to(folder))
    monkeypatch.setattr(dsb2018, "URL", (tmp_path / "stage1_train.zip").as_uri())
    assert open_nuclei().metadata["nuclei"].tolist() == COUNTS
    (tmp_path / "stage1_train.zip").unlink()
    assert len(open_nuclei()) == 8
    assert (cache / "dsb2018.sha256").is_file()


@pytest.mark.slow
def test_it_can_be_evaluated(tmp_path):
    """The lattice's counts are in the masks, which structural controls are given."""
    result = zoo.evaluate(
        "object-density",
        dataset="dsb2018",
        data=save_official(tmp_path / "set"),
        controls=["constant"],
        cache=False,
    )
    assert {row.task for row in result.rows} == {
        "modality",
        "nucleus count",
        "nucleus count in fluorescence",
        "nuclear area",
    }
    assert all(row.n_groups == row.n_items for row in result.rows)


@pytest.fixture
def real(real_data):
    """Folder of its real images, or a skip."""
    if not (real_data / "dsb2018").is_dir():
        pytest.skip("the real images lack dsb2018/")
    return real_data / "dsb2018"


def test_real_masks_hold_what_the_table_says(real):
    dataset = open_nuclei(real)
    assert len(dataset) == 60
    for i in range(0, 60, 4):
        image, row = dataset[i], dataset.metadata.iloc[i]
        assert image.pixels.shape[1:] == image.mask.shape == (row["height"], row["width"])
        assert len(image.pixels) == (1 if row["modality"] == "fluorescence" else 3)
        assert len(np.unique(image.mask)) - 1 == row["nuclei"]
        # The table has the share of the area in full precision.
        assert (image.mask > 0).mean() == pytest.approx(row["nuclear_area"], rel=1e-9)


def test_real_images_in_the_official_layout_give_the_same_table(real, tmp_path):
    """Modality, counts and areas are told from pixels and masks as they were by those who knew."""
    table = pd.read_csv(real / "labels.csv")
    table = table.groupby("modality").head(8).reset_index(drop=True)
    for _, row in table.iterrows():
        place = tmp_path / "set" / row["dsb_id"]
        (place / "images").mkdir(parents=True)
        (place / "masks").mkdir()
        picture = Picture.open(real / row["image"]).convert("RGBA")
        picture.save(place / "images" / f"{row['dsb_id']}.png", compress_level=1)
        numbers = np.asarray(Picture.open(real / row["mask"]))
        for n, where in enumerate(ndimage.find_objects(numbers.astype(int)), 1):
            if where is not None:
                mask = np.where(numbers == n, 255, 0).astype(np.uint8)
                Picture.fromarray(mask).save(place / "masks" / f"{n}.png", compress_level=1)
    found = open_nuclei(tmp_path / "set").metadata.set_index("image").loc[table["dsb_id"]]
    assert found["modality"].tolist() == table["modality"].tolist()
    assert found["nuclei"].tolist() == table["n_nuclei"].tolist()
    np.testing.assert_allclose(found["nuclear_area"], table["nuclear_area_frac"], rtol=1e-9)
