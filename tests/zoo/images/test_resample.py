"""Resampling to the pixel size that an encoder takes."""

import numpy as np
import pytest

import zoo
from zoo import errors
from zoo._embedding.cache import EmbeddingCache
from zoo._embedding.embed import embed_many
from zoo._images.resample import resampled

RAMP = np.add.outer(np.arange(40), 2 * np.arange(60)).astype(np.uint16)[None] * 8


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize("ratio", [0.5, 2.0, 1.3])
def test_a_ramp_stays_a_ramp(dtype, ratio):
    ramp = (RAMP // 8).astype(dtype)
    image = resampled(zoo.Image(ramp, pixel_size=0.5 * ratio), 0.5, "a")
    assert image.pixel_size == 0.5
    assert image.pixels.dtype == ramp.dtype
    assert image.pixels.shape == (1, round(40 * ratio), round(60 * ratio))
    rows, columns = image.pixels.shape[1:]
    centre = [(np.arange(n) + 0.5) * old / n - 0.5 for n, old in ((rows, 40), (columns, 60))]
    wanted = np.add.outer(centre[0], 2 * centre[1])
    inner = (slice(4, -4), slice(4, -4))  # borders are averages of fewer pixels
    # Integers are rounded by at most a half.
    assert np.abs(image.pixels[0].astype(float) - wanted)[inner].max() <= 0.5 + 1e-3


def test_the_same_size_is_left_alone():
    image = zoo.Image(RAMP, pixel_size=0.5)
    assert resampled(image, 0.50001, "a") is image
    assert resampled(zoo.Image(RAMP), None, "a").pixels is RAMP


def test_masks_keep_their_labels():
    mask = np.kron(np.arange(6).reshape(2, 3), np.ones((20, 20), int))
    image = resampled(zoo.Image(RAMP, pixel_size=1.0, mask=mask), 0.5, "a")
    assert (image.mask == np.kron(np.arange(6).reshape(2, 3), np.ones((40, 40), int))).all()


def test_an_unknown_size_is_refused():
    with pytest.raises(errors.ImageError, match=r"a has an unknown pixel size.*--pixel-size"):
        resampled(zoo.Image(RAMP), 0.5, "a")
    with pytest.raises(errors.ImageError, match=r"would be 0 × 0 pixels"):
        resampled(zoo.Image(RAMP, pixel_size=1e-4), 1.0, "a")


def test_records_say_it_and_refuse_what_is_no_size():
    assert str(zoo.Preprocessing(pixel_size=0.65)).startswith("resampled to 0.65 µm per pixel")
    for size in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="must be micrometres above 0"):
            zoo.Preprocessing(pixel_size=size)


def test_an_encoder_sees_images_of_its_pixel_size(tmp_path):
    record = zoo.Preprocessing(scaling="none", resize=None, crop=None, pixel_size=0.5)
    encoder = zoo.load("pixel-statistics", device="cpu").with_preprocessing(record)
    # A pixel of 1 µm is four of 0.5 µm; statistics of a ramp change a little at its border.
    coarse = zoo.Image(RAMP, pixel_size=1.0)
    fine = resampled(coarse, 0.5, "a")
    cache = EmbeddingCache(tmp_path)

    def rows(*images):
        return embed_many(zoo.open_images(list(images)), [encoder], cache=cache)[0].matrix

    both = rows(coarse, fine)
    assert (both[0] == both[1]).all()
    # The same pixels with another size are another image, for the cache as well.
    assert (rows(zoo.Image(RAMP, pixel_size=0.5)) != both[0]).any()
    assert (rows(coarse) == both[0]).all()
    with pytest.raises(errors.ImageError, match=r"pixel-statistics: image 0 has an unknown pixel"):
        rows(zoo.Image(RAMP))
