"""Recognise that a run has collapsed, from what it logs."""

from collections import deque
from collections.abc import Mapping

UNIFORM, FLAT, ONE = 0.98, 0.9, 0.05
"""In parts of ln K: loss and entropy of the teacher above which it says nothing of any image, and
entropy of the teacher's mean below which all images have one prototype."""
WATCHED = ("loss_of_uniform", "teacher_entropy", "entropy_of_mean")
WINDOW = 25
REMEDIES = {
    "uniform": (
        "collapsed to the uniform solution: the loss stays at ln K, so that the teacher says "
        "nothing about any image. What helps, in this order: weaker views (less gain and shift, "
        "large_area from 0.5 up), batch_norm in the head, a lower teacher_temperature, fewer "
        "prototypes"
    ),
    "one prototype": (
        "collapsed to one prototype: the teacher gives all images the same one. What helps, in "
        "this order: centring 'sinkhorn', a higher teacher_temperature, a lower learning_rate, "
        "a longer warmup"
    ),
}


class Collapse:
    """Watches a run.

    Parameters
    ----------
    steps
        Of the whole run; nothing is said in its first fifth, nor before a hundredth step, unless
        the run ends before.
    """

    def __init__(self, steps: int) -> None:
        self._quiet = min(max(steps // 5, 100), steps - 1)
        self._seen: deque[tuple[float, ...]] = deque(maxlen=WINDOW)

    def __call__(self, step: int, logged: Mapping[str, float]) -> str | None:
        """Take a step's log; return ``"uniform"``, ``"one prototype"``, or None."""
        self._seen.append(tuple(logged[name] for name in WATCHED))
        if step < self._quiet or len(self._seen) < min(WINDOW, self._quiet):
            return None
        means = (sum(column) / len(self._seen) for column in zip(*self._seen, strict=True))
        loss, of_teacher, of_mean = means
        if of_mean < ONE:
            return "one prototype"
        return "uniform" if loss > UNIFORM and of_teacher > FLAT else None
