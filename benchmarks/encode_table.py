"""Turn a run of `bench_encode.py` into rows that are kept and a table of ratios.

``--base FILE_OR_COMMIT`` compares with earlier rows of this machine.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import kept_rows
from kept_rows import Row

KEY = ("workload", "provider")
FIELDS = (
    *("workload", "provider", "images", "channels", "median_s", "p20_s", "p80_s", "rounds"),
    *("device", "processor", "threads", "torch", "commit"),
)


def table(found: Sequence[Row]) -> str:
    """Write Markdown: images a second of ours, and how many times as fast as each rival."""
    times = {(r["workload"], r["provider"]): float(str(r["median_s"])) for r in found}
    images = {r["workload"]: int(str(r["images"])) for r in found}
    providers = list(dict.fromkeys(r["provider"] for r in found))
    ours, rivals = providers[0], providers[1:]
    lines = ["| images | " + f"{ours}, images/s | " + " | ".join(f"× {r}" for r in rivals) + " |"]
    lines.append("|---|" + "---:|" * (1 + len(rivals)))
    for workload, count in images.items():
        own = times[workload, ours]
        ratios = " | ".join(f"{times[workload, r] / own:.1f}" for r in rivals)
        lines.append(f"| {workload} | {count / own:.1f} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    """Keep the rows, print the table, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="JSON of pytest-benchmark")
    parser.add_argument("--base", help="compare with this CSV file, or with the rows of a commit")
    parser.add_argument("--results", type=Path, default=kept_rows.RESULTS, help="folder of rows")
    arguments = parser.parse_args()
    measured = kept_rows.of_run(arguments.run)
    target = kept_rows.path_for("encode", measured[0]["processor"], arguments.results)
    # Read before it is written: the base may be the file itself.
    base = kept_rows.of_base(arguments.base, target) if arguments.base else []
    kept_rows.write(target, FIELDS, measured)
    if base:
        print(f"new time / time of {arguments.base}")
        print("\n".join(kept_rows.comparison(measured, base, KEY)), end="\n\n")
    print(table(measured))
    print(f"\n{target} is written: {measured[0]['processor']}.")


if __name__ == "__main__":
    main()
