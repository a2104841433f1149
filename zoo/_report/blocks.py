"""How the findings of a diagnostic are parted, for figures and tables alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from .._evaluation.findings import Finding


@dataclass(frozen=True)
class Block:
    """Findings whose quantities were measured under the same conditions."""

    quantities: tuple[str, ...]
    conditions: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def by_condition(self) -> bool:
        """Whether quantities, not conditions, are read beside each other."""
        few = len(self.conditions) == 2 and len(self.quantities) > 3
        return len(self.conditions) == 1 or few


def blocks(found: Sequence[Finding]) -> list[Block]:
    """Part findings so that each part has a number for every quantity under every condition."""
    conditions = {
        q: tuple(unique(f.condition for f in found if f.quantity == q))
        for q in unique(f.quantity for f in found)
    }
    parts: dict[tuple[str, ...], list[str]] = {}
    for quantity, asked in conditions.items():
        parts.setdefault(asked, []).append(quantity)
    return [
        Block(tuple(qs), asked, tuple(f for f in found if f.quantity in qs))
        for asked, qs in parts.items()
    ]


def common_reference(found: Iterable[Finding]) -> tuple[str, float] | None:
    """What numbers are read beside, where that is the same for all of them."""
    known = list(found)
    pairs = {(f.reference_name, round(f.reference, 9)) for f in known if isfinite(f.reference)}
    if len(pairs) != 1 or not all(isfinite(f.reference) for f in known):
        return None
    label, value = pairs.pop()
    return (label, value) if label else None


def unique(values: Iterable[str]) -> list[str]:
    """Each value once, in the order of first appearance."""
    return list(dict.fromkeys(values))
