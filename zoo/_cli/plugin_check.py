"""Import and build what plugins offer, each plugin in a process of its own with a time limit."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from zoo.registry.discovery import GROUP, SELECT_VARIABLE, STRICT_VARIABLE

_CODE = "from zoo._cli.plugin_check import inspect; inspect()"


@dataclass(frozen=True)
class Checked:
    """One plugin after its check: `problems` are empty if all is well."""

    name: str
    distribution: str
    seconds: float
    built: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_plugins(limit: float) -> Iterator[Checked]:
    """Check all installed plugins; none of them is imported into this process.

    Parameters
    ----------
    limit
        Seconds that a plugin may take.
    """
    entries = sorted(metadata.entry_points(group=GROUP), key=lambda e: e.name)
    selected = os.environ.get(SELECT_VARIABLE)
    for entry in entries:
        if selected is None or entry.name in {s.strip() for s in selected.split(",")}:
            yield _check(entry, limit)


def _check(entry: metadata.EntryPoint, limit: float) -> Checked:
    origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown"
    environ = {**os.environ, SELECT_VARIABLE: entry.name, STRICT_VARIABLE: ""}
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CODE],
            env=environ,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        late = f"it takes more than {limit:g} seconds to import and build"
        return Checked(entry.name, origin, limit, 0, (late,))
    seconds = time.perf_counter() - start
    answer = done.stdout.rpartition("\n{")[2] if "\n{" in done.stdout else ""
    try:
        found = json.loads("{" + answer)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["without a message"])[-1]
        ended = f"the process ended with status {done.returncode}: {last}"
        return Checked(entry.name, origin, seconds, 0, (ended,))
    return Checked(
        entry.name, origin, seconds, found["built"], tuple(found["problems"]), tuple(found["notes"])
    )


def inspect() -> None:
    """Import and build everything that the selected plugin offers, and print what was found."""
    from zoo.registry import DatasetSpec, EncoderFamily, is_cached, registry, resolve_target

    from .._encoders.loading import load
    from .._environments.making import find, folder_of

    found = registry()
    problems = [str(p.cause) for p in found.plugins if p.cause is not None]
    notes: list[str] = []
    built = 0
    for plugin in found.plugins:
        if plugin.distribution == "microscopy-zoo" or plugin.name != os.environ[SELECT_VARIABLE]:
            continue
        if plugin.printed:
            notes.append("prints when it is imported")
        if plugin.imported_torch:
            notes.append("imports torch when it is listed, which slows every command")
        for record in plugin.records:
            name = f"{record.scheme}:" if isinstance(record, EncoderFamily) else record.name
            try:
                if isinstance(record, EncoderFamily):
                    resolve_target(record.resolver)
                elif isinstance(record, DatasetSpec):
                    resolve_target(record.builder)
                elif record.environment is not None and not find(folder_of(record.environment)):
                    notes.append(f"{name} is not built: zoo env create {name} comes first")
                    continue
                elif not all(map(is_cached, record.all_files)):
                    resolve_target(record.builder)
                    notes.append(f"{name} is not built: its weights are not on this machine")
                    continue
                else:
                    load(name, device="cpu")
                    if record.twin is not None:
                        found.encoder(record.twin)
                built += 1
            except (Exception, SystemExit) as error:
                problems.append(f"{name}: {type(error).__name__}: {error}")
    answer = {"built": built, "problems": problems, "notes": notes}
    sys.stdout.write("\n" + json.dumps(answer))
    sys.stdout.flush()
