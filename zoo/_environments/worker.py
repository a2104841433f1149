"""The process in an environment of its own that builds an encoder and embeds with it.

It is started by its path, with the environment's Python, and needs NumPy of any version and
nothing else: neither zoo nor what zoo needs. Requests and answers are short lines of JSON on a
socket; planes and embeddings lie in memory that both processes share.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import importlib.util
import json
import mmap
import os
import pathlib
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from importlib.machinery import ModuleSpec
from importlib.metadata import distributions
from typing import Any

_LENGTH = struct.Struct(">I")
ALIGNMENT = 4096
# What installs packages, and decides no number.
_TOOLS = ("pip",)


def send(link: socket.socket, message: dict[str, Any]) -> None:
    """Write a message: its length, and JSON."""
    data = json.dumps(message).encode()
    link.sendall(_LENGTH.pack(len(data)) + data)


def receive(link: socket.socket) -> Any:
    """Read a message; raises EOFError when the other side is gone."""
    (size,) = _LENGTH.unpack(_exactly(link, _LENGTH.size))
    return json.loads(_exactly(link, size))


def _exactly(link: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = link.recv(min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def reserve(descriptor: int, size: int) -> None:
    """Make shared memory at least so large; an error now is better than a crash when it is used."""
    if os.fstat(descriptor).st_size >= size:
        return
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)


def describe() -> dict[str, Any]:
    """Return the version of Python, those of all packages, and a hash of their files."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    packages = {}
    for package in sorted(distributions(), key=lambda d: (d.metadata["Name"] or "").lower()):
        name = package.metadata["Name"]
        if not name or name in packages or name.lower() in _TOOLS:
            continue
        packages[name] = package.version
        digest.update(f"{name} {package.version}".encode())
        for line in (package.read_text("RECORD") or "").splitlines():
            if not line.startswith("..") and ".pyc," not in line:  # scripts name the folder
                digest.update(line.encode())
    version = ".".join(map(str, sys.version_info[:3]))
    return {"python": version, "packages": packages, "sha256": digest.hexdigest()}


class Batch:
    """Prepared images of one size, as the builder's function gets them.

    `planes` is `(sum of C_i, H, W)` float32, `counts` the number of channels of each image,
    `stains` a tuple of names or None for each image, and `channel_index` the place of each plane in
    an encoder with named channels, or None. The planes are valid during the call.
    """

    def __init__(
        self, planes: Any, counts: list[int], stains: list[Any], channel_index: Any
    ) -> None:
        self.planes = planes
        self.counts = counts
        self.stains = stains
        self.channel_index = channel_index

    def __len__(self) -> int:
        return len(self.counts)

    def images(self) -> list[Any]:
        """Return the planes of each image, `(C, H, W)`."""
        ends = [sum(self.counts[: i + 1]) for i in range(len(self.counts))]
        return [self.planes[end - n : end] for end, n in zip(ends, self.counts)]  # noqa: B905


class _PluginFinder:
    """Finds the plugin's own package where zoo has it; all else is the environment's."""

    def __init__(self, name: str, origin: str | None, folders: list[str] | None) -> None:
        self.name, self.origin, self.folders = name, origin, folders

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        if self.origin is None:
            found = ModuleSpec(name, None, is_package=True)
            found.submodule_search_locations = self.folders
            return found
        return importlib.util.spec_from_file_location(
            name, self.origin, submodule_search_locations=self.folders
        )


class Served:
    """The encoder of this process."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.map: Any = None
        self.embed: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        do = self.build if request.pop("do") == "build" else self.embedded
        return do(**request)

    def build(
        self,
        target: str,
        plugin: Any,
        options: Any,
        weights: str | None,
        files: list[str],
        seed: int,
        device: str,
    ) -> dict[str, Any]:
        """Import the builder and call it."""
        import numpy

        if plugin is not None:
            sys.meta_path.append(_PluginFinder(*plugin))
        module, _, name = target.partition(":")
        builder = getattr(importlib.import_module(module), name)
        path = None if weights is None else pathlib.Path(weights)
        further = {"files": tuple(map(pathlib.Path, files))} if files else {}
        self.embed = builder(options, weights=path, seed=seed, device=device, **further)
        if not callable(self.embed):
            raise TypeError(
                f"{target} returned {self.embed!r}, but must return a function of a batch"
            )
        return {"numpy": numpy.__version__, **describe()}

    def embedded(
        self, shape: list[int], counts: list[int], stains: list[Any], channel_index: Any
    ) -> dict[str, Any]:
        """Embed the planes in the shared memory, and leave the embedding behind them."""
        import numpy

        size = 4 * shape[0] * shape[1] * shape[2]
        planes = self.array(shape, 0)
        places = None if channel_index is None else numpy.array(channel_index, dtype=numpy.int64)
        names = [None if s is None else tuple(s) for s in stains]
        found = numpy.asarray(self.embed(Batch(planes, counts, names, places)))
        if found.ndim != 2 or len(found) != len(counts) or found.dtype.kind not in "fiu":
            raise ValueError(
                f"it returned an array {found.shape} of {found.dtype}, not one row of numbers for "
                f"each of {len(counts)} images"
            )
        start = -(-size // ALIGNMENT) * ALIGNMENT
        reserve(self.memory, start + 4 * found.size)
        self.array(found.shape, start)[...] = found
        return {"shape": list(found.shape), "start": start}

    def array(self, shape: Any, start: int) -> Any:
        """Return an array of float32 in the shared memory."""
        import numpy

        count = 1
        for length in shape:
            count *= length
        if self.map is None or len(self.map) < start + 4 * count:
            self.map = mmap.mmap(self.memory, os.fstat(self.memory).st_size)
        flat = numpy.frombuffer(self.map, dtype=numpy.float32, count=count, offset=start)
        return flat.reshape(shape)


def _show_place(error: BaseException) -> None:
    """Write where an encoder raised an error, without the lines of this file."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename != __file__ and not f.filename.startswith("<frozen")]
    sys.stderr.write("".join(traceback.format_list(own)))
    sys.stderr.flush()


def die_with(parent: int, *, from_main_thread: bool) -> None:
    """End this process as soon as its parent is gone, however that ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    # Linux tells the death of the thread that started a process, so only of one that stays.
    if from_main_thread and sys.platform.startswith("linux"):
        death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()


def main(arguments: list[str]) -> None:
    """Describe the environment, or serve requests until the parent closes the socket."""
    if arguments == ["describe"]:
        sys.stdout.write(json.dumps(describe()))
        return
    control, memory, parent, from_main_thread = map(int, arguments)
    die_with(parent, from_main_thread=bool(from_main_thread))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    link = socket.socket(fileno=control)
    served = Served(memory)
    while True:
        try:
            request = receive(link)
        except (EOFError, OSError):
            return
        try:
            answer = served.answer(request)
        except BaseException as error:  # whatever an encoder raises, its exits included
            _show_place(error)
            answer = {"error": f"{type(error).__name__}: {error}", "kind": type(error).__name__}
            if isinstance(error, ModuleNotFoundError):
                answer["missing"] = (error.name or "").partition(".")[0]
        send(link, answer)


if __name__ == "__main__":
    main(sys.argv[1:])
