"""Tokens in a Zarr group, against what the encoder returns for all images at once."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner

import zoo
from zoo import errors
from zoo._cli import main
from zoo._embedding.tokens import write_tokens

zarr = pytest.importorskip("zarr")


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (1 + i % 3, 32, 32), dtype=np.uint8) for i in range(7)]


@pytest.fixture
def encoder(golden):
    return zoo.load(f"chadavit:{golden}", device="cpu")


def dataset(images):
    table = pd.DataFrame({"image": [f"i{k}" for k in range(len(images))], "dose": 0.5})

    def read(i):
        if images[i] is None:
            raise errors.ImageError(f"i{i} is broken")
        return zoo.Image(images[i])

    return zoo.Dataset("mine", table, read)


def test_tokens_are_those_of_the_encoder(images, encoder, tmp_path):
    path = tmp_path / "t.zarr"
    assert write_tokens(dataset(images), encoder, path, said={"run": "abc"}) == []
    group = zarr.open_group(path, mode="r")
    expected = encoder.encode(images, tokens=True)
    # Batches of other images differ in the last bits.
    np.testing.assert_allclose(group["tokens"][:], expected.tokens.numpy(), atol=1e-5)
    np.testing.assert_allclose(group["embedding"][:], expected.numpy(), atol=1e-5)
    assert group["offsets"][:].tolist() == expected.token_offsets.tolist()
    assert group["counts"][:].tolist() == [1, 2, 3, 1, 2, 3, 1]
    table = pd.DataFrame(**group.attrs["metadata"])
    pd.testing.assert_frame_equal(table, dataset(images).metadata, check_dtype=False)
    assert group.attrs["zoo"]["run"] == "abc"
    assert group.attrs["zoo"]["encoder"] == encoder.name
    assert [p.name for p in tmp_path.iterdir()] == ["t.zarr"]


def test_bad_images_are_left_out_alone(images, encoder, tmp_path):
    images[1] = None
    images[5] = np.zeros((2, 32, 32), np.float32) * np.nan
    failures = write_tokens(dataset(images), encoder, tmp_path / "t.zarr")
    assert [name for name, _ in failures] == ["i1", "i5"]
    assert "is broken" in failures[0][1]
    assert "NaN" in failures[1][1]
    group = zarr.open_group(tmp_path / "t.zarr", mode="r")
    assert [row[0] for row in group.attrs["metadata"]["data"]] == ["i0", "i2", "i3", "i4", "i6"]
    good = [images[k] for k in (0, 2, 3, 4, 6)]
    expected = encoder.encode(good, tokens=True).tokens.numpy()
    np.testing.assert_allclose(group["tokens"][:], expected, atol=1e-5)


def test_what_cannot_be_written_is_refused(images, encoder, tmp_path):
    (tmp_path / "old.zarr").mkdir()
    with pytest.raises(errors.DataError, match=r"old\.zarr is there already"):
        write_tokens(dataset(images), encoder, tmp_path / "old.zarr")
    with pytest.raises(errors.DataError, match="pixel-statistics has no tokens"):
        write_tokens(dataset(images), zoo.load("pixel-statistics"), tmp_path / "x.zarr")
    with pytest.raises(errors.DataError, match="none of the 2 images could be used: i0 is broken"):
        write_tokens(dataset([None, None]), encoder, tmp_path / "x.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["old.zarr"]


def test_the_command_writes_tokens(images, golden, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i, pixels in enumerate(images[:3]):
        tifffile.imwrite(folder / f"{i}.tif", pixels, photometric="minisblack")
    (folder / "3.tif").write_bytes(b"broken")
    out = tmp_path / "t.zarr"
    asked = ["embed", folder, "-e", f"chadavit:{golden}", "-o", out, "--device", "cpu"]
    done = CliRunner().invoke(main, list(map(str, asked)))
    assert done.exit_code == 1, done.output
    assert "the tokens of 3 images" in done.output
    assert "left out 3.tif" in done.output
    assert len(zarr.open_group(out, mode="r").attrs["zoo"]["run"]) == 12
    done = CliRunner().invoke(main, list(map(str, asked)))
    assert "is there already: delete it" in done.output
