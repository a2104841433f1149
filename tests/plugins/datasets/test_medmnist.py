"""BloodMNIST and TissueMNIST from miniatures of the published files."""

import hashlib
import zipfile

import numpy as np
import pytest
from zoo.plugins.datasets import medmnist

from zoo import errors
from zoo._data.sources import load_dataset

COUNTS = {"train": 16, "val": 8, "test": 8}
SIDE = {"bloodmnist": (20, 20, 3), "tissuemnist": (20, 20)}


def arrays(name="bloodmnist", **instead):
    """What is in a published file: all eight classes in each split."""
    rng = np.random.default_rng(0)
    made = {}
    for split, count in COUNTS.items():
        shape = (count, *SIDE[name])
        made[f"{split}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        made[f"{split}_labels"] = (np.arange(count) % 8).astype(np.uint8)[:, None]
    return {k: v for k, v in (made | instead).items() if v is not None}


def save(folder, name="bloodmnist", file=None, **instead):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (file or f"{name}.npz")
    np.savez_compressed(path, **arrays(name, **instead))
    return path


def unpack(path, folder):
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)
    return folder


class TestOpened:
    @pytest.mark.parametrize("name", ["bloodmnist", "tissuemnist"])
    @pytest.mark.parametrize("layout", ["file", "folder", "unpacked"])
    def test_every_layout_gives_the_same(self, tmp_path, name, layout):
        path = save(tmp_path / "set", name, f"{name}_64.npz")
        given = {"file": path, "folder": path.parent}.get(layout) or unpack(path, tmp_path / "un")
        dataset = load_dataset(name, given)
        truth = arrays(name)
        table = dataset.metadata
        assert len(dataset) == 32
        assert table["image"].is_unique
        assert table["split"].tolist() == [s for s, count in COUNTS.items() for _ in range(count)]
        labels = medmnist.CARDS[name].labels
        for i, (split, index) in enumerate(table[["split", "index"]].to_numpy()):
            image, wanted = dataset[i], truth[f"{split}_images"][index]
            planes = [wanted] if wanted.ndim == 2 else [wanted[..., c] for c in range(3)]
            assert image.pixels.tolist() == [plane.tolist() for plane in planes]
            assert len(image.stains) == len(image.pixels)
            assert table["cell_type"][i] == labels[truth[f"{split}_labels"][index, 0]]

    def test_images_of_unpacked_files_stay_on_disk(self, tmp_path):
        folder = unpack(save(tmp_path / "set"), tmp_path / "un")
        assert isinstance(medmnist._unpacked(folder)["train_images"], np.memmap)

    @pytest.mark.parametrize("name", ["bloodmnist", "tissuemnist"])
    def test_eight_classes_and_honest_groups(self, tmp_path, name):
        dataset = load_dataset(name, save(tmp_path, name))
        assert dataset.metadata["cell_type"].nunique() == 8
        assert dataset.spec.design.group == "image"
        assert any("not recorded" in note for note in dataset.spec.notes)


class TestDownload:
    def test_the_published_file_is_unpacked(self, tmp_path, monkeypatch):
        path = save(tmp_path / "set", "tissuemnist")
        monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(medmnist, "_URL", f"{path.parent.as_uri()}/{{}}.npz")
        found = hashlib.md5(path.read_bytes()).hexdigest()
        with pytest.raises(errors.IntegrityError, match=rf"{found} instead of ebe78ee8b0529406"):
            load_dataset("tissuemnist")
        card = medmnist.CARDS["tissuemnist"]
        mine = medmnist.Card(found, card.stains, card.labels)
        monkeypatch.setitem(medmnist.CARDS, "tissuemnist", mine)
        assert len(load_dataset("tissuemnist")) == 32
        path.unlink()
        assert len(load_dataset("tissuemnist")) == 32


class TestFaults:
    @pytest.mark.parametrize(
        ("instead", "why"),
        [
            ({"val_labels": None}, r"lacks the array\(s\) val_labels"),
            ({"val_images": np.zeros((8, 20, 20), np.uint8)}, r"val_images .* \(8, 20, 20\) of ui"),
            ({"val_images": np.zeros((8, 20, 20, 3))}, r"of float64 instead of \(n, side, side, 3"),
            ({"val_images": np.zeros((0, 20, 20, 3), np.uint8)}, r"shape \(0, 20"),
            ({"val_labels": np.zeros((7, 1), np.uint8)}, r"val_labels .*, but there are 8 images"),
            ({"val_labels": np.zeros((8, 1))}, r"val_labels .* of float64"),
            ({"val_labels": np.full((8, 1), 8)}, r"reach from 8 to 8, but there are 8 classes"),
            ({"val_labels": np.full((8, 1), -1)}, r"reach from -1 to -1"),
            ({"val_labels": np.array([["a"]] * 8, dtype=object)}, r"not a readable \.npz file"),
        ],
    )
    def test_arrays_that_do_not_fit(self, tmp_path, instead, why):
        with pytest.raises(errors.DataError, match=why):
            load_dataset("bloodmnist", save(tmp_path, **instead))

    def test_the_file_of_the_other_set(self, tmp_path):
        path = save(tmp_path, "tissuemnist")
        with pytest.raises(errors.DataError, match=r"train_images of .*\(16, 20, 20\)"):
            load_dataset("bloodmnist", path)

    @pytest.mark.parametrize("content", [b"", b"no archive", "half", "spoilt"])
    def test_what_is_no_sound_file(self, tmp_path, content):
        path = save(tmp_path)
        whole = path.read_bytes()
        if content == "half":
            content = whole[: len(whole) // 2]
        elif content == "spoilt":
            content = whole[:200] + bytes(2000) + whole[2200:]
        path.write_bytes(content)
        with pytest.raises(errors.DataError, match=r"bloodmnist\.npz is not a readable \.npz file"):
            load_dataset("bloodmnist", path)

    def test_places_that_hold_nothing(self, tmp_path):
        with pytest.raises(errors.DataError, match=r"x\.npz does not exist"):
            load_dataset("bloodmnist", tmp_path / "x.npz")
        with pytest.raises(errors.DataError, match=r"nowhere does not exist"):
            load_dataset("bloodmnist", tmp_path / "nowhere")
        (tmp_path / "readme.txt").write_text("")
        with pytest.raises(
            errors.DataError, match=r"neither bloodmnist\.npz \(or bloodmnist_64\.npz"
        ):
            load_dataset("bloodmnist", tmp_path)

    def test_several_files_are_not_chosen_from(self, tmp_path):
        for file in ("bloodmnist.npz", "bloodmnist_64.npz"):
            save(tmp_path, file=file)
        with pytest.raises(
            errors.DataError, match=r"bloodmnist\.npz, bloodmnist_64\.npz: give one"
        ):
            load_dataset("bloodmnist", tmp_path)

    def test_more_than_memory_should_hold(self, tmp_path, monkeypatch):
        monkeypatch.setattr(medmnist, "LARGEST", 2000)
        path = save(tmp_path)
        with pytest.raises(errors.DataError, match=r"unzip bloodmnist\.npz -d FOLDER.*--data"):
            load_dataset("bloodmnist", path)
        assert len(load_dataset("bloodmnist", unpack(path, tmp_path / "un"))) == 32

    @pytest.mark.parametrize("spoil", ["missing", "broken"])
    def test_unpacked_arrays_that_are_not_whole(self, tmp_path, spoil):
        folder = unpack(save(tmp_path / "set"), tmp_path / "un")
        if spoil == "missing":
            (folder / "test_labels.npy").unlink()
        else:
            (folder / "test_labels.npy").write_bytes(b"no array")
        with pytest.raises(
            errors.DataError, match=r"test_labels\.npy is (missing|not a readable array)"
        ):
            load_dataset("bloodmnist", folder)
