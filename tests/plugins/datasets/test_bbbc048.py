"""BBBC048 from a miniature in the official layout."""

import numpy as np
import pytest
from PIL import Image as Picture

from zoo import errors
from zoo._data.sources import load_dataset

PHASES = ["Anaphase", "G1", "G2", "Metaphase", "Prophase", "S", "Telophase"]
CHANNELS = (3, 4, 6)


def plane(phase, cell, channel):
    """Pixels that tell cell and channel, flat enough to survive a JPEG."""
    return np.full((16, 16), 20 + 30 * PHASES.index(phase) + 5 * (cell % 2) + channel, np.uint8)


def save(folder, suffix="ome.jpg", phases=PHASES):
    for number, phase in enumerate(phases):
        (folder / phase).mkdir(parents=True)
        for cell in (10 * number, 10 * number + 1):
            for channel in CHANNELS:
                name = f"{cell}_Ch{channel}.{suffix}"
                Picture.fromarray(plane(phase, cell, channel)).save(folder / phase / name)
    return folder


def open_cells(path=None):
    return load_dataset("bbbc048", path)


@pytest.mark.parametrize("suffix", ["ome.jpg", "jpg", "tif", "ome.tif"])
def test_cells_and_their_phases(tmp_path, suffix):
    dataset = open_cells(save(tmp_path / "CellCycle", suffix).parent)
    table = dataset.metadata
    assert table["phase"].tolist() == [phase for phase in PHASES for _ in range(2)]
    assert table["cell"].is_unique
    assert set(table["phase"][table["stage"] == "interphase"]) == {"G1", "S", "G2"}
    for i, (phase, cell) in enumerate(table[["phase", "cell"]].to_numpy()):
        image = dataset[i]
        assert image.stains == ("brightfield", "PI", "darkfield")
        assert image.pixels.shape == (3, 16, 16)
        wanted = [plane(phase, int(cell), c).astype(float) for c in CHANNELS]
        # JPEG keeps a flat plane within one grey level.
        np.testing.assert_allclose(image.pixels, wanted, atol=1)


def test_other_channels_and_files_are_passed_over(tmp_path):
    save(tmp_path)
    for name in ("0_Ch9.ome.jpg", "._0_Ch3.ome.jpg", "readme.txt"):
        (tmp_path / "G1" / name).write_bytes((tmp_path / "G1" / "10_Ch3.ome.jpg").read_bytes())
    (tmp_path / "G1" / "0_Ch9.ome.jpg").rename(tmp_path / "G1" / "10_Ch9.ome.jpg")
    dataset = open_cells(tmp_path)
    assert len(dataset) == 14
    assert len(dataset[2].pixels) == 3


def test_some_phases_ask_what_they_can(tmp_path):
    dataset = open_cells(save(tmp_path, phases=["G1", "S"]))
    assert [task.title for task in dataset.spec.design.tasks] == ["phase", "phase"]
    assert any("phase of mitosis (probe) is left out" in n for n in dataset.spec.notes)


class TestFaults:
    def test_without_data_it_says_what_to_fetch(self):
        with pytest.raises(errors.DataError, match=r"org/BBBC048.*G1, S, G2, Prophase.*--data"):
            open_cells()

    def test_another_folder(self, tmp_path):
        (tmp_path / "x_channel.jpg").write_bytes(b"")
        with pytest.raises(errors.DataError, match=r"no images of BBBC048, such as G1/12432_Ch3"):
            open_cells(tmp_path)

    def test_a_missing_channel_is_named(self, tmp_path):
        save(tmp_path)
        (tmp_path / "S" / "50_Ch4.ome.jpg").unlink()
        with pytest.raises(
            errors.DataError, match=r"cell 50 in S lacks the channel\(s\) Ch4 \(PI\)"
        ):
            open_cells(tmp_path)

    def test_a_folder_that_is_no_phase(self, tmp_path):
        save(tmp_path)
        (tmp_path / "S").rename(tmp_path / "G0")
        with pytest.raises(
            errors.DataError, match=r"G0/50_Ch3\.ome\.jpg lies in a folder that is not a phase"
        ):
            open_cells(tmp_path)

    def test_a_channel_twice(self, tmp_path):
        save(tmp_path)
        file = tmp_path / "S" / "50_Ch3.ome.jpg"
        (tmp_path / "S" / "50_Ch3.jpg").write_bytes(file.read_bytes())
        with pytest.raises(errors.DataError, match="are the same channel of a cell: keep one"):
            open_cells(tmp_path)

    def test_colour_pictures_are_no_channels(self, tmp_path):
        save(tmp_path, phases=["G1", "S"])
        for channel in CHANNELS:
            colour = Picture.fromarray(np.zeros((16, 16, 3), np.uint8))
            colour.save(tmp_path / "G1" / f"0_Ch{channel}.ome.jpg")
        with pytest.raises(errors.DataError, match=r"0_Ch3\.ome\.jpg, …\) have 9 channels"):
            open_cells(tmp_path)[0]
