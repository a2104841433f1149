"""Promises about loading: the same encoder again, by seed, and from its weights."""

import tempfile
from pathlib import Path

import torch

from zoo.registry import fetch

from .._encoders.build import build
from .._encoders.contract import Encoder
from ._compare import difference, same
from ._promise import BrokenPromiseError, NotCheckedError, promise
from ._subject import Subject, generators_at


@promise("loading", "loading again gives the same encoder", needs=("precision",))
def loading(subject: Subject) -> None:
    """Load twice, with random generators in another state."""
    images = subject.images(subject.low, 2)
    found = [subject.rows(images, encoder=_made(subject, 0, state)) for state in (1, 2)]
    same(found[0], found[1], 1e-5, "two loads")


@promise("seed", "the seed decides a seeded encoder", needs=("loading",))
def seed(subject: Subject) -> None:
    """Load with two seeds."""
    if not subject.spec.seeded:
        raise NotCheckedError("the encoder is not seeded")
    images = subject.images(subject.low, 2)
    one, other = (subject.rows(images, encoder=_made(subject, s, 3)) for s in (0, 1))
    if difference(one, other) == 0:
        raise BrokenPromiseError("seeds 0 and 1 give the same numbers")


@promise("weights", "the parameters come from the weights", needs=("loading",))
def weights(subject: Subject) -> None:
    """Build from weights with other numbers, and from weights that lack half of the tensors."""
    file = subject.spec.weights
    if file is None:
        raise NotCheckedError("the encoder has no weights")
    from safetensors.torch import load_file, save_file

    state = load_file(fetch(file).path)
    images = subject.images(subject.low, 2)
    draw = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        save_file({k: _other(v, draw) for k, v in state.items()}, path)
        other = subject.rows(images, encoder=_like(build(subject.spec, weights=path), subject))
        if difference(other, subject.rows(images)) == 0:
            raise BrokenPromiseError("other weights give the same numbers")
        path = Path(folder, "half.safetensors")
        save_file(dict(list(state.items())[1::2]), path)
        try:
            build(subject.spec, weights=path)
        except Exception:
            return
    raise BrokenPromiseError("weights that lack half of the tensors are taken")


def _other(tensor: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Return other numbers of the same size."""
    if not tensor.is_floating_point():
        return tensor
    noise = torch.randn(tensor.shape, generator=draw)
    return (tensor.float() * (1 + 0.2 * noise) + 0.01 * noise).to(tensor.dtype)


def _made(subject: Subject, seed: int, state: int) -> Encoder:
    """Make the encoder again, after setting the global generators to a state."""
    if subject.remake is None:
        raise NotCheckedError("its record cannot make it again")
    with generators_at(state):
        return _like(subject.remake(seed), subject)


def _like(encoder: Encoder, subject: Subject) -> Encoder:
    """Move to the device and type of the encoder under test, with its preprocessing."""
    moved = encoder.to(subject.encoder.device, subject.encoder.dtype)
    return moved.with_preprocessing(subject.spec.preprocessing)
