"""Turn a run of `bench_ragged_attention.py` into rows that are kept, and say who is faster.

``--base FILE_OR_COMMIT`` compares with earlier rows of this machine; ``--add`` keeps the rows of
cases that this run left out. The exit status is 1 if a promise is broken.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import kept_rows
from attention_providers import BUCKETED, PADDED, TRITON
from kept_rows import Row
from roofline import columns

CASE = ("workload", "images", "heads", "head_size", "dtype", "pass")
KEY = (*CASE, "provider")
FIELDS = (
    *("workload", "provider", "pass", "images", "tokens", "heads", "head_size", "dtype"),
    *("p20_s", "median_s", "p80_s", "rounds", "scores_per_s", "tflops", "percent_ex2"),
    *("percent_bandwidth", "relative_error", "mask_s", "plan_s", "graph_s", "device"),
    *("sm_clock_mhz", "driver", "torch", "triton", "threads", "commit"),
)
# On a processor, forward and with heads of 16: how many times as fast as `PADDED`, at least.
PROMISES = {"3 channels": 6.0, "10 channels": 1.0}


def groups(rows: Sequence[Row]) -> dict[tuple[object, ...], dict[str, Row]]:
    """Return the rows of each case by provider, in the order of the run."""
    found: dict[tuple[object, ...], dict[str, Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in CASE), {})[str(row["provider"])] = row
    return found


def seconds(row: Row, name: str = "median_s") -> float:
    """Return a time of a row."""
    return float(str(row[name]))


def verdict(by_provider: dict[str, Row]) -> str:
    """Say how ours and the fastest of the others compare."""
    ours = TRITON if TRITON in by_provider else BUCKETED
    if ours not in by_provider:
        return "ours has no time"
    own = by_provider[ours]
    time = f"{ours} {1e3 * seconds(own):.3g} ms"
    if own.get("percent_ex2") is not None:
        time += f" ({float(str(own['percent_ex2'])):.0f} % of the exponentials)"
    if own.get("graph_s") is not None:
        time += f" [{1e3 * seconds(own, 'graph_s'):.3g} ms in a CUDA graph]"
    others = [row for name, row in by_provider.items() if name != ours]
    if not others:
        return f"{time}, alone"
    peer = min(others, key=seconds)
    name = peer["provider"]
    slower, faster = (own, peer) if seconds(own) > seconds(peer) else (peer, own)
    if seconds(slower, "p20_s") <= seconds(faster, "p80_s"):
        return f"{time}, level with {name}"
    ratio = seconds(peer) / seconds(own)
    if ratio > 1:
        return f"{time}, {ratio:.2f} × as fast as {name}"
    return f"{time}; {name} is {1 / ratio:.2f} × as fast"


def promises(rows: Sequence[Row]) -> list[tuple[str, bool]]:
    """Check what is promised of bucketed attention on a processor, where it was timed."""
    found = []
    for case, by_provider in groups(rows).items():
        workload, size, direction = str(case[0]), int(str(case[3])), case[5]
        wanted = PROMISES.get(workload)
        if wanted is None or size != 16 or direction != "forward":
            continue
        if not {BUCKETED, PADDED} <= set(by_provider) or by_provider[BUCKETED].get("sms"):
            continue
        ratio = seconds(by_provider[PADDED]) / seconds(by_provider[BUCKETED])
        # "At least as fast" is not broken by what the spread explains.
        fast, slow = by_provider[BUCKETED], by_provider[PADDED]
        kept = ratio >= wanted or wanted * seconds(fast, "p20_s") <= seconds(slow, "p80_s")
        said = f"{workload}: {ratio:.2f} × as fast as {PADDED}, {wanted:g} × is promised"
        found.append((said, kept))
    return found


def main() -> None:
    """Keep the rows, compare them, and print who is faster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="JSON of pytest-benchmark")
    parser.add_argument("--base", help="compare with this CSV file, or with the rows of a commit")
    parser.add_argument("--add", action="store_true", help="keep rows that this run left out")
    parser.add_argument("--commit", help="what was measured, where git cannot tell")
    parser.add_argument("--results", type=Path, default=kept_rows.RESULTS, help="folder of rows")
    arguments = parser.parse_args()
    measured = kept_rows.of_run(arguments.run, arguments.commit)
    measured = [{**row, **columns(row)} for row in measured]
    target = kept_rows.path_for("attention", measured[0]["device"], arguments.results)
    # Read before it is written: the base may be the file itself.
    base = kept_rows.of_base(arguments.base, target) if arguments.base else []
    old = kept_rows.read(target) if arguments.add and target.is_file() else []
    kept_rows.write(target, FIELDS, kept_rows.joined(old, measured, KEY))
    print(f"{target} is written: {measured[0]['device']}.")
    if base:
        print(f"\nnew time / time of {arguments.base}")
        print("\n".join(kept_rows.comparison(measured, base, KEY)))
    print()
    for case, by_provider in groups(measured).items():
        workload, images, heads, size, dtype, direction = case
        name = f"{workload} × {images}, {heads}×{size} {dtype} {direction}"
        print(f"{name:<54}{verdict(by_provider)}")
    checked = promises(measured)
    for said, kept in checked:
        print(f"{'kept' if kept else 'BROKEN'}: {said}")
    if not all(kept for _, kept in checked):
        sys.exit(1)


if __name__ == "__main__":
    main()
