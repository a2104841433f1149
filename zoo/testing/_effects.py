"""Promises about side effects: settings, random generators, output and network."""

import contextlib
import io
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._images.batch import ImageBatch
from ._promise import BrokenPromiseError, promise
from ._subject import Subject, generators_at


@promise("state", "random generators and settings stay as they are", needs=("repeatable",))
def global_state(subject: Subject) -> None:
    """Compare generators, settings of torch and NumPy, and the process, before and after."""
    subject.encode(subject.images(subject.low, 1))  # libraries set themselves up once
    with generators_at(20_611):  # no seed that an encoder may set
        before = _state()
        try:
            _run(subject)
            changed = [what for what, value in _state().items() if value != before[what]]
        finally:
            torch.set_default_dtype(before["torch's default dtype"])
    if changed:
        raise BrokenPromiseError(f"{', '.join(changed)} changed")


@promise("silent", "nothing is printed", needs=("repeatable",))
def silent(subject: Subject) -> None:
    """Encode, and look at the standard output."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        _run(subject)
    if said.getvalue():
        raise BrokenPromiseError(f"it prints {said.getvalue()[:80]!r}")


@promise("network", "no connection is made", needs=("repeatable",))
def no_network(subject: Subject) -> None:
    """Encode, and listen for connections."""
    with _connections() as made:
        _run(subject)
    if made:
        raise BrokenPromiseError(f"it connects to {made[0]}")


def _run(subject: Subject) -> None:
    """Encode raw images, and call `forward` itself, which `encode` protects."""
    raw = subject.raw(subject.low, 2)
    subject.encoder.encode(raw, **subject.beside(raw))
    if subject.side is None or subject.encoder.requires_object_types:
        return
    planes = [torch.from_numpy(image) for image in subject.images(subject.low, 2)]
    stains = subject.beside(list(planes)).get("stains")
    batch = ImageBatch(
        torch.cat(planes).to(subject.encoder.device, subject.encoder.dtype),
        torch.tensor([len(p) for p in planes]),
        () if stains is None else tuple(stains),
    )
    with torch.inference_mode():
        subject.encoder.forward(batch)


def _state() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch's random state": torch.random.get_rng_state().numpy().tobytes(),
        "NumPy's random state": (name, np.asarray(keys).tobytes(), *rest),
        "Python's random state": random.getstate(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "NumPy's handling of errors": np.geterr(),
        "the working folder": Path.cwd(),
        "environment variables": dict(os.environ),
    }


class _Listener:
    """Collects where the process connects to, while `made` is a list."""

    made: list[str] | None = None
    installed = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.made is not None and event in ("socket.connect", "socket.getaddrinfo"):
            self.made.append(str(arguments[1] if event == "socket.connect" else arguments[0]))


_LISTENER = _Listener()


@contextlib.contextmanager
def _connections() -> Iterator[list[str]]:
    if not _LISTENER.installed:
        _LISTENER.installed = True
        sys.addaudithook(_LISTENER)  # which cannot be taken away again
    _LISTENER.made = []
    try:
        yield _LISTENER.made
    finally:
        _LISTENER.made = None
