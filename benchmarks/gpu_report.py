"""What a run of `on_gpu.sh` measured, in two tables; `--keep` puts the rows among the results."""

import argparse
from pathlib import Path

import attention_table
import encode_table
import kept_rows
import tune_ragged_attention
from gpu_stage import OUT

KEPT = {
    "attention": (attention_table.FIELDS, attention_table.KEY),
    "encode": (encode_table.FIELDS, encode_table.KEY),
    "tiles": (tune_ragged_attention.FIELDS, tune_ragged_attention.FIELDS[:8]),
}


def main() -> None:
    """Print the tables, and keep the rows if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=OUT, help="where the rows are")
    parser.add_argument("--keep", action="store_true", help="join them to those that are kept")
    parser.add_argument("--results", type=Path, default=kept_rows.RESULTS, help="folder of rows")
    given = parser.parse_args()
    for kind, (fields, key) in KEPT.items():
        path = given.folder / f"{kind}.csv"
        if not path.exists():
            continue
        rows = [{k: v or None for k, v in row.items()} for row in kept_rows.read(path)]
        print(f"\n{kind}: {len(rows)} rows")
        if kind == "attention":
            for case, by_provider in attention_table.groups(rows).items():
                print(f"{' '.join(map(str, case)):<58}{attention_table.verdict(by_provider)}")
        elif kind == "encode":
            print(encode_table.table(rows))
        if given.keep and rows:
            target = kept_rows.path_for(kind, rows[0]["device"], given.results)
            old = kept_rows.read(target) if target.exists() else []
            kept_rows.write(target, fields, kept_rows.joined(old, rows, key))
            print(f"{target} is written")


if __name__ == "__main__":
    main()
