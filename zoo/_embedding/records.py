"""Compare records of what a run depends on."""

from collections.abc import Mapping
from typing import Any


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each value that differs, nested ones by dotted names."""
    old, new = _flat(before), _flat(now)
    return [
        f"{name} was {old.get(name)} and is {new.get(name)}"
        for name in {**new, **old}
        if old.get(name) != new.get(name)
    ]


def _flat(record: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """One entry for each value, nested ones by dotted names."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        inner = isinstance(value, dict)
        found |= _flat(value, f"{before}{name}.") if inner else {before + name: value}
    return found
