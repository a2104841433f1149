"""What counts as an image, what is said of anything else, and batches that are never padded."""

import re

import numpy as np
import pytest
import torch

from zoo import errors
from zoo._images.batch import ImageBatch
from zoo._images.checks import check_image, check_objects, check_stains

DTYPES = ("u1", "u2", "u4", "i2", "i4", "i8", "f2", "f4", "f8", ">u2", ">f4")


def batch(**changes):
    fields = {"planes": torch.rand(5, 4, 6), "counts": torch.tensor([2, 3])}
    return ImageBatch(**{**fields, **changes})


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_numbers_keep_their_values(dtype):
    given = np.arange(2 * 5 * 4).reshape(2, 5, 4).astype(dtype)
    found = check_image(given, "x")
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert found.tolist() == given.tolist()


@pytest.mark.parametrize("name", ["uint8", "uint16", "int64", "float16", "bfloat16", "float64"])
def test_tensors_are_taken_as_they_are(name):
    given = torch.ones(1, 5, 4, dtype=getattr(torch, name))
    assert check_image(given, "x") is given


def test_nested_lists_are_arrays():
    assert check_image([[[1, 2]] * 3], "x").shape == (1, 3, 2)


def test_a_black_image_is_an_image():
    assert not check_image(np.zeros((2, 5, 4), np.uint16), "x").any()


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((7, 9), r"add an axis with image\[None\]"),
        ((2, 3, 7, 9), r"\(2, 3, 7, 9\); an image is \(channels, height, width\)"),
        ((9,), r"\(9,\); an image is"),
        ((), r"\(\); an image is"),
        ((0, 7, 9), r"\(0, 7, 9\): it is empty"),
        ((1, 0, 9), "it is empty"),
        ((1, 7, 0), "it is empty"),
        ((64, 64, 3), r"np\.moveaxis\(image, -1, 0\)"),
    ],
)
def test_shapes_that_are_no_image_are_refused_by_name(shape, message, as_tensor):
    given = torch.zeros(shape) if as_tensor else np.zeros(shape)
    with pytest.raises(errors.ImageError, match=f"^well B07 .*{message}"):
        check_image(given, "well B07")


@pytest.mark.parametrize("shape", [(3, 64, 64), (16, 64, 4), (64, 16, 3), (64, 64, 5)])
def test_only_what_must_be_channels_last_is_called_so(shape):
    assert check_image(np.zeros(shape), "x").shape == shape


@pytest.mark.parametrize(
    "given",
    [
        np.ones((1, 5, 4), bool),
        np.ones((1, 5, 4), complex),
        np.full((1, 5, 4), "a"),
        np.full((1, 5, 4), None),
        np.zeros((1, 5, 4), "datetime64[s]"),
        torch.ones(1, 5, 4, dtype=torch.bool),
        torch.ones(1, 5, 4, dtype=torch.complex64),
    ],
    ids=lambda given: str(given.dtype),
)
def test_other_types_are_refused_by_name(given):
    with pytest.raises(errors.ImageError, match=r"^well B07 is .*; pixels are integers or floats"):
        check_image(given, "well B07")


@pytest.mark.parametrize("given", [None, "image.tif", object()])
def test_what_is_no_array_is_refused_by_name(given):
    with pytest.raises(errors.ImageError, match=r"^well B07 "):
        check_image(given, "well B07")


def test_ragged_lists_are_refused_by_name():
    with pytest.raises(errors.ImageError, match=r"^well B07 is not an array"):
        check_image([[[1, 2], [3]]], "well B07")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f4", torch.bfloat16, torch.float32])
def test_pixels_that_are_not_finite_are_refused_with_their_channel(kind, value):
    given = np.zeros((3, 5, 4), np.float32)
    given[1, 4, 3] = value
    given = given.astype(kind) if isinstance(kind, str) else torch.from_numpy(given).to(kind)
    with pytest.raises(
        errors.ImageError, match=r"^well B07 has NaN or infinite pixels in channel 1$"
    ):
        check_image(given, "well B07")


def test_stains_are_kept_in_order():
    assert check_stains(["DNA", "ER"], 2, "x") == ("DNA", "ER")
    assert check_stains(None, 2, "x") is None


@pytest.mark.parametrize("stains", ["DN", ["DNA"], ["DNA", "ER", "AGP"], []])
def test_stains_that_do_not_fit_are_refused_by_name(stains):
    with pytest.raises(errors.ImageError, match=f"^well B07 has 2 .*{re.escape(repr(stains))}"):
        check_stains(stains, 2, "well B07")


def test_a_batch_holds_ragged_images_without_padding():
    found = batch(stains=(("a", "b"), None), channel_index=torch.tensor([0, 1, 0, 1, 2]))
    assert len(found) == 2
    assert found.size == (4, 6)
    first, second = found.images()
    assert torch.equal(first, found.planes[:2])
    assert torch.equal(second, found.planes[2:])
    assert first.data_ptr() == found.planes.data_ptr()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"planes": torch.rand(5, 4)}, r"\(5, 4\), not \(N, H, W\)"),
        ({"planes": torch.rand(5, 0, 6)}, r"\(5, 0, 6\): no pixel"),
        ({"planes": torch.ones(5, 4, 6, dtype=torch.uint8)}, r"torch\.uint8, but must be floating"),
        ({"counts": torch.tensor([2, 2])}, "add up to 4, but there are 5 planes"),
        ({"counts": torch.tensor([5, 0])}, "each image one channel"),
        ({"counts": torch.tensor([6, -1])}, "each image one channel"),
        ({"counts": torch.tensor([], dtype=torch.int64)}, "at least one image"),
        ({"counts": torch.tensor([2.0, 3.0])}, "int64"),
        ({"counts": torch.tensor([2, 3], dtype=torch.int32)}, "int64"),
        ({"counts": torch.tensor([[2, 3]])}, r"\(B,\)"),
        ({"stains": (("a",), None)}, "one stain name for each"),
        ({"stains": (("a", "b"),)}, "2 images, but stains for 1"),
        ({"stains": (("a", "b"), None, None)}, "2 images, but stains for 3"),
        ({"channel_index": torch.arange(4)}, "one entry for each plane"),
        ({"channel_index": torch.arange(5.0)}, "int64"),
    ],
)
def test_parts_of_a_batch_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(errors.ImageError, match=message):
        batch(**changes)


def mask(**changes):
    """A sound mask of a 4 × 6 image with two objects."""
    numbers = np.zeros((4, 6), changes.get("dtype", np.int64))
    numbers[1, 1:3], numbers[3, 4] = 1, 2
    return numbers


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "u8", ">i4"])
def test_masks_and_types_keep_their_values(dtype):
    found, types = check_objects(mask(dtype=dtype), np.array([3, 0], dtype), (4, 6), "x")
    assert found.tolist() == mask().tolist()
    assert types.tolist() == [3, 0]
    assert types.dtype == np.int64


def test_masks_may_be_tensors_or_lists_or_absent():
    for given in (torch.from_numpy(mask()), mask().tolist()):
        assert check_objects(given, [0, 1], (4, 6), "x")[0].tolist() == mask().tolist()
    assert check_objects(None, None, (4, 6), "x") == (None, None)
    assert check_objects(mask(), None, (4, 6), "x")[1] is None


def test_an_image_without_objects_has_no_types_and_more_types_than_objects_are_fine():
    assert check_objects(0 * mask(), [], (4, 6), "x")[1].tolist() == []
    assert check_objects(mask(), [1, 0, 5], (4, 6), "x")[1].tolist() == [1, 0, 5]


@pytest.mark.parametrize(
    ("numbers", "types", "message"),
    [
        (mask()[:3], None, r"the mask of well B07 has the shape \(3, 6\).* has 4 × 6 pixels"),
        (mask()[None], None, r"the mask of well B07 has the shape \(1, 4, 6\)"),
        (mask() > 0, None, "the mask of well B07 holds bool values.* by integers"),
        (mask() / 2, None, "the mask of well B07 holds float64 values"),
        (torch.from_numpy(mask()).float(), None, "the mask of well B07 holds float32 values"),
        (mask() - 1, None, "the mask of well B07 holds -1"),
        (mask().astype("u8") + 2**63, None, "the mask of well B07 holds 9223372036854775810"),
        ([[1, 2], [3]], None, "the mask of well B07 cannot be read as an array"),
        ("labels.tif", None, "the mask of well B07 holds <U10 values"),
        (mask(), [1], "well B07 has objects up to number 2, but only 1 types"),
        (mask(), [], "well B07 has objects up to number 2, but only 0 types"),
        (mask(), [0.0, 1.0], "the types of well B07 holds float64"),
        (mask(), [0, -1], "the types of well B07 holds -1"),
        (mask(), [[0, 1]], r"the types of well B07 have the shape \(1, 2\)"),
        (None, [0, 1], "well B07 has object types, but no mask"),
    ],
)
def test_bad_masks_are_refused_by_name_in_one_sentence(numbers, types, message):
    with pytest.raises(errors.ImageError, match=f"^{message}") as caught:
        check_objects(numbers, types, (4, 6), "well B07")
    assert "\n" not in str(caught.value)


def test_a_batch_carries_masks_and_types_for_those_that_have_them():
    assert batch().masks == batch().types == ()
    found = batch(masks=(torch.from_numpy(mask()), None), types=(np.array([0, 1]), None))
    assert found.masks[0][3, 4] == 2
    assert found.types[1] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": (None,)}, "2 images, but masks for 1"),
        ({"types": (None,) * 3}, "2 images, but types for 3"),
        ({"masks": (None, torch.zeros(4, 6))}, "mask of image 1 must be an int64 tensor"),
        ({"masks": (None, torch.zeros(4, 5, dtype=torch.int64))}, r"mask of image 1 .*\(4, 5\)"),
        ({"masks": (None, torch.from_numpy(mask() - 1))}, "mask of image 1 holds -1"),
        ({"types": (np.array([1]), None)}, "image 0 has object types, but no mask"),
    ],
)
def test_masks_of_a_batch_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(errors.ImageError, match=message):
        batch(**changes)
