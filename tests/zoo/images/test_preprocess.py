"""Preprocessing against torchvision, plain loops and arithmetic by hand."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

import zoo
from zoo import errors
from zoo._images.preprocess import percentiles_of, prepare, prepare_mask, scale

PLAIN = {"resize": None, "crop": None}
# float32 resolves 6e-8 near 1; interpolation sums a handful of such terms.
CLOSE = 1e-6


def noise(shape, dtype="u1", top=256, seed=0):
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def follow(image, item="x", **record):
    return prepare(image, zoo.Preprocessing(**record), item)


def naive_percentile(values, percent):
    ordered = sorted(float(v) for v in values)
    at = percent / 100 * (len(ordered) - 1)
    low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
    return low + (at - math.floor(at)) * (high - low)


def naive_scale(image, scaling, percentiles=(0.1, 99.9)):
    planes = []
    for plane in image:
        values = [float(v) for v in plane.ravel()]
        if scaling == "percentile":
            low, high = (naive_percentile(values, p) for p in percentiles)
            scaled = [min(max((v - low) / (high - low), 0), 1) for v in values]
        else:
            mean = math.fsum(values) / len(values)
            sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))
            scaled = [(v - mean) / sd for v in values]
        planes.append(np.reshape(scaled, plane.shape))
    return np.stack(planes)


SIZES = [
    (256, 256),
    (257, 300),
    (300, 257),
    (640, 640),
    (64, 91),
    (17, 30),
    (255, 1000),
    (431, 300),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_equals_the_authors_chain_in_torchvision(size, count):
    image = noise((count, *size))
    chain = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])
    wanted = chain(torch.from_numpy(image).float() / 255)
    found = follow(image, scaling="range", resize=256, crop=224)
    assert found.shape == (count, 224, 224)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("size", [(256, 300), (640, 640), (100, 130)])
def test_resizing_integers_first_differs_by_rounding_only(size):
    # torchvision rounds uint8 after each of its two passes: half a grey level each, and its
    # weights have a few bits only, worth another level.
    image = torch.from_numpy(noise((2, *size)))
    chain = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])
    found = follow(image, scaling="range", resize=256, crop=224)
    torch.testing.assert_close(found, chain(image).float() / 255, rtol=0, atol=2 / 255)


@pytest.mark.parametrize(("resize", "crop"), [(64, None), (None, 33), (65, 64), (40, 40), (96, 7)])
@pytest.mark.parametrize("size", [(90, 70), (70, 91), (97, 96)])
def test_other_sizes_equal_torchvision_too(resize, crop, size):
    image = noise((2, *size))
    wanted = torch.from_numpy(image).float() / 255
    if resize is not None:
        wanted = v2.Resize(resize, antialias=True)(wanted)
    if crop is not None:
        wanted = v2.CenterCrop(crop)(wanted)
    found = follow(image, scaling="range", resize=resize, crop=crop)
    torch.testing.assert_close(found, wanted, rtol=0, atol=CLOSE)


@pytest.mark.parametrize(
    ("height", "width", "top", "left"), [(10, 10, 3, 3), (11, 10, 4, 3), (13, 9, 4, 2)]
)
def test_the_crop_is_the_centre(height, width, top, left):
    # Halves go to the even number, as Python and torchvision round.
    image = np.arange(height * width, dtype=np.float32).reshape(1, height, width)
    found = follow(image, scaling="none", resize=None, crop=4, min_side=4)
    assert torch.equal(found, torch.from_numpy(image[:, top : top + 4, left : left + 4]))
    assert found.is_contiguous()


def test_a_plain_record_changes_values_only():
    image = noise((3, 31, 47), "u2", 65536)
    found = follow(image, scaling="none", **PLAIN)
    assert found.dtype == torch.float32
    assert found.tolist() == image.tolist()


@pytest.mark.parametrize(
    ("dtype", "top"),
    [("u1", 2**8 - 1), ("u2", 2**16 - 1), ("u4", 2**32 - 1), ("i2", 2**15 - 1), (">u2", 2**16 - 1)],
)
def test_range_divides_by_the_top_of_the_type(dtype, top):
    image = np.zeros((1, 16, 16), dtype)
    image[0, 0] = top
    image[0, 1] = top // 3
    found = follow(image, scaling="range", **PLAIN).numpy()
    assert (found[0, 0] == 1).all()
    assert (found[0, 2:] == 0).all()
    np.testing.assert_allclose(found[0, 1], (top // 3) / top, rtol=3e-7)  # two float32 roundings


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_range_takes_floats_from_0_to_1_as_they_are(dtype):
    image = np.linspace(0, 1, 256).reshape(1, 16, 16).astype(dtype)
    found = follow(image, scaling="range", **PLAIN)
    assert (found.numpy() == image.astype(np.float32)).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((1, 16, 16), 1.01), r"from 1\.01 to 1\.01; scaling 'range'.*'percentile'"),
        (np.full((1, 16, 16), -0.01), r"from -0\.01"),
        (np.full((1, 16, 16), -1, np.int16), r"negative pixels \(-1\)"),
    ],
)
def test_range_refuses_what_it_cannot_place(image, message):
    with pytest.raises(errors.ImageError, match=f"^well B07 .*{message}"):
        follow(image, "well B07", scaling="range", **PLAIN)


@pytest.mark.parametrize("scaling", ["percentile", "instance"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_scaling_equals_a_loop_channel_by_channel(scaling, dtype):
    image = noise((3, 19, 23), "f8", 200) * np.array([1, 0.3, 0.01])[:, None, None]
    image = image.astype(dtype)
    if dtype == "i2":
        image -= 50
    found = follow(image, scaling=scaling, **PLAIN)
    assert found.dtype == torch.float32
    # Both compute in float64; float32 rounds what is at most 4 to 2.4e-7.
    np.testing.assert_allclose(found, naive_scale(image, scaling), rtol=0, atol=5e-7)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize(
    "percentiles", [(0.1, 99.9), (0, 100), (1, 63.7), (49.99, 50.01), (99.9, 100)]
)
def test_integers_by_their_counts_have_the_bits_of_the_same_numbers_as_floats(dtype, percentiles):
    """Which NumPy sorts for its percentiles."""
    draw = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    record = zoo.Preprocessing(scaling="percentile", percentiles=percentiles)
    for height, width in ((1, 1), (1, 2), (7, 5), (40, 33)):
        shape = (2, height, width)
        for values in (
            draw.integers(0, top + 1, shape),
            draw.integers(0, 3, shape),
            np.full(shape, top),
            top * (draw.random(shape) < 0.05),
            draw.gamma(2, top / 50, shape).clip(0, top),
        ):
            image = values.astype(dtype)
            found, wanted = scale(image, record, "x"), scale(image.astype(float), record, "x")
            np.testing.assert_array_equal(found.view("u4"), wanted.view("u4"))


def test_percentiles_of_counts_are_those_of_numpy_to_the_bit():
    draw = np.random.default_rng(0)
    for size in (1, 2, 3, 10, 1000):
        for top in (1, 7, 65535):
            numbers = draw.integers(0, top + 1, size)
            for percentiles in draw.uniform(0, 100, (20, 2)).tolist():
                found = percentiles_of(np.bincount(numbers), tuple(percentiles))
                assert found == np.percentile(numbers, percentiles).tolist()


def test_the_percentiles_of_the_record_are_used():
    image = noise((2, 20, 20), "u2", 4096)
    found = follow(image, scaling="percentile", percentiles=(10, 75), **PLAIN)
    wanted = naive_scale(image, "percentile", (10, 75))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=5e-7)
    assert (found == 1).float().mean() == pytest.approx(0.25, abs=0.01)  # one pixel is 0.0025


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [("u1", "range"), ("u2", "percentile"), ("i2", "percentile"), ("f4", "percentile")],
)
def test_auto_is_range_for_8_bits_and_percentile_for_all_others(dtype, wanted):
    image = noise((2, 20, 20), dtype, 100)
    found = follow(image, scaling="auto", **PLAIN)
    assert torch.equal(found, follow(image, scaling=wanted, **PLAIN))


def test_a_12_bit_camera_in_16_bits_is_not_crushed():
    image = noise((1, 50, 50), "u2", 4096)
    assert follow(image, scaling="range", **PLAIN).max() < 0.07
    assert follow(image, **PLAIN).max() == 1


@pytest.mark.parametrize("scaling", ["auto", "range", "percentile", "instance", "none"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_a_black_channel_stays_black_and_its_neighbour_is_untouched(scaling, dtype):
    bright = noise((1, 40, 40), dtype, 2)
    image = np.concatenate([bright, np.zeros_like(bright)])
    found = follow(image, scaling=scaling, resize=32, crop=24)
    assert (found[1] == 0).all()
    assert torch.equal(found[:1], follow(bright, scaling=scaling, resize=32, crop=24))


@pytest.mark.parametrize("scaling", ["percentile", "instance"])
@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, -7.7, 1e-300, 4e9])
@pytest.mark.parametrize("side", [32, 33, 100])
def test_a_channel_without_contrast_becomes_zeros(scaling, value, side):
    # The mean of equal float64 numbers can be off by a bit, which must not be blown up.
    assert (follow(np.full((1, side, side), value), scaling=scaling, **PLAIN) == 0).all()


@pytest.mark.parametrize("faint", [1e-310, 1e-40, 1e-20])
def test_the_faintest_contrast_is_scaled_like_any_other(faint):
    image = noise((1, 20, 20), "f8", 200)
    found = follow(image * faint, scaling="percentile", **PLAIN)
    wanted = follow(image, scaling="percentile", **PLAIN)
    # 1e-310 is denormal: integers times it keep 13 of their digits only.
    torch.testing.assert_close(found, wanted, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("scaling", ["percentile", "instance", "none"])
@pytest.mark.parametrize("value", [1e39, -1e300])
def test_floats_beyond_float32_are_refused(scaling, value):
    image = np.zeros((1, 20, 20))
    image[0, 3, 3] = value
    with pytest.raises(
        errors.ImageError, match=r"^well B07 has pixels beyond the range of float32"
    ):
        follow(image, "well B07", scaling=scaling, **PLAIN)


@pytest.mark.parametrize("scaling", ["percentile", "instance", "none"])
@pytest.mark.parametrize("top", [np.float16(6e4), np.float32(3e38)])
def test_the_widest_floats_do_not_overflow(scaling, top):
    image = np.full((1, 20, 20), -top)
    image[0, ::2] = top
    found = follow(image, scaling=scaling, **PLAIN)
    low, high = {"percentile": (0, 1), "instance": (-1, 1), "none": (-top, top)}[scaling]
    assert set(found.unique().tolist()) == {float(low), float(high)}


def test_float16_and_bfloat16_tensors_are_scaled_as_float32():
    image = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        stored = image.to(dtype)
        found = follow(stored, **PLAIN)
        assert torch.equal(found, follow(stored.float(), **PLAIN))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4"])
def test_tensors_and_arrays_give_the_same(dtype):
    image = noise((2, 40, 50), dtype, 200)
    assert torch.equal(follow(torch.from_numpy(image)), follow(image))


def test_views_and_read_only_arrays_are_fine_and_stay_as_they_are():
    image = noise((4, 60, 80), "u2", 4096)
    before = image.copy()
    view = image[::2, ::-1, ::2]
    view.setflags(write=False)
    assert torch.equal(follow(view), follow(view.copy()))
    assert (image == before).all()
    gradient = torch.rand(1, 20, 20, requires_grad=True)
    assert not follow(gradient).requires_grad


@pytest.mark.parametrize("size", [(15, 40), (40, 15)])
def test_images_below_the_smallest_side_are_refused(size):
    with pytest.raises(errors.ImageError, match=r"^well B07 is .* but sides must be at least 16"):
        follow(noise((1, *size)), "well B07")
    assert follow(noise((1, 16, 40))).shape == (1, 224, 224)


def test_a_crop_is_never_padded():
    with pytest.raises(
        errors.ImageError, match=r"^well B07 is 50 × 30 pixels, too small to crop 32"
    ):
        follow(noise((1, 50, 30)), "well B07", resize=None, crop=32)


def test_scale_knows_no_neighbouring_image():
    first, second = noise((1, 20, 20), "u2", 300), noise((1, 20, 20), "u2", 60000, seed=1)
    record = zoo.Preprocessing(scaling="instance")
    joined = scale(np.concatenate([first, second]), record, "x")
    assert (joined[:1] == scale(first, record, "x")).all()
    assert (joined[1:] == scale(second, record, "x")).all()


def test_a_channel_with_a_few_bright_pixels_keeps_them():
    sparse = np.zeros((1, 100, 100), dtype=np.uint16)
    sparse[0, 3, 4] = 900  # 0.01 % of the pixels, so that both percentiles are 0
    record = zoo.Preprocessing(scaling="percentile", resize=None, crop=None)
    found = prepare(sparse, record, "image")
    assert float(found[0, 3, 4]) == 1.0
    assert float(found.sum()) == 1.0


def numbered(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 50, shape)


@pytest.mark.parametrize("size", [*SIZES, (224, 224), (16, 16)])
def test_masks_take_the_nearest_number_where_pixels_are_resized_and_cropped(size):
    mask = numbered(size)
    record = zoo.Preprocessing()
    # torch's "nearest-exact" lines centres up as antialiased resizing does; "nearest" does not.
    height, width = size
    short = min(size)
    resized = (int(256 * height / short), int(256 * width / short))
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(mask)[None, None].double(), size=resized, mode="nearest-exact"
    )
    wanted = v2.CenterCrop(224)(wanted)[0, 0].long()
    found = prepare_mask(mask, record, "x")
    assert found.dtype == torch.int64
    assert found.shape == prepare(mask[None].astype("u1"), record, "x").shape[1:]
    # Where a centre falls on an edge between two pixels, float32 of torch may take the other one.
    assert (found != wanted).double().mean() < 0.01


@pytest.mark.parametrize("record", [{}, {"resize": 48, "crop": 40}, {"resize": None, "crop": 30}])
@pytest.mark.parametrize("size", [(60, 90), (91, 60), (64, 64)])
def test_a_mask_lies_on_its_image_after_preparing(record, size):
    mask = np.zeros(size, int)
    mask[20:45, 25:50] = 7
    record = zoo.Preprocessing(scaling="range", **record)
    pixels = prepare((mask > 0)[None].astype("f4"), record, "x")[0]
    found = prepare_mask(mask, record, "x")
    assert found.unique().tolist() == [0, 7]
    # Only pixels on an edge are between 0 and 1, and these belong to the side they are nearer to.
    assert ((pixels > 0.5) == (found > 0)).double().mean() > 0.99
    assert ((pixels == 1) & (found == 0)).sum() == 0
    assert ((pixels == 0) & (found == 7)).sum() == 0


def test_a_mask_that_is_not_resized_is_itself():
    mask = numbered((30, 40)).astype(np.uint16)
    assert prepare_mask(mask, zoo.Preprocessing(**PLAIN), "x").tolist() == mask.tolist()
    cut = prepare_mask(mask, zoo.Preprocessing(resize=None, crop=20), "x")
    assert cut.tolist() == mask[5:25, 10:30].tolist()
    with pytest.raises(
        errors.ImageError, match=r"^well B07 is 30 × 40 pixels, too small to crop 32"
    ):
        prepare_mask(mask, zoo.Preprocessing(resize=None, crop=32), "well B07")
