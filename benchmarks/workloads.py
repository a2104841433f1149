"""What is timed: channel counts of the images of a batch."""

import random
from bisect import bisect_right
from itertools import accumulate

SIDE = 224
PATCHES = (SIDE // 16) ** 2
"""Tokens of one channel; an image has one more, CLS."""

# Per cent of the images by number of channels, for batches of any size.
MIXES: dict[str, dict[int, int]] = {
    "1 channel": {1: 100},
    "3 channels": {3: 100},
    "5 channels": {5: 100},
    "10 channels": {10: 100},
    "uniform 1-10": dict.fromkeys(range(1, 11), 10),
    # A model of IDRCell100k, not a count of it: microscopes record one to three channels in most
    # experiments, and a few record up to ten.
    "long-tailed": {1: 28, 2: 24, 3: 24, 4: 10, 5: 6, 6: 3, 7: 2, 8: 1, 9: 1, 10: 1},
}


def channel_counts(mix: str, images: int) -> tuple[int, ...]:
    """Return the channel counts of a batch: evenly spaced quantiles of a mix, shuffled."""
    channels, shares = zip(*MIXES[mix].items(), strict=True)
    ends = list(accumulate(shares))
    places = [100 * (i + 0.5) / images for i in range(images)]
    counts = [channels[bisect_right(ends, place)] for place in places]
    # Real batches are not sorted, and bucketing has to gather their rows.
    random.Random(0).shuffle(counts)
    return tuple(counts)


def tokens(counts: tuple[int, ...]) -> tuple[int, ...]:
    """Return the tokens of images with these numbers of channels."""
    return tuple(PATCHES * c + 1 for c in counts)
