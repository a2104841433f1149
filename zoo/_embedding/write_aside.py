"""Write a file beside its place and move it there, so that it is whole or as it was."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError

from zoo.registry import DataError


def write(target: Path, save: Callable[[Path], object]) -> None:
    """Call `save` with a path beside `target`, and move what it wrote into place.

    Raises
    ------
    DataError
        If it cannot be written; `target` is as it was.
    """
    partial = target.with_name(f".{target.name}.{socket.gethostname()}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(target)
        _sync(target.parent)
    except (OSError, SafetensorError) as error:
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number else error
        raise DataError(
            f"{target} could not be written ({reason}): make room and start the "
            "same command again, which goes on from what is done"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have the names in a folder survive a power failure, where the system can."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
