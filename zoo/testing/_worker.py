"""A second process in which encoders are loaded again: another hash seed, date and hour."""

import atexit
import contextlib
import datetime
import functools
import importlib.util
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from typing import IO, Any

SHIFT = datetime.timedelta(days=1001, hours=5, minutes=17)
LIMIT = 90  # seconds


class WorkerError(Exception):
    """The worker could not answer; its text is the cause."""


def ask(request: dict[str, Any]) -> Any:
    """Let the worker answer a request.

    Raises
    ------
    WorkerError
        With the error of the worker, or when it does not answer in time.
    """
    process = _started()
    late = threading.Timer(LIMIT, process.kill)
    late.start()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        _write(process.stdin, {**request, "path": sys.path, "settings": _settings()})
        done, answer = _read(process.stdout)
    except (OSError, EOFError, struct.error) as error:
        _started.cache_clear()
        raise WorkerError(f"it ended, or took more than {LIMIT} seconds") from error
    finally:
        late.cancel()
    if not done:
        raise WorkerError(answer)
    return answer


@functools.cache
def _started() -> "subprocess.Popen[bytes]":
    code = "from zoo.testing._worker import serve; serve()"
    environ = {**os.environ, "PYTHONHASHSEED": "4711", "TZ": "Asia/Kathmandu"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environ,
    )
    atexit.register(process.kill)
    return process


def serve() -> None:
    """Answer requests until the input ends, as it does with the parent."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # prints of encoders must not mix with answers
    while True:
        try:
            request = _read(sys.stdin.buffer)
        except (EOFError, struct.error):
            return
        try:
            answer: tuple[bool, Any] = (True, _answer(request))
        except Exception as error:
            answer = (False, f"{type(error).__name__}: {error}")
        _write(answers, answer)


def _settings() -> dict[str, str]:
    """Settings of zoo in the environment, which may be others than when the worker started."""
    return {name: value for name, value in os.environ.items() if name.startswith("ZOO_")}


def _answer(request: dict[str, Any]) -> Any:
    for folder in request["path"]:
        if folder not in sys.path:
            sys.path.append(folder)
    for name in _settings().keys() - request["settings"].keys():
        del os.environ[name]
    os.environ.update(request["settings"])
    for name, file in request["modules"].items():
        _import(name, file)
    encoder = _loaded(request)  # imports all that it needs, under the usual clock
    with moved_clock({name.partition(".")[0] for name in request["modules"]}):
        if request["name"]:
            encoder = _loaded(request)
        return encoder.encode(request["images"], **request["asked"]).embedding.cpu().numpy()


def _loaded(request: dict[str, Any]) -> Any:
    if request["name"]:
        from .._encoders.loading import load

        return load(request["name"], device=request["device"], **request["options"])
    return pickle.loads(request["pickle"])


def _import(name: str, file: str | None) -> None:
    """Import a module by name, or from its file, as test runners do."""
    if name in sys.modules:
        return
    try:
        importlib.import_module(name)
    except ImportError:
        spec = importlib.util.spec_from_file_location(name, file) if file else None
        if spec is None or spec.loader is None:
            raise
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


@contextlib.contextmanager
def moved_clock(packages: Collection[str]) -> Iterator[None]:
    """Show another date and hour, also to modules of packages that hold the clock by a name.

    Modules are imported before, because libraries cannot be with another class of dates.
    """
    moved = _moved_names()
    places: list[Any] = [time, datetime]
    places += [m for n, m in list(sys.modules.items()) if n.partition(".")[0] in packages]
    changed = []
    for place in places:
        for name, value in list(vars(place).items()):
            try:
                new = moved.get(value)
            except TypeError:  # a value without a hash is no clock
                continue
            if new is not None:
                changed.append((place, name, value))
                setattr(place, name, new)
    try:
        yield
    finally:
        for place, name, value in changed:
            setattr(place, name, value)


def _moved_names() -> dict[Any, Any]:
    """Return each clock of the standard library, and what takes its place."""
    seconds = SHIFT.total_seconds()
    real, real_date = datetime.datetime, datetime.date
    clock, clock_ns, local, universal = time.time, time.time_ns, time.localtime, time.gmtime

    class Moved(real):  # type: ignore[valid-type,misc]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return real.now(tz) + SHIFT

        @classmethod
        def utcnow(cls) -> Any:
            return real.now(datetime.UTC).replace(tzinfo=None) + SHIFT

        @classmethod
        def today(cls) -> Any:
            return real.now() + SHIFT

    class MovedDate(real_date):  # type: ignore[valid-type,misc]
        @classmethod
        def today(cls) -> Any:
            return (real.now() + SHIFT).date()

    return {
        real: Moved,
        real_date: MovedDate,
        clock: lambda: clock() + seconds,
        clock_ns: lambda: int(clock_ns() + seconds * 1e9),
        local: lambda s=None: local(clock() + seconds if s is None else s),
        universal: lambda s=None: universal(clock() + seconds if s is None else s),
    }


def _write(stream: IO[bytes], what: Any) -> None:
    data = pickle.dumps(what)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def _read(stream: IO[bytes]) -> Any:
    (size,) = struct.unpack("<Q", stream.read(8))
    return pickle.loads(stream.read(size))
