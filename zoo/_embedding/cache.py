"""A disk cache of embeddings, keyed by image content and everything that defines the encoder."""

import hashlib
import json
import os
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.registry.cache_folder import cache_folder

from .._encoders.contract import Encoder
from .._encoders.plugin_origin import OUTSIDE
from .._encoders.plugin_origin import sources as _sources
from .._images.image import Image


def image_hash(image: Image) -> str:
    """Return the sha256 of pixels, shape, dtype and stains, and of objects if there are any."""
    pixels = np.ascontiguousarray(image.pixels)
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}{image.stains}".encode())
    digest.update(pixels.data)
    for name, numbers in (("mask", image.mask), ("types", image.types)):
        if numbers is not None:  # by value, whatever the integer dtype
            same = np.ascontiguousarray(numbers, dtype="<i8")
            digest.update(f"{name}{same.shape}".encode())
            digest.update(same.data)
    return digest.hexdigest()


# Rooms whose code decides every embedding.
ROOMS = ("zoo._encoders", "zoo._environments", "zoo._images", "zoo.kernels")


class EmbeddingCache:
    """Rows by encoder, number of channels and image hash; one file per encoder and number.

    A file that cannot be read counts as empty, and one that cannot be written is not an error.
    Parameters are hashed once: after training in place, make a new cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or cache_folder()) / "embeddings"
        self._rows: dict[str, dict[str, NDArray[np.float32]]] = {}
        self._changed: set[str] = set()
        self._names: dict[str, str] = {}
        self._states: WeakKeyDictionary[Encoder, str | None] = WeakKeyDictionary()

    def get(self, encoder: Encoder, image: str, count: int) -> NDArray[np.float32] | None:
        """Return the row of an image of `count` channels, or None."""
        key = self._key(encoder, count)
        return None if key is None else self._store(key).get(image)

    def put(self, encoder: Encoder, image: str, count: int, row: NDArray[np.float32]) -> None:
        """Keep a row until `flush` writes it."""
        key = self._key(encoder, count)
        if key is not None:
            self._store(key)[image] = row
            self._changed.add(key)
            self._names[key] = encoder.name

    def flush(self) -> None:
        """Write new rows; each file is replaced atomically."""
        for key in sorted(self._changed):
            rows = self._rows[key]
            path = self.folder / f"{key}.npz"
            partial = path.with_suffix(f".{os.getpid()}.partial")
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with partial.open("wb") as file:
                    np.savez(
                        file,
                        hashes=np.array(list(rows)),
                        rows=np.stack(list(rows.values())),
                        encoder=np.array(self._names[key]),  # for those who list the cache
                    )
                partial.replace(path)
            except OSError:
                with suppress(OSError):
                    partial.unlink()
        self._changed.clear()

    def __enter__(self) -> "EmbeddingCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def _store(self, key: str) -> dict[str, NDArray[np.float32]]:
        if key not in self._rows:
            self._rows[key] = {}
            # A broken file raises errors of zipfile, zlib, NumPy or Python.
            with (
                suppress(Exception),
                (self.folder / f"{key}.npz").open("rb") as opened,
                np.load(opened, allow_pickle=False) as file,
            ):
                pairs = zip(file["hashes"].tolist(), file["rows"], strict=True)
                self._rows[key] = dict(pairs)
        return self._rows[key]

    def _key(self, encoder: Encoder, count: int) -> str | None:
        """Hash everything that determines a row; None for encoders not loaded by `zoo.load`.

        An encoder built by hand may differ in ways that its record does not show.
        """
        if not encoder.from_registry:
            return None
        if encoder not in self._states:
            self._states[encoder] = _state_fingerprint(encoder)
        record = {
            **encoder.provenance(),
            "preprocessing": repr(encoder.spec.preprocessing),
            "channels": count,
            "code": [_code_fingerprint(module) for module in _modules(encoder)],
            "state": self._states[encoder],
        }
        text = json.dumps(record, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _modules(encoder: Encoder) -> list[str]:
    """Name the modules of an encoder, of its builder and network, and of encoders that it wraps."""
    parts = [part for part in vars(encoder).values() if isinstance(part, Encoder)]
    own = {type(encoder).__module__, *(cls.__module__ for cls in type(encoder).__mro__[1:-1])}
    if encoder.model is not None:
        own |= {type(layer).__module__ for layer in encoder.model.modules()}
    kept = {type(encoder).__module__} | {n for n in own if n.partition(".")[0] not in OUTSIDE}
    builder = encoder.spec.builder.partition(":")[0]
    if builder in sys.modules:
        kept.add(builder)
    homes: dict[str, str] = {}
    for name in sorted(kept - {"builtins", "abc"}):
        homes.setdefault(_home(name), name)
    return [*homes.values(), *(name for part in parts for name in _modules(part))]


def _state_fingerprint(encoder: Encoder) -> str | None:
    """Hash the current parameters: a network may have been trained after loading."""
    if encoder.model is None:
        return None
    digest = hashlib.sha256()
    for name, tensor in encoder.model.state_dict().items():
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@cache
def _code_fingerprint(module: str) -> str:
    """Hash the encoder's code, so that changed code invalidates its rows."""
    digest = hashlib.sha256()
    for library in ("torch", "timm", "numpy", "scipy", "scikit-image"):
        digest.update(f"{library} {version(library)}".encode())
    for package in (*ROOMS, _home(module)):
        for file in _sources(package):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _home(module: str) -> str:
    """Name the package that an encoder may use: a third party's, or one folder of the built-ins."""
    return module.rpartition(".")[0] if module.startswith("zoo.") else module.partition(".")[0]
