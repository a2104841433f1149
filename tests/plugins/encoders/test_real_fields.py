"""Encoders of others on real images: embedded where their channels allow, else told why not."""

import pytest

import zoo
from zoo import errors

# How many of eleven images of one to six channels; three have four channels, three have five.
ALLOWED = {
    "openphenom": 11,
    "channelvit": 11,
    "morphem": 11,
    "subcell": 3,
    "celldino": 3,
    "celldino-bag": 11,
}


def encoder_of(golden, checkpoint):
    scheme = checkpoint.partition("-")[0]
    return zoo.load(f"{scheme}:{golden.parent / f'{checkpoint}-tiny'}", device="cpu")


@pytest.mark.parametrize("checkpoint", ALLOWED)
def test_images_are_embedded_where_channels_allow(golden, real_data, checkpoint):
    encoder = encoder_of(golden, checkpoint)
    rows, refused = [], []
    for image in zoo.open_images(real_data / "fields"):
        try:
            rows.append(encoder.encode([image.pixels]).embedding[0])
        except errors.ImageError as error:
            refused.append((len(image.pixels), str(error)))
    assert (len(rows), len(rows) + len(refused)) == (ALLOWED[checkpoint], 11)
    assert all(bool(row.isfinite().all()) for row in rows)
    assert len({tuple(row.tolist()) for row in rows}) == len(rows)
    needed = encoder.channels[0]
    for count, reason in refused:
        assert f"{count} channel" in reason
        assert f"takes {needed}" in reason


def test_stains_without_a_place_are_named(golden, real_data):
    encoder = encoder_of(golden, "subcell")
    images = {len(image.pixels): image for image in zoo.open_images(real_data / "fields")}
    with pytest.raises(errors.ImageError, match=r"the stain '\w[\w-]*' has no place in subcell"):
        encoder.encode([images[4]])
