"""IDRCell100k from a miniature: images of 1 to 10 channels in every form that the table allows."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as Picture

import zoo
from zoo import errors
from zoo._data.sources import load_dataset

SIDE = 16


def channels(count, seed):
    return np.random.default_rng([count, seed]).integers(0, 256, (count, SIDE, SIDE), np.uint8)


def save(folder):
    """Studies of two modalities; images of 1, 2, 3 and 10 channels."""
    lines = []
    for k, modality in enumerate(["fluorescence"] * 3 + ["bright field"] * 3):
        study = folder / f"idr000{k}"
        study.mkdir(parents=True, exist_ok=True)
        stack = channels(3, k)
        tifffile.imwrite(study / "stack.tif", stack, photometric="minisblack")
        Picture.fromarray(channels(1, k)[0]).save(study / "single.png")
        for c, plane in enumerate(channels(2, k)):
            Picture.fromarray(plane).save(study / f"pair_{c}.png")
        (study / "ten").mkdir(exist_ok=True)
        for c, plane in enumerate(channels(10, k)):
            Picture.fromarray(plane).save(study / "ten" / f"c{c + 1}.png")
        (study / "ten" / ".DS_Store").write_bytes(b"x")
        for name in ("stack.tif", "single.png", "pair", "ten"):
            file = f"{study.name}/{name}"
            if name == "pair":
                file = f"{study.name}/pair_0.png | {study.name}/pair_1.png"
            lines.append({"file_name": file, "study": study.name, "modality": modality})
    pd.DataFrame(lines).to_csv(folder / "metadata.csv", index=False)
    return folder


def open_images(path=None):
    return load_dataset("idrcell100k", path)


def test_images_of_every_form(tmp_path):
    dataset = open_images(save(tmp_path))
    assert len(dataset) == 24
    for k in range(6):
        # Channel 10 comes after channel 9, not after channel 1.
        for i, count in enumerate((3, 1, 2, 10)):
            assert dataset[4 * k + i].pixels.tolist() == channels(count, k).tolist()
    assert dataset.metadata["study"].nunique() == 6
    assert dataset.spec.channels == (1, 10)


def test_it_can_be_evaluated(tmp_path):
    result = zoo.evaluate(
        "pixel-statistics-mean",
        open_images(save(tmp_path)),
        controls=["constant"],
        control_seeds=1,
        cache=False,
    )
    assert {row.n_groups for row in result.rows} == {6}
    assert any("ChAda-ViT was trained on these images" in n for n in result.dataset.spec.notes)


def test_eleven_channels_are_too_many(tmp_path):
    save(tmp_path)
    for name in ("c11.png",):
        Picture.fromarray(channels(1, 0)[0]).save(tmp_path / "idr0000" / "ten" / name)
    with pytest.raises(
        errors.DataError, match=r"ten/c1\.png has 11 channels; there are at most 10"
    ):
        open_images(tmp_path)[3]


@pytest.mark.parametrize("column", ["file_name", "study", "modality"])
def test_missing_columns_and_cells_are_named(tmp_path, column):
    table = pd.read_csv(save(tmp_path) / "metadata.csv")
    table.drop(columns=column).to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(errors.DataError, match=rf"lacks the column\(s\) {column}$"):
        open_images(tmp_path)
    table.loc[[2, 5], column] = None
    table.to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(errors.DataError, match=rf"has 2 row\(s\) without {column}"):
        open_images(tmp_path)


def test_missing_files_are_named(tmp_path):
    save(tmp_path)
    (tmp_path / "idr0001" / "pair_1.png").unlink()
    (tmp_path / "idr0004" / "single.png").unlink()
    for file in (tmp_path / "idr0005" / "ten").iterdir():
        file.unlink()
    with pytest.raises(errors.DataError, match=r"3 file\(s\) that .*idr0001.pair_1\.png$"):
        open_images(tmp_path)


def test_without_the_table_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for path in (None, tmp_path):
        with pytest.raises(
            errors.DataError, match=r"lacks metadata\.csv: fetch.*hf download.*--data"
        ):
            open_images(path)
    (tmp_path / "metadata.csv").write_bytes(b"")
    with pytest.raises(errors.DataError, match="not a readable table"):
        open_images(tmp_path)
