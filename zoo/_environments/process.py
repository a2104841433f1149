"""A worker process in an environment, and the memory shared with it."""

import mmap
import os
import signal
import socket
import subprocess
import tempfile
import threading
import weakref
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from zoo.registry import PluginError

from . import worker

_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
"""What lets the C library keep freed memory for the next call: a worker that has nothing beside its
network would give all back, and every page of it costs a fault at the next call."""
_LINES = 10
_MOST = 1 << 20
"""Bytes of what a worker writes that are kept while all goes well."""


class WorkerProcess:
    """One worker. A request that fails or is interrupted ends it.

    Parameters
    ----------
    python
        Interpreter of the environment.
    name, whose
        Name of the encoder in messages, and the plugin that offers it, if that is an outside one.
    threads
        Threads for libraries in the worker, unless the user has set ``OMP_NUM_THREADS``.
    limit
        Seconds that an answer may take.
    """

    def __init__(
        self, python: Path, name: str, *, whose: str = "", threads: int, limit: float
    ) -> None:
        self.name, self.limit = name, limit
        self._who = f"{name!r} of the plugin {whose}" if whose else repr(name)
        self.owner = os.getpid()
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115
        self._memory = _open_memory()
        self._map: mmap.mmap | None = None
        self._link, theirs = socket.socketpair()
        self._link.settimeout(limit)
        main = threading.current_thread() is threading.main_thread()
        inherited = (theirs.fileno(), self._memory)
        given = [*inherited, self.owner, int(main)]
        try:
            self._process = subprocess.Popen(
                [str(python), "-I", worker.__file__, *map(str, given)],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=inherited,
                env={"OMP_NUM_THREADS": str(threads), **_KEEP_MEMORY, **os.environ},
            )
        except OSError as error:
            raise PluginError(
                f"the environment of {name!r} does not start ({error}): make it again with "
                f"'zoo env create --force {name}'"
            ) from error
        finally:
            theirs.close()
        parts = (self._process, self._link, self._memory, self._log)
        self._end = weakref.finalize(self, _end, self.owner, *parts)

    @property
    def alive(self) -> bool:
        """Whether this process may ask it: after a fork the worker is still the parent's."""
        return self._end.alive and self.owner == os.getpid()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Raises
        ------
        PluginError
            When the worker raises, ends or does not answer; with its last lines.
        MemoryError
            When the worker is out of memory.
        """
        try:
            worker.send(self._link, request)
            answer: dict[str, Any] = worker.receive(self._link)
        except TimeoutError:
            self._process.kill()
            raise self._fault(
                f"did not answer within {self.limit:g} seconds and was ended: give fewer planes at "
                "once (batch_planes=), or tell its authors"
            ) from None
        except (EOFError, OSError):
            raise self._fault(f"ended ({self._status()})") from None
        except BaseException:  # Ctrl-C among them: its answer would be taken for the next one
            self.close()
            raise
        if "error" not in answer:
            if os.fstat(self._log.fileno()).st_size > _MOST:
                self._log.truncate(0)
            return answer
        if answer["kind"] in ("MemoryError", "OutOfMemoryError"):
            raise MemoryError(f"{self.name}: {answer['error']}")
        fix = ""
        if answer.get("missing") == "zoo":
            fix = ": the environment has no zoo, so the builder's module must not import it"
        elif answer.get("missing"):
            fix = f": the environment's requirements lack {answer['missing']}, tell its authors"
        raise self._fault(f"raised {answer['error']}{fix}")

    def put(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return an array at the start of the shared memory, to be filled."""
        worker.reserve(self._memory, 4 * int(np.prod(shape)))
        return self._array(shape, 0)

    def take(self, shape: tuple[int, ...], start: int) -> NDArray[np.float32]:
        """Return a copy of an array in the shared memory."""
        return self._array(shape, start).copy()

    def close(self) -> None:
        """End the worker."""
        self._map = None
        self._end()

    def _array(self, shape: tuple[int, ...], start: int) -> NDArray[np.float32]:
        count = int(np.prod(shape))
        if self._map is None or len(self._map) < start + 4 * count:
            self._map = mmap.mmap(self._memory, os.fstat(self._memory).st_size)
        return np.frombuffer(self._map, np.float32, count, start).reshape(shape)

    def _status(self) -> str:
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        if code >= 0:
            return f"exit status {code}"
        hint = ", as when memory is full" if -code == signal.SIGKILL else ""
        return f"{signal.Signals(-code).name}{hint}"

    def _fault(self, what: str) -> PluginError:
        """Make an error with the last lines of the worker, and end it."""
        lines = _last_lines(self._log)
        self.close()
        told = "".join(f"\n  {line}" for line in lines)
        tail = f"; its last lines are:{told}" if told else "; it wrote nothing"
        return PluginError(f"{self._who}, in its own environment, {what}{tail}")


def _end(
    owner: int,
    process: "subprocess.Popen[bytes]",
    link: socket.socket,
    memory: int,
    log: IO[bytes],
) -> None:
    link.close()
    os.close(memory)
    log.close()
    if os.getpid() == owner:  # a fork has a copy of this object, but not of the worker
        process.kill()
        process.wait()


def _open_memory() -> int:
    """Return a file without a name that lies in memory, or on disk where that is not possible."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("zoo-planes")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _last_lines(log: IO[bytes]) -> list[str]:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 4096))
    text = log.read().decode(errors="replace")
    return [line.rstrip() for line in text.splitlines() if line.strip()][-_LINES:]
