"""Promises about the record: plain values, terms, and nothing heavy when it is listed."""

import json
import subprocess
import sys

import numpy as np
import torch

from zoo.registry import EncoderSpec, resolve_target

from ._compare import same
from ._promise import BrokenPromiseError, NotCheckedError, promise
from ._subject import Subject


@promise("record", "the record and the provenance are plain values, and terms are stated")
def record(subject: Subject) -> None:
    """Write the provenance as JSON, show the card, and look for the terms of published weights."""
    spec, encoder = subject.spec, subject.encoder
    if not isinstance(spec, EncoderSpec):
        raise BrokenPromiseError(f"spec is {spec!r}")
    json.dumps(encoder.provenance())
    if spec.name not in encoder._repr_html_():
        raise BrokenPromiseError("the card does not show the name")
    if ":" in spec.name or not any(file.path is None for file in spec.all_files):
        return
    stated = {
        "licence": spec.licence != "not stated",
        "citation": bool(spec.citation),
        "trained_on": bool(spec.trained_on),
    }
    missing = [field for field, there in stated.items() if not there]
    if missing:
        raise BrokenPromiseError(f"the record of published weights lacks {', '.join(missing)}")


@promise("listing", "listing the record imports no torch")
def listing(subject: Subject) -> None:
    """List all encoders in a process of its own, where it has a name."""
    if not subject.name:
        raise NotCheckedError("it was not given by name")
    from zoo.registry import registry

    origin = registry().origin(subject.spec)
    if origin is None:
        raise NotCheckedError("no plugin offers it")
    code = (
        "import sys, importlib; from zoo.registry import registry; r = registry()\n"
        f"found = [p for p in r.plugins if p.name == {origin.name!r}]\n"
        "print(any(p.imported_torch for p in found), len(found))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode or not done.stdout.strip().endswith("1"):
        raise NotCheckedError("no other process finds its plugin")
    if "True" in done.stdout.splitlines()[-1]:
        raise BrokenPromiseError(f"the plugin {origin} imports torch when it is listed")


@promise("reference", "reference images give the reference embeddings", needs=("repeatable",))
def reference(subject: Subject) -> None:
    """Compare with the numbers that the record names."""
    target = subject.spec.reference
    if target is None:
        raise NotCheckedError("the record names no reference")
    images, expected = resolve_target(target)()
    found = subject.encoder.encode(list(images)).embedding.cpu()
    wanted = torch.as_tensor(np.asarray(expected, dtype=np.float32))
    same(found, wanted, 1e-4, "reference images")
