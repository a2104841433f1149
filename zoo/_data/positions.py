"""Columns of plate, well and site, from tables of others and from names of files."""

import re

import pandas as pd

from .plates.names import canonical_number, canonical_well
from .tables import as_text

_POSITION = re.compile(
    r"(?:.*[_/-])?(?P<well>[A-P]\d{2})(?:[_-](?:s|site|f|field)_?(?P<site>\d+))?(?:\.\w+){0,2}"
)
POSITIONS = ("Metadata_Plate", "Metadata_Well", "Metadata_Site")


def with_canonical_positions(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns of plate, well and site have their usual names and spelling.

    Names in another case of letters are renamed, wells become ``A01``, sites lose leading zeros.
    """
    names = {str(c).casefold(): c for c in table.columns}
    for canonical in POSITIONS:
        found = names.get(canonical.casefold())
        if canonical not in table.columns and found is not None:
            table = table.rename(columns={found: canonical})
    changed = {}
    for canonical in POSITIONS:
        if canonical in table.columns:
            values = as_text(table[canonical])
            spelt = {v: _spelt(canonical, v) for v in values.dropna().unique()}
            changed[canonical] = values.map(spelt, na_action="ignore")
    return table.assign(**changed)


def _spelt(column: str, value: str) -> str:
    if column == "Metadata_Well":
        return canonical_well(value) or value
    return canonical_number(value) if column == "Metadata_Site" else value


def positions_of_names(names: list[str]) -> dict[str, list[str]]:
    """Return columns of wells and sites, if every name ends with them, such as ``A01_s1.tif``."""
    found = [_POSITION.fullmatch(name) for name in names]
    columns: dict[str, list[str]] = {}
    for column, part in (("Metadata_Well", "well"), ("Metadata_Site", "site")):
        values = [match[part] for match in found if match and match[part]]
        if len(values) == len(names):
            columns[column] = [canonical_number(value) for value in values]
    return columns
