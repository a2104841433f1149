"""Metadata and arrays for a page's script: short, and as exact as the table."""

import base64
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .colours import PALETTE

# Colours of a legend; rarer values of a column are grey.
MOST_COLOURS = 40
# Numbers with as few different values are categories.
_FEW = 8
# From so many numbers on a few may lie beyond the ends of the colours.
_MANY = 200
_TEXTS = 2**16
# Columns that say where an item comes from.
_ORIGIN = {"plate", "well", "site", "image", "mask", "channel_count", "stains", "batch", "split"}


def packed(values: NDArray[Any], kind: str) -> str:
    """Return numbers as base64 of their bytes, little-endian."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()).decode()


def column(name: str, values: pd.Series) -> dict[str, Any]:
    """Describe a column: a ``category`` by codes, a ``number``, or a ``text`` of each row.

    Of a category `names` come in order, `looks` are places in the list of colours, -1 for the rarer
    values, and a missing value has the code after the last name.
    """
    known = values.dropna()
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    different = known.nunique()
    if numeric and different > _FEW:
        numbers = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
        finite = numbers[np.isfinite(numbers)]
        if len(finite):
            packed_values = packed(numbers, "f8")
            return {"name": name, "kind": "number", "values": packed_values, **_ends(finite)}
    text = known.map(_text)
    counts = text.value_counts()
    if len(counts) > max(MOST_COLOURS, min(len(values) // 2, _TEXTS)):
        return {
            "name": name,
            "kind": "text",
            "values": text.reindex(values.index, fill_value="").tolist(),
        }
    names = sorted(counts.index, key=(lambda v: float(v)) if numeric else str)
    common = set(counts.index[:MOST_COLOURS])
    looks, taken = [], 0
    for one in names:
        looks.append(taken if one in common else -1)
        taken += one in common
    codes = text.map({one: k for k, one in enumerate(names)}).reindex(values.index)
    size = 1 if len(names) < 2**8 else 2 if len(names) < 2**16 else 4
    whole = codes.fillna(len(names)).to_numpy(dtype=np.int64)
    found = {"name": name, "kind": "category", "names": names, "looks": looks, "bytes": size}
    return {**found, "codes": packed(whole, f"u{size}")}


def _ends(finite: NDArray[np.float64]) -> dict[str, Any]:
    """Return the ends of a colour scale, without a hundredth of many numbers at either side."""
    least, most = float(finite.min()), float(finite.max())
    low, high = (float(v) for v in np.percentile(finite, (1, 99)))
    if len(finite) < _MANY or low == high:
        low, high = least, most
    return {"low": low, "high": high, "below": least < low, "above": most > high}


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def colour_by(columns: list[dict[str, Any]], wanted: str | None) -> int:
    """Return the place of the column to colour by first; -1 if none is suitable.

    It is the wanted one, else the first with several values that all have a colour, those that say
    where an item comes from last; else the first of numbers.
    """
    if wanted is not None:
        named = [one["name"] for one in columns]
        return named.index(wanted) if columns[named.index(wanted)]["kind"] != "text" else -1
    fit = [
        place
        for place, one in enumerate(columns)
        if one["kind"] == "category" and 1 < len(one["names"]) <= MOST_COLOURS
    ]
    biology = [place for place in fit if columns[place]["name"].casefold() not in _ORIGIN]
    numbers = [place for place, one in enumerate(columns) if one["kind"] == "number"]
    return next(iter([*biology, *fit, *numbers]), -1)


def many_colours(most: int = MOST_COLOURS) -> list[str]:
    """Return colours in order: those of figures, then hues in turn with two kinds of brightness."""
    import colorsys

    found = list(PALETTE)
    for k in range(most - len(found)):
        hue = (0.08 + 0.61803399 * k) % 1
        red, green, blue = colorsys.hls_to_rgb(hue, (0.38, 0.62)[k % 2], 0.62)
        found.append("#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue)))
    return found
