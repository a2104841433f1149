"""What each destroyed image has kept and what it has lost."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo import errors
from zoo._data.dataset import Dataset
from zoo._diagnostics.pathological import pathological_dataset
from zoo._images.destroy import (
    INPUTS,
    READINGS,
    destroy,
    scramble_phases,
    shuffle_patches,
    shuffle_pixels,
    white_noise,
)
from zoo._images.image import Image

STAINS = ("DNA", "ER", "Golgi")
TYPES = ["u1", "u2", "i2", "i8", "u8", ">u2", "f2", "f4", "f8"]
SHAPES = [(3, 64, 48), (2, 37, 50), (1, 17, 15), (2, 9, 5), (1, 1, 1), (2, 1, 40)]


def rng(seed=0):
    return np.random.default_rng(seed)


def field(shape=(3, 64, 48), dtype="u2", seed=0):
    """Soft spots on a bright background, far from the ends of the type."""
    draw = rng(seed)
    y, x = np.mgrid[: shape[1], : shape[2]]
    planes = np.full(shape, 110.0)
    for plane in planes:
        for cy, cx in draw.random((12, 2)) * shape[1:]:
            plane += 20 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18)
    planes = np.minimum(planes, 190) + draw.normal(0, 2, shape)
    return (planes / 256 if np.dtype(dtype).kind == "f" else np.rint(planes)).astype(dtype)


def power(plane):
    return np.abs(np.fft.fft2(plane.astype(np.float64))) ** 2


@pytest.mark.parametrize("name", [*INPUTS, "ER only"])
@pytest.mark.parametrize("dtype", TYPES)
def test_type_shape_names_and_the_original_stay(name, dtype):
    image = Image(field(dtype=dtype), STAINS, 0.5, np.ones((64, 48), int), np.zeros(1, int))
    before = image.pixels.copy()
    found = destroy(image, name, rng())
    assert found.pixels.dtype == image.pixels.dtype
    assert found.pixels.shape == image.pixels.shape
    assert (found.stains, found.pixel_size) == (STAINS, 0.5)
    assert np.isfinite(found.pixels.astype(np.float64)).all()
    assert not np.array_equal(found.pixels, before)
    assert np.array_equal(image.pixels, before)
    # Objects stay where the pixels still show them.
    assert (found.mask is image.mask) == (found.types is image.types) == (name == "ER only")


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_constant_images_of_any_size_stay_constant(name, shape, dtype):
    flat = np.full(shape, 0.3 if dtype == "f4" else 77, dtype)
    found = destroy(Image(flat), name, rng()).pixels
    assert found.shape == shape
    # Rounding would be blown up into a picture by scaling to the percentiles.
    assert (found == (0 if name == "black" else flat)).all()


@pytest.mark.parametrize("name", INPUTS)
def test_the_generator_alone_decides(name):
    image = Image(field())
    first, again = (destroy(image, name, rng(3)).pixels for _ in range(2))
    assert np.array_equal(first, again)
    other = destroy(image, name, rng(4)).pixels
    assert np.array_equal(first, other) == (name in ("black", "constant"))


def test_black_and_constant():
    pixels = field()
    assert not destroy(Image(pixels), "black", rng()).pixels.any()
    means = destroy(Image(pixels), "constant", rng()).pixels
    for plane, mean in zip(pixels.tolist(), means, strict=True):
        values = [v for row in plane for v in row]
        assert (mean == round(sum(values) / len(values))).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_white_noise_is_even_within_the_range_of_each_plane(dtype):
    pixels = field((2, 64, 64), dtype)
    pixels[1] = pixels[1] // 2 if pixels.dtype.kind != "f" else pixels[1] / 2
    found = white_noise(pixels, rng()).astype(np.float64)
    for before, after in zip(pixels.astype(np.float64), found, strict=True):
        low, high = before.min(), before.max()
        assert low <= after.min() <= after.max() <= high
        # A uniform mean has the sd span/sqrt(12 n); the extremes are near with 4096 draws.
        span = high - low
        assert after.mean() == pytest.approx((low + high) / 2, abs=5 * span / np.sqrt(12 * 4096))
        assert after.std() == pytest.approx(span / np.sqrt(12), rel=0.1)
    # Neither neighbours nor channels go together: r has the sd 1/64.
    assert abs(np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1]) < 5 / 64
    assert abs(np.corrcoef(found[0, :, 1:].ravel(), found[0, :, :-1].ravel())[0, 1]) < 5 / 64


def test_white_noise_reaches_the_ends_of_the_type():
    for dtype in ("u1", "i2", "u8", "i8"):
        info = np.iinfo(dtype)
        ends = np.array([[[info.min, info.max] * 2000]], dtype)
        found = white_noise(ends, rng())
        share = (found.astype(np.float64) - info.min) / (float(info.max) - info.min)
        assert share.min() < 0.01
        assert share.max() > 0.99


@pytest.mark.parametrize("shape", SHAPES)
def test_shuffled_pixels_keep_the_histogram_and_what_lies_on_what(shape):
    pixels = field(shape)
    found = shuffle_pixels(pixels, rng())
    before = Counter(map(tuple, pixels.reshape(len(pixels), -1).T.tolist()))
    assert before == Counter(map(tuple, found.reshape(len(found), -1).T.tolist()))


def test_shuffled_pixels_lose_the_shape():
    pixels = field((1, 64, 64))
    neighbours = [
        np.corrcoef(p[0, :, 1:].ravel(), p[0, :, :-1].ravel())[0, 1]
        for p in (pixels, shuffle_pixels(pixels, rng()))
    ]
    assert neighbours[0] > 0.5
    assert abs(neighbours[1]) < 5 / 64  # the sd of r with 64² pairs is 1/64


def naive_patches(pixels, sides):
    """All patches of a regular grid, as bytes."""
    _, height, width = pixels.shape
    return Counter(
        pixels[:, y : y + sides[0], x : x + sides[1]].tobytes()
        for y in range(0, height, sides[0])
        for x in range(0, width, sides[1])
    )


@pytest.mark.parametrize(("shape", "sides"), [((3, 64, 48), (4, 3)), ((1, 16, 32), (1, 2))])
def test_shuffled_patches_are_the_same_patches_elsewhere(shape, sides):
    pixels = np.arange(np.prod(shape), dtype="u4").reshape(shape)  # no pixel comes twice
    found = shuffle_patches(pixels, rng())
    assert naive_patches(pixels, sides) == naive_patches(found, sides)
    stayed = (found == pixels).all(0).mean()
    assert stayed < 0.05  # one of 256 stays on average


@pytest.mark.parametrize("shape", SHAPES)
def test_shuffled_patches_of_ragged_grids_keep_every_pixel(shape):
    pixels = np.arange(np.prod(shape), dtype="u4").reshape(shape)
    found = shuffle_patches(pixels, rng())
    assert np.array_equal(np.sort(found, None), np.sort(pixels, None))
    # All channels move alike: what lay on a pixel still does.
    area = shape[1] * shape[2]
    assert (found - found[:1] == area * np.arange(shape[0])[:, None, None]).all()


@pytest.mark.parametrize("side", [37, 50, 224, 255])
def test_ragged_patches_keep_their_inside(side):
    pixels = np.arange(side * side, dtype="u4").reshape(1, side, side)
    found = shuffle_patches(pixels, rng())[0].astype(int)
    right = (np.diff(found, axis=1) == 1).mean()
    small = side // 16
    # Neighbours in a row part at the 15 cuts only, except where a patch meets its like again.
    assert (side - 16) / (side - 1) <= right < (side - 16) / (side - 1) + 0.03
    # Patches of a rare size, too, change places.
    moved = (found != pixels[0]).mean()
    assert moved > 0.9
    assert small >= 2


@pytest.mark.parametrize("shape", SHAPES[:4])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_scrambled_phases_keep_power_and_mean(shape, dtype):
    pixels = field(shape, dtype)
    found = scramble_phases(pixels, rng())
    # Rounding moves a pixel by half a step at most, and by Parseval the root of the mean square
    # of what that adds to amplitudes is at most half the root of the number of pixels.
    step = 1 if pixels.dtype.kind == "u" else 2 * float(np.finfo(dtype).eps)
    for before, after in zip(pixels, found, strict=True):
        apart = np.sqrt(power(after)) - np.sqrt(power(before))
        assert np.sqrt((apart**2).mean()) <= step / 2 * np.sqrt(before.size) + 1e-9
        assert after.mean(dtype=float) == pytest.approx(before.mean(dtype=float), abs=step / 2)
        assert after.std() == pytest.approx(before.std(dtype=float), abs=step / 2 + 1e-6)


def test_scrambled_phases_lose_the_shape_and_keep_the_overlap_of_channels():
    pixels = field((2, 96, 96), "f8", seed=1)
    pixels[1] += 0.5 * pixels[0]
    found = scramble_phases(pixels, rng())
    for k in range(2):
        # Spots have an effective number of some hundreds of independent pixels.
        assert abs(np.corrcoef(found[k].ravel(), pixels[k].ravel())[0, 1]) < 0.35
    before, after = (np.corrcoef(p.reshape(2, -1))[0, 1] for p in (pixels, found))
    assert after == pytest.approx(before, abs=1e-9)
    # Bright spots on a dark background are skewed; a sum of waves of random phase is not.
    skews = [((p - p.mean()) ** 3).mean() / p.std() ** 3 for p in (pixels[0], found[0])]
    assert abs(skews[1]) < skews[0] / 2


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_scrambled_phases_of_dark_images_keep_power_and_move_the_mean(dtype):
    """A black background with few bright spots: half of the result would lie below zero."""
    pixels = field((1, 64, 64), "f8")[0] * 256 - 110
    pixels = np.clip(pixels, 0, None)[None]
    pixels = (pixels / 256 if dtype == "f4" else np.rint(pixels)).astype(dtype)
    found = scramble_phases(pixels, rng())
    assert found.min() == 0
    # The lowest pixel is at the limit; there, rounding may clip a half.
    step = 1 if dtype != "f4" else 1e-6
    apart = (np.sqrt(power(found[0])) - np.sqrt(power(pixels[0]))).ravel()[1:]
    assert np.sqrt((apart**2).mean()) <= step / 2 * 64
    assert found.mean() > pixels.mean()


def test_scrambled_phases_lower_the_contrast_only_where_nothing_else_will_do():
    pixels = np.zeros((1, 64, 64), "u1")
    pixels[:, :, 20:40] = 255
    found = scramble_phases(pixels, rng())
    assert (found.min(), found.max()) == (0, 255)
    ratio = np.sqrt(power(found[0])).ravel()[1:].sum() / np.sqrt(power(pixels[0])).ravel()[1:].sum()
    assert ratio < 1
    strong = power(pixels[0]) > 1e4
    strong[0, 0] = False
    shares = np.sqrt(power(found[0])[strong] / power(pixels[0])[strong])
    # All waves lose alike; rounding adds some 64 · sqrt(1/12) to amplitudes above 100.
    np.testing.assert_allclose(shares, np.median(shares), atol=5 * 64 / np.sqrt(12) / 100)


def test_one_channel_is_left_by_its_name():
    image = Image(field(), STAINS)
    found = destroy(image, "ER only", rng())
    assert np.array_equal(found.pixels[1], image.pixels[1])
    assert not found.pixels[[0, 2]].any()
    turned = Image(image.pixels, ("ER", "Golgi", "DNA"))
    assert destroy(turned, "ER only", rng()).pixels[0].any()
    unnamed = destroy(Image(image.pixels), "channel 2 only", rng())
    assert np.array_equal(unnamed.pixels, found.pixels)
    with pytest.raises(errors.ImageError, match="no channel 'Actin', only DNA, ER, Golgi"):
        destroy(image, "Actin only", rng())
    with pytest.raises(errors.ImageError, match="only channel 1, channel 2"):
        destroy(Image(image.pixels[:2]), "channel 3 only", rng())


def dataset(count=5, **more):
    reads = []

    def read(i):
        reads.append(i)
        return Image(field(seed=i), STAINS, 0.5, np.ones((64, 48), int))

    names = [f"{i}.tif" for i in range(count)]
    return Dataset("plate", pd.DataFrame({"image": names}), read, **more), reads


@pytest.mark.parametrize("name", [*INPUTS, "DNA only"])
def test_a_dataset_is_destroyed_when_it_is_read(name):
    whole, reads = dataset()
    found = pathological_dataset(whole, name, seed=7)
    assert reads == []
    assert found.metadata is whole.metadata
    assert found.name == f"plate, {name}"
    assert len(found) == 5
    wanted = destroy(whole[3], name, np.random.default_rng([7, 3]))
    for i in (3, -2, 3):
        assert np.array_equal(found[i].pixels, wanted.pixels)
    assert (found[3].mask is None) == (name != "DNA only")
    other = pathological_dataset(whole, name, seed=8)[3]
    drawn = name not in ("black", "constant", "DNA only")
    assert np.array_equal(other.pixels, wanted.pixels) != drawn


def test_a_channel_that_an_item_lacks_is_an_error_that_names_the_item():
    whole, _ = dataset()
    lacking = pathological_dataset(whole, "Actin only", 0)
    with pytest.raises(errors.ImageError, match="item 2 of plate: there is no channel 'Actin'"):
        lacking[2]


def test_items_are_shuffled_each_in_its_own_way():
    read = Image(np.arange(4096).reshape(1, 64, 64).astype("u2"))
    alike = Dataset("plate", pd.DataFrame({"image": range(2)}), lambda _: read)
    found = pathological_dataset(alike, "pixels shuffled", seed=0)
    assert not np.array_equal(found[0].pixels, found[1].pixels)


def test_embeddings_that_came_with_the_images_are_left_out():
    given = {
        "theirs": zoo.plugin.Precomputed("made elsewhere", lambda: np.zeros((5, 2), np.float32))
    }
    whole, _ = dataset(profiles=given)
    assert pathological_dataset(whole, "black", 0).profiles == {}
    alone = Dataset("table", whole.metadata, None, profiles=given)
    with pytest.raises(errors.DataError, match="table has no images"):
        pathological_dataset(alone, "black", 0)


def test_unknown_names_are_refused_before_anything_is_read():
    whole, reads = dataset()
    with pytest.raises(ValueError, match=r"nor a channel such as 'DNA only'.*'patches shuffled'"):
        pathological_dataset(whole, "patches shufled", 0)
    assert reads == []


def test_every_input_has_a_reading():
    assert set(READINGS) == {*INPUTS, "one channel only"}
