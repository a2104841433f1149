"""The folder of a run: its record, its log, the state to go on from."""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from zoo.registry import DataError

from .._embedding.records import differences
from .._embedding.write_aside import write

RECORD, LOG, STATE, HASHES = "run.json", "log.jsonl", "state.pt", "images.sha256"
DIGEST = 32


class RunFolder:
    """Files of one run; each is written aside and moved into place.

    Parameters
    ----------
    path
        The folder, made if it is not there.
    record
        What the run depends on: settings, images, task. A folder with another record is refused.

    Raises
    ------
    DataError
        If the folder holds another run, or cannot be written.
    """

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        self.path = path
        self.record = json.loads(json.dumps(record))
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{path} cannot be made: {error.strerror}") from error
        found = self._read_record()
        if found is None:
            if any(path.iterdir()):
                raise DataError(f"{path} holds files, but no run: give a new folder")
            return
        changed = differences(found, self.record)
        if changed:
            raise DataError(
                f"{path} holds a run with other settings: {'; '.join(changed[:4])}. Give a new "
                "folder, or the same settings to go on"
            )

    def _read_record(self) -> dict[str, Any] | None:
        try:
            raw = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
            return dict(raw["run"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.path / RECORD} cannot be read: {error}") from error

    def write_record(self, **beside: Any) -> None:
        """Write the record, and what is to be known beside it."""
        text = json.dumps({"run": self.record, **beside}, indent=1, default=str)
        self.write_text(RECORD, text + "\n")

    def write(self, name: str, save: Callable[[Path], object]) -> None:
        """Call `save` with a path, and move what it wrote into place; see `write_aside`."""
        write(self.path / name, save)

    def write_text(self, name: str, text: str) -> None:
        """Write a file of text."""
        self.write(name, lambda path: path.write_text(text, encoding="utf-8"))

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write the state from which the run goes on, after its sha256."""
        buffer = BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        self.write(STATE, lambda path: path.write_bytes(sha256(content).digest() + content))

    def read_state(self, device: torch.device) -> dict[str, Any] | None:
        """Return the state, or None if there is none yet.

        Raises
        ------
        DataError
            If it was changed or is broken.
        """
        path = self.path / STATE
        if not path.exists():
            return None
        content = path.read_bytes()
        if sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            raise DataError(
                f"{path} is broken or was changed: delete it to start from the beginning"
            )
        found: dict[str, Any] = torch.load(
            BytesIO(content[DIGEST:]), map_location=device, weights_only=True
        )
        return found

    def read_log(self, before: int | None = None) -> list[dict[str, Any]]:
        """Return the log's rows of steps before `before`, in order."""
        path, rows = self.path / LOG, []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            with suppress(ValueError):  # the last line of a killed run
                rows.append(json.loads(line))
        return [row for row in rows if before is None or row["step"] < before]

    def write_log(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a whole log."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        self.write_text(LOG, text)

    def append_log(self, row: Mapping[str, Any]) -> None:
        """Add a row to the log."""
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
