"""Drift against loops, for encoders whose answer to each change is known beforehand."""

import hashlib

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from skimage.exposure import adjust_gamma

import zoo
from zoo import errors
from zoo._diagnostics.invariance import invariance
from zoo._images.image import Image, channel_names
from zoo._images.perturb import NUISANCES, fitted, limits

PLAIN = zoo.Preprocessing(scaling="none", resize=None, crop=None, min_side=1)
MOVES = ("rotated by 90°", "flipped", "shifted by a tenth")
LIGHTS = tuple(name for name in NUISANCES if name not in MOVES)
# Embeddings are float32: 1 − cosine of two directions is right to some 1e-7 of 1.
CLOSE = 1e-5


class Of(zoo.Encoder):
    """What a function makes of the pixels and stains of each image."""

    def __init__(self, function, *, channels=(1, None), joins=False):
        spec = zoo.plugin.EncoderSpec(
            name="under-test", builder="m:f", summary="s", preprocessing=PLAIN, channels=channels
        )
        super().__init__(spec)
        self.function, self.requires_equal_channels = function, joins
        self.calls, self.masks = 0, []

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        self.calls += 1
        self.masks += batch.masks
        names = batch.stains or [None] * len(batch)
        rows = [
            torch.as_tensor(np.asarray(self.function(x.numpy(), n), np.float32))
            for x, n in zip(batch.images(), names, strict=True)
        ]
        return zoo.Features(torch.stack(rows), batch.counts)


def pooled(image, _=None):
    """Four by four means of the mean over channels: sees places and brightness, not channels."""
    height, width = image.shape[1:]
    return image.mean(0).reshape(4, height // 4, 4, width // 4).mean((1, 3)).ravel()


def by_place(image, _=None):
    """Mean of each of up to four channels, in their order."""
    return np.r_[image.mean((1, 2)), np.zeros(4 - len(image))]


def by_stain(image, stains):
    """Mean of each stain, wherever its channel is."""
    means = dict(zip(stains, image.mean((1, 2)), strict=True))
    return [means.get(name, 0.0) for name in ("DNA", "ER", "Golgi")]


def noise_of(image, _=None):
    """Noise that follows from every single pixel."""
    digest = hashlib.sha256(image.tobytes()).digest()
    return np.random.default_rng(list(digest)).normal(size=64)


def images(count=6, channels=3, side=16, stains=("DNA", "ER", "Golgi"), dtype="u2", seed=0):
    rng = np.random.default_rng(seed)
    shape = (count, channels, side, side)
    pixels = rng.integers(0, 4000, shape) * rng.random((count, channels, 1, 1))
    return [Image(p.astype(dtype), stains and stains[:channels]) for p in pixels]


def drift(function, given, **options):
    found, refused = invariance(Of(function, **options), given)
    return {f.condition: f for f in found}, refused


def naive_drift(function, given, change):
    def embed(image):
        return np.asarray(function(image.pixels.astype(np.float32), image.stains), float)

    moved = [cosine(embed(image), embed(change(image))) for image in given]
    between = [
        cosine(embed(a), embed(b))
        for i, a in enumerate(given)
        for j, b in enumerate(given)
        if i < j
    ]
    return float(np.median(moved) / np.median(between))


def with_pixels(change, stains=lambda names: names):
    return lambda image: Image(change(image.pixels), stains(image.stains))


@pytest.mark.parametrize("function", [pooled, by_place, by_stain])
@pytest.mark.parametrize(
    ("condition", "change"),
    [
        ("rotated by 90°", with_pixels(lambda p: np.stack([plane.T[::-1] for plane in p]))),
        ("flipped", with_pixels(lambda p: np.stack([np.fliplr(plane) for plane in p]))),
        ("gain 0.7", with_pixels(lambda p: np.rint(p * 0.7).astype("u2"))),
        ("channel ER black", with_pixels(lambda p: np.stack([p[0], 0 * p[1], p[2]]))),
        ("channels permuted", with_pixels(lambda p: p[[2, 0, 1]], lambda s: (s[2], s[0], s[1]))),
        ("channels permuted, names kept", with_pixels(lambda p: p[[2, 0, 1]])),
        ("channel ER dropped", with_pixels(lambda p: p[[0, 2]], lambda s: (s[0], s[2]))),
        ("first channel duplicated", with_pixels(lambda p: p[[0, 1, 2, 0]], lambda s: (*s, s[0]))),
    ],
)
def test_drift_equals_a_loop(function, condition, change):
    given = images()
    found, _ = drift(function, given)
    assert found[condition].value == pytest.approx(naive_drift(function, given, change), abs=CLOSE)


def test_every_change_is_there_once_with_what_it_means():
    found, refused = invariance(Of(pooled), images())
    channels = [
        f"channel {s} {what}" for s in ("DNA", "ER", "Golgi") for what in ("dropped", "black")
    ]
    assert [f.condition for f in found] == [
        *NUISANCES,
        "channels permuted",
        "channels permuted, names kept",
        "first channel duplicated",
        *channels,
    ]
    assert not refused
    for f in found:
        assert (f.encoder, f.quantity, f.n_items, f.note) == ("under-test", "drift", 6, "")
        assert (f.reference, f.reference_name) == (1.0, "different images")
        assert 0 <= f.low <= f.value <= f.high


def test_what_an_encoder_does_not_look_at_moves_nothing():
    found, _ = drift(by_stain, images())
    # Sums in another order differ by the rounding of float32.
    for still in ("rotated by 90°", "flipped", "gain 0.7", "channels permuted"):
        assert found[still].value == pytest.approx(0, abs=CLOSE)
    assert found["channels permuted, names kept"].value > 0.1
    found, _ = drift(pooled, images())
    assert found["channels permuted"].value == pytest.approx(0, abs=CLOSE)
    assert found["flipped"].value > 0.1


def test_noise_moves_as_far_as_to_another_image():
    found, _ = drift(noise_of, images(32, dtype="f4"))
    # Cosines of 64 normal numbers have an sd of 1/8; a median of 32 has a quarter of it.
    for f in found.values():
        assert f.value == pytest.approx(1, abs=4 * 1.25 / 8 / np.sqrt(32))


@pytest.mark.slow
def test_the_interval_covers_the_median_of_many_images():
    rng = np.random.default_rng(0)
    many = images(200, channels=1, side=8, seed=1)
    truth = drift(pooled, many)[0]["flipped"].value
    hits = 0
    for _ in range(25):
        few = [many[i] for i in rng.choice(200, 20, replace=False)]
        one = drift(pooled, few)[0]["flipped"]
        hits += one.low <= truth <= one.high
    # 24 are expected, and fewer than 20 come less than once in a hundred times.
    assert hits >= 20


@pytest.mark.parametrize("function", [lambda *_: np.ones(5), lambda x, _: 1 + 1e-7 * x[0, 0, :5]])
def test_an_embedding_that_hardly_varies_has_no_drift(function):
    given = [Image(i.pixels / 4000.0) for i in images()]
    found, refused = invariance(Of(function), given)
    assert found == ()
    assert refused == ("Different images have the same embedding, so drift has no scale.",)


def test_nan_is_no_drift():
    found, refused = invariance(Of(lambda *_: [np.nan, 1.0]), images())
    assert found == ()
    assert "NaN" in refused[0]
    found, refused = drift(lambda x, _: [np.nan if x[0].max() == 0 else x[0].mean(), 1], images())
    assert "channel DNA black" not in found
    assert refused == ("channel DNA black: the embeddings are NaN or infinite.",)


def test_an_empty_embedding_is_at_a_right_angle_to_all():
    found, _ = drift(lambda x, _: by_place(x) * (x[0].max() > 0), images())
    rows = [by_place(image.pixels) for image in images()]
    between = [cosine(a, b) for k, a in enumerate(rows) for b in rows[:k]]
    assert found["channel DNA black"].value == pytest.approx(1 / np.median(between), rel=CLOSE)


def test_encoders_that_join_channels_are_not_asked_for_fewer():
    found, refused = drift(by_place, images(), joins=True)
    assert not [c for c in found if "dropped" in c or "duplicated" in c]
    assert {"channel DNA black", "channels permuted"} <= set(found)
    assert len(refused) == 1
    assert "the encoder concatenates channels" in refused[0]
    found, refused = drift(lambda x, _: x.mean((1, 2)), images())
    assert not [c for c in found if "dropped" in c]
    assert "channel ER dropped: the embedding has 2 dimensions instead of 3" in " ".join(refused)


def test_what_an_encoder_refuses_is_said():
    found, refused = drift(by_place, images(), channels=(3, 3))
    assert {"channel ER black", "flipped"} <= set(found)
    assert len(refused) == 4
    assert all("but under-test takes 3: choose" in why for why in refused)
    with pytest.raises(errors.ImageError, match="takes 1 to 2"):
        drift(by_place, images(), channels=(1, 2))


def test_single_channels_have_nothing_to_lose():
    found, refused = drift(pooled, images(channels=1))
    assert list(found) == list(NUISANCES)
    assert refused == (
        "6 of 6 images have a single channel, so there is nothing to permute, drop or set to 0.",
    )


def test_ragged_images_lose_channels_by_name_where_there_are_names():
    ragged = [
        *images(2, 2, stains=("DNA", "ER")),
        *images(2, 3, stains=("ER", "Golgi", "DNA"), seed=1),
        *images(2, 2, stains=None, seed=2),
        *images(1, 1, stains=("DNA",), seed=3),
    ]
    found, refused = drift(pooled, ragged)
    assert refused[0].startswith("1 of 7 images have a single channel")
    counts = {c: f.n_items for c, f in found.items()}
    assert counts["flipped"] == 7
    assert counts["channels permuted"] == 6
    assert counts["channels permuted, names kept"] == 4
    assert {c: n for c, n in counts.items() if "black" in c} == {
        "channel DNA black": 4,
        "channel ER black": 4,
        "channel Golgi black": 2,
        "channel 1 black": 2,
        "channel 2 black": 2,
    }
    assert found["channel Golgi black"].note == "applies to 2 of 7"

    def lost(image):
        kept = np.array(image.stains) != "DNA"
        return image.pixels * kept[:, None, None]

    alone = [cosine(pooled(image.pixels), pooled(lost(image))) for image in ragged[:4]]
    between = [
        cosine(pooled(a.pixels), pooled(b.pixels)) for k, a in enumerate(ragged) for b in ragged[:k]
    ]
    wanted = np.median(alone) / np.median(between)
    assert found["channel DNA black"].value == pytest.approx(wanted, abs=CLOSE)


def test_a_stain_that_comes_again_is_another_channel():
    image = Image(np.zeros((3, 2, 2)), ("DNA", "DNA", "ER"))
    assert channel_names(image) == ("DNA", "DNA (2)", "ER")
    assert channel_names(Image(np.zeros((2, 2, 2)))) == ("1", "2")


def test_one_image_has_nothing_to_be_compared_with():
    with pytest.raises(ValueError, match="at least two images"):
        invariance(Of(pooled), images(1))


def test_images_go_through_one_call_for_each_change():
    encoder = Of(pooled)
    found, _ = invariance(encoder, images(10, dtype="f4"))
    assert encoder.calls == len(found) + 1  # all planes of a condition, and the images as they are
    again, _ = invariance(Of(pooled), images(10, dtype="f4"))
    assert repr(again) == repr(found)  # NaN is not equal to itself
    other, _ = invariance(Of(pooled), images(10, dtype="f4"), seed=1)
    assert repr(other) != repr(found)


def test_masks_move_with_the_pixels():
    mask = np.arange(16).reshape(4, 4)
    types = np.arange(15)
    given = [
        Image(p, None, None, mask, types) for p in np.random.default_rng(0).random((2, 1, 4, 4))
    ]
    encoder = Of(pooled)
    invariance(encoder, given)
    seen = encoder.masks[::2]
    turned = [[mask[x, 3 - y] for x in range(4)] for y in range(4)]
    assert np.array_equal(seen[1], turned)
    assert np.array_equal(seen[2], mask[:, ::-1])
    # One pixel down and right: the second row and column are mirrored at the first.
    mirrored = [[mask[abs(y - 1), abs(x - 1)] for x in range(4)] for y in range(4)]
    assert np.array_equal(seen[3], mirrored)
    assert all(np.array_equal(m, mask) for m in (seen[0], *seen[4:]))


TYPES = ["u1", "u2", "i2", "i8", "u8", ">u2", "f2", "f4", "f8"]


def picture(dtype, low=0.0, high=1.0, shape=(2, 24, 31), seed=0):
    """Smooth and bright, spread between two shares of the type's range; 0 to 1 for floats."""
    top = 1.0 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max)
    noise = np.random.default_rng(seed).random(shape)
    values = (low + (high - low) * noise) * top
    return (
        fitted(values, np.zeros(1, dtype)) if np.dtype(dtype).kind != "f" else values.astype(dtype)
    )


@pytest.mark.parametrize("name", NUISANCES)
@pytest.mark.parametrize("dtype", TYPES)
def test_changes_keep_type_and_range_and_never_wrap(name, dtype):
    pixels = picture(dtype, 0.6, 1.0)
    before = pixels.copy()
    changed = NUISANCES[name](Image(pixels), np.random.default_rng(0)).pixels
    assert changed.dtype == pixels.dtype
    assert np.array_equal(pixels, before)
    turned = (pixels.shape[0], pixels.shape[2], pixels.shape[1])
    assert changed.shape == (turned if name.startswith("rotated") else pixels.shape)
    low, high = limits(pixels)
    values = changed.astype(np.float64)
    assert low <= values.min() <= values.max() <= high
    # What is bright stays bright: 0.7 of 0.6 is the darkest that there can be.
    assert values.min() > 0.35 * high


@pytest.mark.parametrize("name", NUISANCES)
def test_tiny_and_constant_images_can_be_changed(name):
    for shape in ((1, 1, 1), (2, 1, 7), (1, 3, 2)):
        for dtype in ("u1", "f4"):
            flat = Image(np.ones(shape, dtype))
            changed = NUISANCES[name](flat, np.random.default_rng(0)).pixels
            assert len(np.unique(changed)) == 1  # no contrast where there was none
            assert changed.size == flat.pixels.size


def test_gain_clips_at_the_type_and_at_one():
    bright = Image(np.array([[[100, 200, 255]]], "u1"))
    assert NUISANCES["gain 1.4"](bright, None).pixels.tolist() == [[[140, 255, 255]]]
    assert NUISANCES["gain 0.7"](bright, None).pixels.tolist() == [[[70, 140, 178]]]
    share = Image(np.array([[[0.5, 0.75, 1.0]]]))
    assert NUISANCES["gain 1.4"](share, None).pixels.tolist() == [[[0.7, 1.0, 1.0]]]
    counts = Image(np.array([[[0.5, 2000.0]]]))
    assert NUISANCES["gain 1.4"](counts, None).pixels.tolist() == [[[0.7, 2800.0]]]
    signed = Image(np.array([[[-30000, 30000]]], "i2"))
    assert NUISANCES["gain 1.4"](signed, None).pixels.tolist() == [[[-32768, 32767]]]


def test_gamma_is_that_of_scikit_image():
    rng = np.random.default_rng(0)
    plane = rng.random((9, 9))
    plane = (plane - plane.min()) / np.ptp(plane)
    changed = NUISANCES["gamma 0.7"](Image(plane[None]), None).pixels[0]
    np.testing.assert_allclose(changed, adjust_gamma(plane, 0.7), atol=1e-12)  # float64
    # The extremes stay whatever they are.
    shifted = NUISANCES["gamma 0.7"](Image(100 + 50 * plane[None]), None).pixels[0]
    np.testing.assert_allclose(shifted, 100 + 50 * changed, atol=1e-9)


def test_blur_spreads_a_point_as_a_gaussian_does():
    point = np.zeros((2, 31, 31))
    point[0, 15, 15] = 1
    changed = NUISANCES["blurred (sd 1.5 px)"](Image(point), None).pixels
    y, x = np.mgrid[-15:16, -15:16]
    wanted = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    # The kernel ends at four sd, where it is 3e-4 of its top.
    np.testing.assert_allclose(changed[0], wanted / wanted.sum(), atol=1e-4)
    assert not changed[1].any()  # nothing flows between channels


def test_noise_has_two_percent_of_the_range_of_each_plane():
    planes = np.stack([np.full((200, 200), 500.0), np.full((200, 200), 5000.0)])
    planes[0, 0, 0], planes[1, 0, 0] = 1500, 15000
    changed = NUISANCES["noise (sd 2 % of the range)"](Image(planes), np.random.default_rng(0))
    added = (changed.pixels - planes).std((1, 2))
    # The sd of 40 000 draws is known to 1/sqrt(80 000).
    np.testing.assert_allclose(added, [20, 200], rtol=4 / np.sqrt(80_000))
    other = NUISANCES["noise (sd 2 % of the range)"](Image(planes), np.random.default_rng(1))
    assert not np.array_equal(changed.pixels, other.pixels)


def test_limits_follow_type_and_convention():
    assert limits(np.array([3], "u1")) == (0, 255)
    assert limits(np.array([3], "i2")) == (0, 32767)
    assert limits(np.array([-3], "i2")) == (-32768, 32767)
    assert limits(np.array([0.3], "f4")) == (0, 1)
    assert limits(np.array([3.0], "f4")) == (0, np.finfo("f4").max)
    low, high = limits(np.array([-3.0]))
    assert low == -high == -np.finfo("f8").max
    # No float is the largest 64-bit integer; the one below it is 1024 less.
    for dtype in ("i8", "u8"):
        top = np.iinfo(dtype).max
        assert top - 2048 < int(fitted(np.array([1e30]), np.array([1], dtype))[0]) <= top
