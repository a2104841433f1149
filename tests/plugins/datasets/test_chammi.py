"""CHAMMI from a miniature of its archive: one table, pictures with their channels side by side."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as Picture
from zoo.plugins.datasets.chammi import chammi_score

import zoo
from zoo import errors
from zoo._data.sources import load_dataset

COUNTS = {"Allen": 3, "HPA": 4, "CP": 5}
SPLITS = {
    "Allen": ("Train", "Task_one", "Task_two"),
    "HPA": ("Train", "Task_one", "Task_two", "Task_three"),
    "CP": ("Train", "Task_one", "Task_two", "Task_three", "Task_four"),
}
SIDE = 16


def channels(chunk, name):
    """Planes that tell image and channel."""
    rng = np.random.default_rng([*map(ord, chunk + name)])
    return rng.integers(0, 256, (COUNTS[chunk], SIDE, SIDE), dtype=np.uint8)


def rows():
    lines = []
    for chunk, splits in SPLITS.items():
        for split in splits:
            for i, label in enumerate(["a", "a", "b", "b", f"new in {split}"]):
                suffix = "tiff" if chunk == "Allen" else "png"
                lines.append(
                    {
                        "file_path": f"{chunk}/{split}_{i}.{suffix}",
                        "label": label,
                        "chunk": chunk,
                        "train_test_split": split,
                    }
                )
    return pd.DataFrame(lines)


def save(folder, table=None, **columns):
    table = (rows() if table is None else table).assign(**columns)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "combined_metadata.csv", index=False)
    for _, row in table.iterrows():
        file = folder / row["file_path"]
        file.parent.mkdir(exist_ok=True)
        wide = np.hstack(channels(row["chunk"], file.stem))
        if file.suffix == ".png":
            Picture.fromarray(wide).save(file)
        else:
            tifffile.imwrite(file, wide, photometric="minisblack")
    return folder


def open_cells(name="chammi", path=None):
    return load_dataset(name, path)


@pytest.mark.parametrize(
    ("name", "chunks"),
    [
        ("chammi-wtc", ["Allen"]),
        ("chammi-hpa", ["HPA"]),
        ("chammi-cp", ["CP"]),
        ("chammi", ["Allen", "HPA", "CP"]),
    ],
)
def test_parts_and_the_whole(tmp_path, name, chunks):
    dataset = open_cells(name, save(tmp_path))
    wanted = rows()[rows()["chunk"].isin(chunks)].reset_index(drop=True)
    assert dataset.metadata["image"].tolist() == wanted["file_path"].tolist()
    assert dataset.metadata["label"].tolist() == wanted["label"].tolist()
    low, high = dataset.spec.channels
    assert (low, high) == (min(COUNTS[c] for c in chunks), max(COUNTS[c] for c in chunks))
    for i, row in wanted.iterrows():
        stem = row["file_path"].split("/")[1].split(".")[0]
        assert dataset[i].pixels.tolist() == channels(row["chunk"], stem).tolist()
        assert dataset[i].pixels.flags.c_contiguous


def test_splits_are_the_independent_units_and_cells_of_the_same_images_one(tmp_path):
    table = open_cells("chammi-hpa", save(tmp_path)).metadata
    units = table.groupby("train_test_split")["unit"].unique().map(list).to_dict()
    assert units == {
        "Train": ["HPA seen conditions"],
        "Task_one": ["HPA seen conditions"],
        "Task_two": ["HPA Task_two"],
        "Task_three": ["HPA Task_three"],
    }
    assert table["split"].unique().tolist() == [f"HPA {s}" for s in SPLITS["HPA"]]


def test_a_column_group_goes_first(tmp_path):
    save(tmp_path, group=[f"well {i % 7}" for i in range(len(rows()))])
    table = open_cells("chammi", tmp_path).metadata
    assert table["unit"].tolist() == table["group"].tolist()


def test_channel_width_is_compared(tmp_path):
    save(tmp_path, channel_width=SIDE)
    assert open_cells("chammi", tmp_path)[0].pixels.shape == (3, SIDE, SIDE)
    save(tmp_path, channel_width=SIDE * 3 // 2)
    with pytest.raises(
        errors.DataError, match=r"48 pixels wide, which is not 3 .*, 24 each in the t"
    ):
        open_cells("chammi", tmp_path)[0]


def test_pictures_that_are_not_stitched(tmp_path):
    save(tmp_path)
    dataset = open_cells("chammi-hpa", tmp_path)
    first = tmp_path / "HPA" / "Train_0.png"
    Picture.fromarray(np.zeros((SIDE, 4 * SIDE + 1), np.uint8)).save(first)
    with pytest.raises(
        errors.DataError, match="65 pixels wide, which is not 4 channels side by side"
    ):
        dataset[0]
    Picture.fromarray(np.zeros((SIDE, 4 * SIDE, 3), np.uint8)).save(first)
    with pytest.raises(errors.DataError, match="has 3 colours or pages"):
        dataset[0]


def test_it_can_be_evaluated(tmp_path):
    result = zoo.evaluate(
        "pixel-statistics-mean",
        open_cells("chammi", save(tmp_path)),
        controls=["gaussian"],
        control_seeds=1,
        cache=False,
    )
    assert [row.task for row in result.rows] == ["WTC", "WTC", "HPA", "HPA", "CP", "CP"]
    assert [row.n_groups for row in result.rows] == [2, 2, 3, 3, 4, 4]
    for row, part in zip(result.rows[::2], COUNTS, strict=True):
        assert row.left_out == (f"{len(SPLITS[part])} item(s) whose label occurs in one unit only",)


@pytest.mark.parametrize("column", ["file_path", "label", "chunk", "train_test_split"])
def test_missing_columns_are_named(tmp_path, column):
    save(tmp_path)
    rows().drop(columns=column).to_csv(tmp_path / "combined_metadata.csv", index=False)
    with pytest.raises(errors.DataError, match=rf"lacks the column\(s\) {column}$"):
        open_cells("chammi", tmp_path)


def test_missing_images_parts_and_strange_parts(tmp_path):
    save(tmp_path)
    for name in ("Train_0", "Train_1"):
        (tmp_path / "CP" / f"{name}.png").unlink()
    with pytest.raises(errors.DataError, match=r"2 of 25 images in .* are missing.*Train_0\.png$"):
        open_cells("chammi-cp", tmp_path)
    assert len(open_cells("chammi-wtc", tmp_path)) == 15  # which does not need them
    table = rows()
    save(tmp_path, table[table["chunk"] != "HPA"])
    with pytest.raises(errors.DataError, match="no image of the chunk HPA"):
        open_cells("chammi", tmp_path)
    save(tmp_path)
    table.replace({"chunk": {"HPA": "Yeast"}}).to_csv(
        tmp_path / "combined_metadata.csv", index=False
    )
    with pytest.raises(errors.DataError, match="chunk 'Yeast', which is none of Allen, HPA, CP"):
        open_cells("chammi-wtc", tmp_path)


def test_without_the_archive_it_says_what_to_fetch(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(errors.DataError, match=r"lacks combined_metadata\.csv: download.*--data"):
        open_cells()
    (tmp_path / "combined_metadata.csv").write_bytes(b"")
    with pytest.raises(errors.DataError, match="not a readable table"):
        open_cells("chammi", tmp_path)


F1 = {"WTC2": 0.9, "HPA2": 0.8, "HPA3": 0.4, "CP2": 0.5, "CP3": 0.2, "CP4": 0.1}


class TestScore:
    def test_by_hand(self):
        # 0.9/3 + (0.8 + 0.4)/6 + (0.5 + 0.2 + 0.1)/9 = 0.3 + 0.2 + 0.0888…
        assert chammi_score(F1) == pytest.approx(0.3 + 0.2 + 0.8 / 9, abs=1e-15)

    @pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
    def test_equal_scores_are_their_own_mean(self, value):
        assert chammi_score(dict.fromkeys(F1, value)) == pytest.approx(value, abs=1e-15)

    @pytest.mark.parametrize(
        ("task", "share"),
        [
            ("WTC2", 1 / 3),
            ("HPA2", 1 / 6),
            ("HPA3", 1 / 6),
            *((f"CP{i}", 1 / 9) for i in (2, 3, 4)),
        ],
    )
    def test_each_counts_by_its_share(self, task, share):
        alone = {t: float(t == task) for t in F1}
        assert chammi_score(alone) == pytest.approx(share, abs=1e-15)

    @pytest.mark.parametrize(
        "changed",
        [
            {k: v for k, v in F1.items() if k != "CP4"},
            {**F1, "WTC1": 0.5},
            {**F1, "WTC2": 1.1},
            {**F1, "WTC2": float("nan")},
        ],
    )
    def test_what_is_no_result_of_the_benchmark(self, changed):
        with pytest.raises(ValueError, match="WTC"):
            chammi_score(changed)
