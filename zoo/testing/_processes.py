"""Promises about processes and threads: pickling, another process, several threads at once."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from ._compare import OTHER_SHAPES, same
from ._promise import NotCheckedError, promise
from ._subject import Subject
from ._worker import WorkerError, ask


@promise("pickling", "an encoder can be pickled, as worker processes need", needs=("precision",))
def pickling(subject: Subject) -> None:
    """Pickle, and encode with what comes back."""
    if "<locals>" in type(subject.encoder).__qualname__ and subject.remake is not None:
        raise NotCheckedError("its class is defined inside a function: processes load it by name")
    images = subject.images(subject.low, 2)
    again = pickle.loads(pickle.dumps(subject.encoder))
    same(subject.rows(images, encoder=again), subject.rows(images), 1e-5, "after pickling")


@promise("processes", "another process, at another time, gives the same numbers",
         needs=("precision", "loading", "pickling"))  # fmt: skip
def processes(subject: Subject) -> None:
    """Load and encode in a process with another date, hour and hash seed."""
    encoder = subject.encoder
    images = subject.images(subject.low, 2)
    modules = {cls.__module__: _file(cls.__module__) for cls in type(encoder).__mro__[:-2]}
    modules = {name: file for name, file in modules.items() if not name.startswith("zoo.")}
    request: dict[str, Any] = {
        "name": subject.name if encoder.from_registry else "",
        "options": {"dtype": encoder.dtype, "seed": encoder.seed},
        "device": str(encoder.device),
        "pickle": b"",
        "modules": modules,
        "images": images,
        "asked": {**subject.beside(images), "preprocess": subject.side is None},
    }
    for name in dict.fromkeys([request["name"], ""]):
        try:
            content = b"" if name else pickle.dumps(encoder)
            found = ask({**request, "name": name, "pickle": content})
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            reason: Exception = error
            continue
        except WorkerError as error:
            reason = error
            continue
        same(torch.from_numpy(found), subject.rows(images), OTHER_SHAPES, "in another process")
        return
    raise NotCheckedError(f"another process cannot make it: {reason}")


def _file(module: str) -> str | None:
    return getattr(sys.modules.get(module), "__file__", None)


@promise("threads", "several threads at once give the same numbers", needs=("batch",))
def threads(subject: Subject) -> None:
    """Encode different images in four threads."""
    jobs = [subject.images(subject.low, 2, seed=k) for k in range(12)]
    wanted = [subject.rows(images) for images in jobs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(subject.rows, jobs))
    for one, other in zip(found, wanted, strict=True):
        same(one, other, OTHER_SHAPES, "in four threads")
