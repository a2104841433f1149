"""Turn a run of `bench_encode.py` into rows that are kept and a table of ratios.

``--base FILE_OR_COMMIT`` compares with earlier rows of this machine; ``--add`` keeps the rows of
cases that this run left out. The exit status is 1 if a promise is broken.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import kept_rows
from encode_providers import OURS, PADDED, PROVIDERS
from kept_rows import Row
from roofline import encoder_columns

CASE = ("workload", "images", "dtype")
KEY = (*CASE, "provider")
FIELDS = (
    *("workload", "provider", "images", "channels", "dtype", "p20_s", "median_s", "p80_s"),
    *("rounds", "peak_mib", "percent_products", "percent_floor", "relative_error", "operations"),
    *("exponentials", "bytes", "product_rate", "device", "unit", "sms", "sm_clock_mhz", "driver"),
    *("torch", "triton", "threads", "commit"),
)
# On a processor, for the largest batch: times as fast as `PADDED`, and, by the unit, the share of
# the rate of the machine's own matrix product, at least.
TIMES = {"3 channels": 6.0, "10 channels": 1.0, "uniform 1-10": 2.5}
SHARES = {"1 channel": 75.0, "3 channels": 75.0, "5 channels": 60.0, "10 channels": 60.0}
# On some processors products gain more from this unit than attention does.
SHARES_OF = {
    "AVX512": {"1 channel": 65.0, "3 channels": 65.0, "5 channels": 55.0, "10 channels": 55.0}
}


def groups(rows: Sequence[Row]) -> dict[tuple[str, ...], dict[str, Row]]:
    """Return the rows of each case by provider, in the order of the run."""
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        case = tuple(str(row[name]) for name in CASE)
        found.setdefault(case, {})[str(row["provider"])] = row
    return found


def largest(rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """Return the rows of the largest batch of each workload, by provider.

    Where several arithmetics have it, half precision comes first.
    """
    found: dict[str, tuple[tuple[int, bool], dict[str, Row]]] = {}
    for (workload, images, dtype), by_provider in groups(rows).items():
        rank = (int(images), dtype != "float32")
        if OURS in by_provider and rank > found.get(workload, ((0, False), {}))[0]:
            found[workload] = (rank, by_provider)
    return {workload: by_provider for workload, (_, by_provider) in found.items()}


def table(rows: Sequence[Row]) -> str:
    """Write Markdown: images a second, share of the limit, memory, times as fast as each rival."""
    rivals = [p for p in PROVIDERS if p != OURS and any(r["provider"] == p for r in rows)]
    limit = "floor" if any(_number(r, "percent_floor") for r in rows) else "products"
    head = ["images", "arithmetic", f"{OURS}, images/s", f"% of {limit}", "MiB"]
    lines = [" | ".join(["", *head, *(f"× {r}" for r in rivals), ""]).strip()]
    lines.append("|---|---|" + "---:|" * (3 + len(rivals)))
    for (workload, images, dtype), by_provider in groups(rows).items():
        if OURS not in by_provider:
            continue
        own = by_provider[OURS]
        seconds = _number(own, "median_s") or 0.0
        cells = [f"{workload} × {images}", dtype, f"{int(images) / seconds:.3g}"]
        share, peak = _number(own, f"percent_{limit}"), _number(own, "peak_mib")
        cells += ["–" if share is None else f"{share:.0f}", "–" if peak is None else f"{peak:.0f}"]
        for rival in rivals:
            other = _number(by_provider.get(rival, {}), "median_s")
            cells.append("–" if other is None else f"{other / seconds:.3g}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def broken(rows: Sequence[Row]) -> list[str]:
    """Return the promises that rows of a processor break."""
    found = []
    for workload, by_provider in largest(rows).items():
        own = by_provider[OURS]
        if own.get("sms"):
            continue
        share = _number(own, "percent_products")
        wanted = SHARES_OF.get(str(own.get("unit")), SHARES).get(workload)
        if share is not None and wanted is not None and share < wanted:
            found.append(f"{workload}: {share:.0f} % of the matrix product, {wanted:.0f} promised")
        padded, times = by_provider.get(PADDED), TIMES.get(workload)
        if padded is not None and times is not None:
            ratio = (_number(padded, "median_s") or 0.0) / (_number(own, "median_s") or 1.0)
            if ratio < times:
                found.append(f"{workload}: {ratio:.1f} × {PADDED}, {times:g} promised")
    return found


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    return None if value in (None, "") else float(str(value))


def main() -> None:
    """Keep the rows, print the table, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="JSON of pytest-benchmark")
    parser.add_argument("--base", help="compare with this CSV file, or with the rows of a commit")
    parser.add_argument("--add", action="store_true", help="keep rows that this run left out")
    parser.add_argument("--results", type=Path, default=kept_rows.RESULTS, help="folder of rows")
    arguments = parser.parse_args()
    measured = kept_rows.of_run(arguments.run)
    if not measured:
        raise SystemExit(f"{arguments.run} holds no times")
    measured = [row | encoder_columns(row) for row in measured]
    target = kept_rows.path_for("encode", measured[0]["device"], arguments.results)
    # Read before it is written: the base may be the file itself.
    base = kept_rows.of_base(arguments.base, target) if arguments.base else []
    kept: Sequence[Row] = measured
    if arguments.add and target.exists():
        kept = kept_rows.joined(kept_rows.read(target), measured, KEY)
    kept_rows.write(target, FIELDS, kept)
    if base:
        print(f"new time / time of {arguments.base}")
        print("\n".join(kept_rows.comparison(measured, base, KEY)), end="\n\n")
    print(table(measured))
    print(f"\n{target} is written: {measured[0]['device']}.")
    if failures := broken(measured):
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
