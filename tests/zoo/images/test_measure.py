"""Brightness and sharpness of images, as confounders."""

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo._images.measure import measure, sharpness


def dataset(images, stains=None):
    stains = stains or [None] * len(images)
    both = [zoo.Image(pixels, names) for pixels, names in zip(images, stains, strict=True)]
    return zoo.Dataset("d", pd.DataFrame({"i": range(len(both))}), both.__getitem__)


def drawn(channels, seed=0):
    return np.random.default_rng(seed).integers(0, 200, (channels, 16, 16)).astype(np.uint8)


def test_every_channel_is_measured_under_its_name():
    images = [drawn(2, 0), drawn(2, 1)]
    found = measure(dataset(images, [("DNA", "ER")] * 2))
    assert list(found) == ["intensity DNA", "intensity ER", "focus DNA", "focus ER"]
    assert found["intensity ER"].tolist() == [images[0][1].mean(), images[1][1].mean()]
    assert found["focus DNA"].tolist() == [sharpness(image[0]) for image in images]


def test_a_stain_that_comes_twice_is_measured_twice():
    found = measure(dataset([drawn(2)], [("DNA", "DNA")]))
    assert found["intensity DNA"][0] == drawn(2)[0].mean()
    assert found["intensity DNA (2)"][0] == drawn(2)[1].mean()


def test_images_of_other_channels_are_measured_by_the_mean_over_theirs():
    images = [drawn(1), drawn(3, 1)]
    images[1][2] = 7  # has no sharpness
    found = measure(dataset(images, [None, ("red", "green", "blue")]))
    assert list(found) == ["intensity", "focus"]
    assert found["intensity"].tolist() == pytest.approx([images[0].mean(), images[1].mean()])
    expected = (sharpness(images[1][0]) + sharpness(images[1][1])) / 2
    assert found["focus"].tolist() == pytest.approx([sharpness(images[0][0]), expected])


def test_sharpness_takes_no_notice_of_gain_and_offset_and_falls_with_blur():
    plane = drawn(1)[0].astype(float)
    assert sharpness(3 * plane + 50) == pytest.approx(sharpness(plane), rel=1e-9)
    blurred = (plane + np.roll(plane, 1, 0) + np.roll(plane, 1, 1)) / 3
    assert sharpness(blurred) < sharpness(plane)
    assert np.isnan(sharpness(np.full((8, 8), 3)))
