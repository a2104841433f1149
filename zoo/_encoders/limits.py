"""What an encoder cannot take: too few, too many or unequal channels, and images too large."""

from collections.abc import Sequence

import torch

from zoo.registry import EncoderSpec, ImageError


def check_count(spec: EncoderSpec, count: int, item: str, *, given: bool, indexed: bool) -> None:
    """Refuse an image with another number of channels than the record allows.

    Parameters
    ----------
    count, item
        Channels of the image, and what messages call it.
    given
        Whether the user has said which row of the channel embedding each channel takes.
    indexed
        Whether the encoder has such an embedding.
    """
    low, high = spec.channels
    if count < low or (high is not None and count > high and not given):
        accepted = f"{low} to {high}" if high is not None else f"{low} or more"
        if low == high:
            accepted = str(low)
        fix = "choose channels, image[[0, 1, …]]"
        if indexed:
            fix += f", or give each an index from 0 to {(high or 0) - 1} with channel_index="
        noun = "channel" if count == 1 else "channels"
        raise ImageError(f"{item} has {count} {noun}, but {spec.name} takes {accepted}: {fix}")


def check_equal(name: str, counts: Sequence[int]) -> None:
    """Refuse images of different numbers of channels."""
    for i, count in enumerate(counts):
        if count != counts[0]:
            raise ImageError(
                f"image {i} has {count} channel(s), image 0 has {counts[0]}: {name} concatenates "
                "channels and needs the same number in each image; use the encoder that averages "
                "them"
            )


def too_large(
    name: str, device: torch.device, shape: tuple[int, int, int], tokens: int | None
) -> str:
    """Say that an image `(C, H, W)` alone is too large for the memory."""
    channels, height, width = shape
    size = f"{channels} channels of {height} × {width} pixels"
    return (
        f"an image of {size}{'' if tokens is None else f', {tokens} tokens,'} is too large for the "
        f"memory of {device} with {name}: crop it, choose channels, or load the encoder for "
        "another device"
    )


def check_dtype(name: str, had: torch.dtype, wanted: torch.dtype) -> None:
    """Refuse another dtype for parameters that have been rounded to a half precision."""
    if had.itemsize < 4 and wanted != had:
        before, after = (str(d).removeprefix("torch.") for d in (had, wanted))
        raise ValueError(
            f"the parameters of {name} were rounded to {before} and cannot become {after} again: "
            f"load it with dtype={after!r}"
        )
