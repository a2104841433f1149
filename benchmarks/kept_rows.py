"""Rows of timings: read from a run, kept as CSV by machine, compared with rows of before."""

import csv
import io
import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SLOWER = 1.1
"""Ratio of medians above which something has become slower, if the spread does not explain it."""

Row = Mapping[str, object]


def of_run(run: Path, commit: str | None = None) -> list[dict[str, object]]:
    """Read the timings of a pytest-benchmark JSON file, with what the benchmark noted beside."""
    measured_at = commit or current_commit()
    found = []
    for entry in json.loads(run.read_text())["benchmarks"]:
        if "provider" not in entry["extra_info"]:
            continue  # cut off while it was timed
        times = sorted(entry["stats"]["data"])
        spread = {f"p{p}_s": times[round(p / 100 * (len(times) - 1))] for p in (20, 80)}
        timing = {"median_s": entry["stats"]["median"], "rounds": len(times), **spread}
        found.append({**entry["extra_info"], **timing, "commit": measured_at})
    return found


def current_commit() -> str:
    """Return the short hash of the last commit, or nothing outside of git."""
    return _git("rev-parse", "--short", "HEAD")


def path_for(kind: str, machine: object, folder: Path = RESULTS) -> Path:
    """Return the file that keeps rows of one kind and one machine."""
    name = re.sub(r"[^a-z0-9]+", "-", str(machine).lower()).strip("-")
    return folder / f"{kind}-{name}.csv"


def write(path: Path, fields: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows; what is not among the fields is left out, and None is nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _short(v) for k, v in row.items()} for row in rows)


def read(path: Path) -> list[dict[str, str]]:
    """Read the rows of a file."""
    return _parse(path.read_text())


def read_committed(path: Path) -> list[dict[str, str]]:
    """Read the rows of a file for a figure; exits where they are not what the last commit holds."""
    if not is_committed(path):
        raise SystemExit(f"{path} differs from the last commit; commit the rows, then draw")
    return read(path)


def joined(old: Iterable[Row], new: Sequence[Row], key: Sequence[str]) -> list[Row]:
    """Put new rows in the places of those with the same key, and the others at the end."""
    rows = {_key(row, key): row for row in old}
    rows.update((_key(row, key), row) for row in new)
    return list(rows.values())


def of_base(base: str, path: Path) -> list[dict[str, str]]:
    """Read the rows to compare with: a CSV file, or what `path` held at a commit."""
    if Path(base).is_file():
        return read(Path(base))
    held = _git("show", f"{base}:./{path.name}", folder=path.parent)
    if not held:
        raise SystemExit(f"{base!r} is neither a file nor a commit that has {path.name}")
    return _parse(held)


def comparison(rows: Iterable[Row], base: Iterable[Row], key: Sequence[str]) -> list[str]:
    """Write a line for each row that both have: new time over old; the slower ones are marked."""
    before = {_key(row, key): row for row in base}
    lines = []
    for row in rows:
        old = before.get(_key(row, key))
        if old is None:
            continue
        ratio = _number(row, "median_s") / _number(old, "median_s")
        # Slower beyond the spread: even its fast rounds are slower than the slow ones of before.
        apart = _number(row, "p20_s") > _number(old, "p80_s")
        mark = "  SLOWER" if ratio > SLOWER and apart else ""
        lines.append(f"{ratio:6.2f}  {', '.join(_key(row, key))}{mark}")
    return lines


def is_committed(path: Path) -> bool:
    """Say whether a file is what the last commit holds."""
    held = _git("show", f"HEAD:./{path.name}", folder=path.parent)
    return bool(held) and held == path.read_text().strip()


def _key(row: Row, key: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in key)


def _number(row: Row, name: str) -> float:
    return float(str(row[name]))


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _parse(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def _git(*arguments: str, folder: Path = HERE) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
