"""Images that are prepared together, on a device, against each prepared on the CPU."""

import numpy as np
import pytest
import torch

import zoo
from zoo import errors
from zoo._encoders import preparing
from zoo._encoders.inputs import Inputs
from zoo._images import prepare_together as together
from zoo._images.preprocess import prepare

CPU = torch.device("cpu")
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    ),
]
# float32 resolves 6e-8 near 1; interpolation sums a handful of such terms.
CLOSE = 1e-6


def noise(shape, dtype="u2", top=65536, seed=0):
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def unusual():
    """Planes whose percentiles meet, whose pixels are equal, or at an end of the range."""
    planes = np.zeros((6, 40, 50), np.uint16)
    planes[1] = 7
    planes[2, 0, 0] = 65535
    planes[3] = 65535
    planes[4, :3] = noise((3, 50), top=9)
    planes[5] = noise((40, 50), top=2)
    return planes


def compare(images, device="cpu", **record):
    preprocessing = zoo.Preprocessing(**record)
    names = [f"image {i}" for i in range(len(images))]
    found = together.prepare_together(images, preprocessing, names, torch.device(device))
    assert all(f.device.type == device and f.dtype == torch.float32 for f in found)
    wanted = [prepare(m, preprocessing, n) for m, n in zip(images, names, strict=True)]
    return [f.cpu() for f in found], wanted


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("percentiles", [(0.1, 99.9), (0.0, 100.0), (2.0, 50.0), (33.3, 66.6)])
@pytest.mark.parametrize("scaling", ["auto", "percentile", "range", "none"])
def test_scaled_integers_have_the_same_bits(scaling, percentiles, device):
    images = [
        unusual(),
        noise((1, 40, 50), seed=1),
        noise((3, 40, 50), "u1", 256, seed=2),
        noise((2, 31, 17), top=4000, seed=3),
        unusual().astype(np.uint8),
    ]
    record = {"resize": None, "crop": None, "min_side": 1}
    for found, wanted in zip(
        *compare(images, device, scaling=scaling, percentiles=percentiles, **record), strict=True
    ):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("standardise", [None, 1e-6])
def test_resizing_and_standardising_agree(standardise, device):
    images = [noise((2, 300, 257)), noise((1, 300, 257), seed=1), noise((3, 257, 300), "u1", 256)]
    for found, wanted in zip(*compare(images, device, standardise=standardise), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=CLOSE * 10 if standardise else CLOSE)


def test_a_long_list_is_cut(monkeypatch):
    parts = []
    scaled = together._scaled
    monkeypatch.setattr(together, "PLANES", 5)
    monkeypatch.setattr(together, "PIXELS", 6 * 32 * 32)
    monkeypatch.setattr(
        together,
        "_scaled",
        lambda planes, *rest: parts.append(len(planes)) or scaled(planes, *rest),
    )
    images = [noise((c, 32, 32), seed=c) for c in (2, 3, 1, 7, 1, 4, 5)]
    for found, wanted in zip(*compare(images, resize=None, crop=None), strict=True):
        assert torch.equal(found, wanted)
    assert parts == [5, 1, 7, 5, 5]


def test_other_images_are_prepared_one_by_one():
    images = [noise((2, 64, 64), "f4", 9), noise((2, 64, 64), "i4", 9), noise((2, 64, 64), "u2")]
    for scaling in ("instance", "image", "percentile"):
        record = {"scaling": scaling, "resize": None, "crop": None}
        for found, wanted in zip(*compare(images, **record), strict=True):
            assert torch.equal(found, wanted)


def test_what_cannot_be_prepared_is_said_in_its_place():
    record = zoo.Preprocessing(scaling="range", resize=None, crop=48, min_side=8)
    images = [
        noise((1, 64, 64)),
        noise((1, 40, 64)),  # too small for the crop
        noise((1, 4, 64)),  # shorter than min_side
        -noise((1, 64, 64), "i2", 9),
    ]
    names = ["a", "b", "c", "d"]
    found = together.prepare_together(images, record, names, CPU)
    assert found[0].shape == (1, 48, 48)
    for image, name, error in zip(images[1:], names[1:], found[1:], strict=True):
        with pytest.raises(errors.ImageError) as wanted:
            prepare(image, record, name)
        assert isinstance(error, errors.ImageError)
        assert str(error) == str(wanted.value)


class OnGpu:
    """What `prepare_each` reads of an encoder on a GPU."""

    device = torch.device("cuda")
    model = torch.nn.Identity()
    own_prepare = None
    spec = zoo.plugin.EncoderSpec(name="a", builder="b:c", summary="d")

    def prepare(self, image, item):
        return prepare(image, self.spec.preprocessing, item)


def test_a_gpu_prepares_for_its_encoder_unless_its_memory_is_full(monkeypatch):
    images, used = [noise((1, 300, 300)), noise((1, 8, 8))], []

    def on_cpu(images, preprocessing, items, device):
        used.append(device.type)
        return together.prepare_together(images, preprocessing, items, CPU)

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(preparing, "prepare_together", on_cpu)
    first = preparing.prepare_each(OnGpu(), images, ["a", "b"])
    assert used == ["cuda"]
    monkeypatch.setattr(preparing, "prepare_together", full)
    second = preparing.prepare_each(OnGpu(), images, ["a", "b"])
    for found in (first, second):
        torch.testing.assert_close(found[0], OnGpu().prepare(images[0], "a"))
        assert "b is 8 × 8 pixels" in str(found[1])


@pytest.mark.parametrize("what", [{"own_prepare": "mine:prepare"}, {"model": None}])
def test_an_encoder_with_code_of_its_own_or_without_network_prepares_on_the_cpu(what, monkeypatch):
    monkeypatch.setattr(preparing, "prepare_together", None)
    encoder = type("Own", (OnGpu,), what)()
    assert preparing.prepare_each(encoder, [noise((1, 300, 300))], ["a"])[0].shape == (1, 224, 224)


class Planes:
    """Prepared planes that say whether they were taken from a GPU."""

    def __init__(self, nbytes):
        self.nbytes = nbytes

    def cpu(self):
        return "on the CPU"


def test_a_long_list_is_prepared_in_parts_and_little_of_it_stays_on_a_gpu(monkeypatch):
    asked = []

    def each(encoder, images, items):
        asked.append(list(zip(images, items, strict=True)))
        return [Planes(image) for image in images]

    monkeypatch.setattr(preparing, "prepare_each", each)
    monkeypatch.setattr(preparing, "AT_ONCE", 2)
    monkeypatch.setattr(preparing, "ON_GPU", 10)
    found = preparing.prepare_all(OnGpu(), [4, 6, 1, 1, 1], list("abcde"))
    assert asked == [[(4, "a"), (6, "b")], [(1, "c"), (1, "d")], [(1, "e")]]
    assert [one == "on the CPU" for one in found] == [False, False, True, True, True]


def test_encode_prepares_together_and_raises_what_is_wrong_first(monkeypatch):
    encoder, parts = zoo.load("texture-mean", device="cpu"), []
    each = preparing.prepare_each

    def spy(encoder, images, items):
        parts.append(list(items))
        return each(encoder, images, items)

    monkeypatch.setattr(preparing, "prepare_each", spy)
    encoder.encode([noise((1, 300, 300)), noise((1, 320, 300))])
    assert parts == [["image 0", "image 1"]]
    with pytest.raises(errors.ImageError, match=r"^image 1 is 8 × 8 pixels"):
        encoder.encode([noise((1, 300, 300)), noise((1, 8, 8)), noise((1, 4, 4))])


def test_planes_that_were_prepared_on_two_devices_are_packed():
    planes = [torch.zeros(2, 4, 4), torch.zeros(1, 4, 4, device="meta")]
    inputs = Inputs(planes=planes, stains=[None] * 2, places=[None] * 2, objects=[(None, None)] * 2)
    batch = inputs.batch([0, 1], torch.device("meta"), torch.float16)
    assert batch.planes.shape == (3, 4, 4)
    assert batch.planes.device.type == "meta"
