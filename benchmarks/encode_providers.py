"""Ways to turn planes into embeddings with the parameters of one ChAda-ViT: ours and its rivals."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from bucketed_sdpa import BucketedChAdaViT
from encode_cases import Case, planes_of
from padded_original import PaddedChAdaViT, fast_path
from torch import Tensor
from workloads import PATCHES

import zoo

OURS, PADDED = "zoo", "padded, fast path off"
ENCODER = "chadavit-untrained"
LONGEST = 10 * PATCHES + 1


class UnavailableError(Exception):
    """Why a provider does not take a batch."""


@dataclass
class Provider:
    """One way to encode, made ready: `encode` maps a batch to `(B, D)`."""

    encode: Callable[[zoo.ImageBatch], Tensor]


def _ours(case: Case) -> Provider:
    encoder = zoo.load(ENCODER, device=case.device, dtype=case.dtype)
    return Provider(lambda batch: encoder.encode(batch, preprocess=False).embedding)


def _state() -> dict[str, Tensor]:
    model = zoo.load(ENCODER, device="cpu").model
    assert model is not None
    return model.state_dict()


def _padded(case: Case, fast: bool) -> Provider:
    if fast:
        _refuse_scores_beyond_memory(case)
    model = PaddedChAdaViT().eval()
    model.load_state_dict(_state(), strict=True)
    model.to(case.device)
    lower = case.dtype != torch.float32

    def encode(batch: zoo.ImageBatch) -> Tensor:
        with torch.inference_mode(), fast_path(fast), _autocast(case, lower):
            planes, counts = planes_of(batch)
            return model(planes if lower else planes.float(), counts)[0].float()

    return Provider(encode)


def _bucketed(case: Case, compiled: bool) -> Provider:
    if compiled and case.device == "cpu" and case.images == 1:
        raise UnavailableError("one image is no batch to compile for on a processor")
    model = BucketedChAdaViT(compiled=compiled).eval()
    model.load_state_dict(_state(), strict=True)
    model.to(case.device, case.dtype)

    def encode(batch: zoo.ImageBatch) -> Tensor:
        # Compiled code guards against inference mode; without gradients it is as fast.
        with torch.no_grad():
            return model(*planes_of(batch)).float()

    return Provider(encode)


def _refuse_scores_beyond_memory(case: Case) -> None:
    """The fast path writes the scores of all images of a layer, padding and all."""
    needed = case.images * 12 * LONGEST**2 * case.dtype.itemsize
    if case.device == "cpu" and case.images > 4:
        raise UnavailableError(f"{needed / 2**30:.0f} GiB of scores a layer, minutes a pass")
    if case.device == "cuda" and 2 * needed > torch.cuda.mem_get_info()[0]:
        raise UnavailableError(f"{needed / 2**30:.0f} GiB of scores a layer do not fit")


@contextmanager
def _autocast(case: Case, lower: bool) -> Iterator[None]:
    with torch.autocast(case.device, case.dtype) if lower else nullcontext():
        yield


PROVIDERS: dict[str, Callable[[Case], Provider]] = {
    OURS: _ours,
    "bucketed SDPA": lambda case: _bucketed(case, compiled=False),
    "bucketed SDPA, compiled": lambda case: _bucketed(case, compiled=True),
    PADDED: lambda case: _padded(case, fast=False),
    "padded, fast path on": lambda case: _padded(case, fast=True),
}
