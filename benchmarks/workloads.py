"""What is timed: channel counts of the images of a batch."""

WORKLOADS: dict[str, tuple[int, ...]] = {
    "1 channel": (1,) * 4,
    "3 channels": (3,) * 4,
    "5 channels": (5,) * 2,
    "10 channels": (10,) * 2,
    "uniform 1-10": tuple(range(1, 11)),
}
SIDE = 224
