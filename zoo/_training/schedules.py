"""What changes from step to step: learning rate, teacher momentum, teacher temperature."""

import math


def learning_rate(
    step: int, steps: int, *, peak: float, warmup: float, start: float, end: float = 0.0
) -> float:
    """Linear warm-up, then half a cosine.

    The peak is reached one step before the warm-up ends and held for one step, as the schedule of
    solo-learn does; a warm-up that ends between two steps goes past it by a part of a step.

    Parameters
    ----------
    step
        From 0.
    steps
        At this one, the first after training, the rate is `end`.
    peak, start, end
        Highest, first and last rate.
    warmup
        Steps of the warm-up.
    """
    rise = (peak - start) / max(warmup - 1, 1)
    if step < warmup:
        return start + step * rise

    def height(at: float) -> float:
        return 1 + math.cos(math.pi * (at - warmup) / max(steps - warmup, 1e-9))

    last = math.ceil(warmup) - 1  # of the warm-up
    if warmup == int(warmup):
        return end + (peak - end) * height(step) / 2
    return end + (start + last * rise - end) * height(step) / height(last)


def momentum(update: int, updates: int, base: float) -> float:
    """What the teacher keeps of itself at an update, numbered from 1: from `base` to 1.

    Half a cosine, as in DINO (Caron et al., 2021).
    """
    return 1 - (1 - base) * (math.cos(math.pi * (update - 1) / updates) + 1) / 2


def teacher_temperature(epoch: int, *, first: float, final: float, warmup: int) -> float:
    """Temperature of the teacher in an epoch, from 0: linear over `warmup` epochs, then `final`."""
    if epoch >= warmup:
        return final
    return first if warmup == 1 else first + (final - first) * epoch / (warmup - 1)
