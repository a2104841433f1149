"""Treatments of the wells of JUMP-CP, from the tables of its metadata repository."""

from pathlib import Path

import pandas as pd

from zoo import plugin

from .jump_cp_features import WELL

TABLES = "https://github.com/jump-cellpainting/datasets, folder metadata"
DMSO = "JCP2022_033924"
# The eight compounds that serve as positive controls on every plate of compounds.
POSITIVE = {
    "JCP2022_085227": "aloxistatin",
    "JCP2022_037716": "AMG900",
    "JCP2022_025848": "dexamethasone",
    "JCP2022_046054": "FK-866",
    "JCP2022_035095": "LY2109761",
    "JCP2022_064022": "NVS-PAK1-1",
    "JCP2022_050797": "quinidine",
    "JCP2022_012818": "TC-S-7004",
}
_NOTHING = {"JCP2022_999999": "untreated", "JCP2022_UNKNOWN": "unknown"}
_NO_TARGET = ("no-guide", "non-targeting")
_ADDRESS = r"^([A-Z]{1,2})(\d{1,2})$"


def describe(table: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Describe the treatment and the position of each well."""
    notes = []
    if "Metadata_JCP2022" not in table.columns:
        wells = _table(folder, "well", [*WELL, "Metadata_JCP2022"])
        if wells is None:
            raise plugin.DataError(
                f"{folder} lacks well.csv, and the profiles do not say what was done to their "
                f"wells (Metadata_JCP2022): put it there, from {TABLES}"
            )
        wells = wells.drop_duplicates(WELL)[[*WELL, "Metadata_JCP2022"]]
        table = table.merge(wells, on=WELL, how="left")
    plates = _table(
        folder,
        "plate",
        ["Metadata_Source", "Metadata_Batch", "Metadata_Plate", "Metadata_PlateType"],
    )
    if plates is None:
        raise plugin.DataError(f"{folder} lacks plate.csv: put it there, from {TABLES}")
    keys = ["Metadata_Source", "Metadata_Plate"]
    plates = plates.drop_duplicates(keys)[[*keys, "Metadata_Batch", "Metadata_PlateType"]]
    table = table.merge(plates, on=keys, how="left")
    unknown = table["Metadata_Batch"].isna()
    if unknown.any():
        raise plugin.DataError(
            f"plate.csv does not know the plate {table['Metadata_Plate'][unknown].iloc[0]} of "
            f"{table['Metadata_Source'][unknown].iloc[0]}"
        )
    jcp = table["Metadata_JCP2022"]
    if (missing := int(jcp.isna().sum())) > 0:
        notes.append(f"{missing} well(s) have no JCP2022 number and take no part in tasks.")

    kind, label, control = _perturbations(jcp, folder, notes)
    parts = table["Metadata_Well"].str.extract(_ADDRESS)
    if parts.isna().any(axis=None):
        wrong = table["Metadata_Well"][parts[0].isna()].iloc[0]
        raise plugin.DataError(
            f"the profiles have the well {wrong!r}, which is not a row and a column"
        )
    source, plate = table["Metadata_Source"], table["Metadata_Plate"]
    described = pd.DataFrame(
        {
            "well_id": source + "/" + plate + "/" + table["Metadata_Well"],
            "source": source,
            "batch": source + "/" + table["Metadata_Batch"],
            "plate": source + "/" + plate,
            "plate_type": table["Metadata_PlateType"],
            "well": table["Metadata_Well"],
            "row": parts[0].map(_row_number).astype(int),
            "column": parts[1].astype(int),
            "jcp2022": jcp,
            "type": kind,
            "gene_or_compound": label,
            "control": control,
        }
    )
    return described, notes


def _row_number(letters: str) -> int:
    return sum(26**i * (ord(c) - 64) for i, c in enumerate(reversed(letters)))


def _perturbations(
    jcp: pd.Series, folder: Path, notes: list[str]
) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Type, gene or compound, and kind of control by JCP2022 number."""
    kind = pd.Series("unknown", index=jcp.index)
    label = jcp.copy()
    control = pd.Series("sample", index=jcp.index)
    for name, column in (
        ("compound", "Metadata_InChIKey"),
        ("orf", "Metadata_Symbol"),
        ("crispr", "Metadata_Symbol"),
    ):
        table = _table(folder, name, ["Metadata_JCP2022", column])
        if table is None:
            continue
        table = table.drop_duplicates("Metadata_JCP2022").set_index("Metadata_JCP2022")
        mine = jcp.isin(table.index)
        kind[mine] = name
        if name == "compound":
            continue
        symbol = jcp.map(table[column])
        label = label.where(~mine | symbol.isna(), symbol)
        control = control.mask(mine & symbol.isin(_NO_TARGET), "negative")
        if "Metadata_pert_type" in table.columns:
            role = jcp.map(table["Metadata_pert_type"])
            control = control.mask(mine & (role == "negcon"), "negative")
            control = control.mask(mine & (role == "poscon"), "other control")
    control = control.mask(jcp == DMSO, "negative").mask(jcp.isin(list(POSITIVE)), "positive")
    for number, state in _NOTHING.items():
        control = control.mask(jcp == number, state)
    control = control.mask(jcp.isna(), "unknown")
    label = label.mask(control.isin(["untreated", "unknown"]))
    known = {DMSO: "DMSO", **POSITIVE}
    label = label.mask(jcp.isin(list(known)), jcp.map(known))
    kind = kind.mask(jcp.isin(list(known)), "compound")
    if (unknown := int(((kind == "unknown") & (control == "sample")).sum())) > 0:
        notes.append(
            f"{unknown} well(s) have a JCP2022 number that is in none of compound.csv, orf.csv "
            "and crispr.csv here: it serves as name, and controls among them are not recognised."
        )
    return kind, label, control


def _table(folder: Path, name: str, columns: list[str]) -> pd.DataFrame | None:
    found = [*sorted(folder.rglob(f"{name}.csv")), *sorted(folder.rglob(f"{name}.csv.gz"))]
    if not found:
        return None
    try:
        table = pd.read_csv(found[0], dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, EOFError, ValueError) as error:
        raise plugin.DataError(f"{found[0]} is not a readable table ({error})") from error
    lacking = [c for c in columns if c not in table.columns]
    if lacking:
        raise plugin.DataError(f"{found[0]} lacks the column(s) {', '.join(lacking)}")
    return table
