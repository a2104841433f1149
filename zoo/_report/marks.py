"""What the figures of the report consist of, placed in percent so that they fit any screen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, floor, inf, isfinite, log10, sqrt
from typing import Literal

# The encoder under test, the control that it is read beside, the other controls, an encoder that
# is given the truth, and what a number is read beside. Each has a colour and a shape.
Kind = Literal["own", "rival", "control", "oracle", "reference"]
# Place in percent, kind and words of a line through all others.
Rule = tuple[float, str, str]
# Ticks beside 0 and 1 of an axis of square roots, by its end.
_ROOTS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (1, (0.1, 0.5)),
    (4, (0.1, 0.5, 2)),
    (20, (0.3, 4, 10)),
    (100, (5, 20, 50)),
    (inf, (50, 200, 500)),
)
_STEPS = 3  # between ticks, at most


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`; `root` draws square roots, which spreads what is near 0."""

    low: float
    high: float
    root: bool = False
    steps: int = _STEPS

    def place(self, value: float) -> float:
        """Percent from the left; values beyond lie at the end."""
        low, high, at = (sqrt(max(v, 0)) if self.root else v for v in (self.low, self.high, value))
        return round(100 * min(max((at - low) / (high - low), 0.0), 1.0), 2)

    def beyond(self, value: float) -> str:
        """Side on which a value lies outside, if any."""
        slack = 1e-9 * (self.high - self.low)
        if value < self.low - slack:
            return "left"
        return "right" if value > self.high + slack else ""

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Places and labels."""
        if self.root:
            between = next(marks for end, marks in _ROOTS if self.high <= end)
            values = [v for v in (0, 1, *between) if v <= self.high]
        else:
            step = _step((self.high - self.low) / self.steps)
            first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
            values = [k * step for k in range(first, last + 1)]
        return tuple((self.place(v), f"{v:.6g}".replace("-", "−")) for v in values)


def axis(values: Iterable[float], *, root: bool = False) -> Axis:
    """Cover values and 0 by round numbers; R² far below −1 would leave no room for the rest."""
    known = [v for v in values if isfinite(v)] or [0.0]
    high = max([*known, 0.0])
    low = max(min([*known, 0.0]), -max(1.0, high))
    if low == high:
        high = 1.0
    if 0.5 < high < 1:
        high = 1.0
    if root:
        return Axis(0.0, max(high, 1.0), root=True)
    fine = _step((high - low) / _STEPS) / 5
    return Axis(floor(low / fine + 1e-9) * fine, ceil(high / fine - 1e-9) * fine)


def symmetric(values: Iterable[float]) -> Axis:
    """Cover differences of scores, 0 in the middle; those beyond 1 would leave no room."""
    reach = min(max([0.1, *(abs(v) for v in values if isfinite(v))]), 1.0)
    fine = _step(2 * reach / _STEPS) / 5
    reach = ceil(reach / fine - 1e-9) * fine
    return Axis(-reach, reach, steps=4)


def _step(rough: float) -> float:
    """Distance of ticks, no smaller than asked: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(rough))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9)))


@dataclass(frozen=True)
class Mark:
    """One number on a line, and its interval."""

    kind: Kind
    at: float
    low: float | None
    high: float | None
    beyond: str
    title: str


@dataclass(frozen=True)
class Line:
    """A named line with marks, a stretch that joins two of them, and its numbers in words."""

    name: str
    marks: tuple[Mark, ...]
    cells: tuple[tuple[str, str], ...]
    own: bool = False
    stretch: tuple[float, float] | None = None
    detail: str = ""
    outcome: str = ""


@dataclass(frozen=True)
class Panel:
    """Lines above one axis; `rules` are upright lines through all of them."""

    title: str
    axis: Axis
    lines: tuple[Line, ...]
    headings: tuple[str, ...]
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Series:
    """A curve: points in percent from the left and from the top, and its band."""

    kind: Kind
    name: str
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Curves:
    """Curves of several contenders; `places` are the ticks below, and `axis` is upright."""

    title: str
    axis: Axis
    places: tuple[tuple[float, str], ...]
    unit: str
    series: tuple[Series, ...]
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Figure:
    """Panels or curves, and the words for their marks."""

    panels: tuple[Panel, ...] = ()
    curves: tuple[Curves, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()


def number(value: float) -> str:
    """Two decimals, fewer for large numbers; a dash for no number."""
    if not isfinite(value):
        return "–"
    if abs(value) < 0.005:
        return "0.00"
    decimals = 2 - (abs(value) >= 10) - (abs(value) >= 100)
    return f"{value:.{decimals}f}".replace("-", "−")


def signed(value: float) -> str:
    """Return a difference with its sign."""
    text = number(value)
    return text if text[0] in "−–" or text == "0.00" else f"+{text}"


def interval(low: float, high: float, show: Callable[[float], str] = number) -> str:
    """Return an interval in brackets, or nothing where there is none."""
    return f"[{show(low)}, {show(high)}]" if isfinite(low) and isfinite(high) else ""


def mark(kind: Kind, name: str, value: float, low: float, high: float, on: Axis) -> Mark:
    left, right = None, None
    if isfinite(low) and isfinite(high):
        left, right = on.place(low), on.place(high)
    title = f"{name} {number(value)} {interval(low, high)}".strip()
    return Mark(kind, on.place(value), left, right, on.beyond(value), title)
