"""Turn a run of `bench_encode.py` into rows that are kept and a table of ratios."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FIELDS = (
    *("workload", "provider", "images", "channels", "median_s", "p20_s", "p80_s", "rounds"),
    *("device", "processor", "threads", "torch", "commit"),
)


def rows(run: Path) -> list[dict[str, object]]:
    """Read the timings of a pytest-benchmark JSON file."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE
    ).stdout.strip()
    found = []
    for entry in json.loads(run.read_text())["benchmarks"]:
        times = sorted(entry["stats"]["data"])
        spread = {f"p{p}_s": times[round(p / 100 * (len(times) - 1))] for p in (20, 80)}
        timing = {"median_s": entry["stats"]["median"], "rounds": len(times), **spread}
        found.append({**entry["extra_info"], **timing, "commit": commit})
    return found


def table(found: list[dict[str, object]]) -> str:
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


if __name__ == "__main__":
    measured = rows(Path(sys.argv[1]))
    machine = re.sub(r"[^a-z0-9]+", "-", str(measured[0]["processor"]).lower()).strip("-")
    target = HERE / "results" / f"encode-{machine}.csv"
    target.parent.mkdir(exist_ok=True)
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(measured)
    print(table(measured))
    print(f"\n{target.relative_to(HERE.parent)} is written: {measured[0]['processor']}.")
