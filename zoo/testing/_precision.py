"""Promises about precision and devices: float32 inside, half precision, gradients, a GPU."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._images.batch import ImageBatch
from ._compare import same
from ._promise import BrokenPromiseError, NotCheckedError, promise
from ._subject import Subject

# A change of a thousandth moves a smooth function in a straight line; one that rounds, in steps.
_STEP, _BENT = 1e-3, 0.3


@promise("precision", "float32 is not rounded to half precision", needs=("images",))
def precision(subject: Subject) -> None:
    """Look for numbers with few digits, and for steps where pixels change a little."""
    if not subject.tells_apart or subject.encoder.dtype.itemsize < 4:  # asked for
        return
    found = subject.rows(subject.images(subject.low, 6))
    whole = bool((found == found.round()).all())
    for kind in (torch.bfloat16, torch.float16):
        if not whole and found.numel() > 8 and torch.equal(found.to(kind).float(), found):
            raise BrokenPromiseError(f"all numbers have the digits of {_name(kind)} only")
    if subject.side is None or not _is_network(subject):
        return
    (planes,) = subject.images(subject.low, 1)
    step = _STEP * np.random.default_rng(9).standard_normal(planes.shape, dtype=np.float32)
    middle, up, down = (subject.rows([p]).double() for p in (planes, planes + step, planes - step))
    straight, bent = up - down, up + down - 2 * middle
    if float(bent.abs().mean()) > _BENT * float(straight.abs().mean()):
        raise BrokenPromiseError("the embedding moves in steps where pixels change a little")


@promise("half", "half precision gives finite float32 numbers", needs=("precision",))
def half(subject: Subject) -> None:
    """Encode with a copy in bfloat16."""
    if subject.spec.environment is not None:
        raise NotCheckedError("it runs in an environment of its own, in float32")
    if subject.unused is None:
        raise NotCheckedError("the encoder cannot be copied")
    other = copy.deepcopy(subject.unused).to(dtype=torch.bfloat16)
    found = subject.encode(subject.images(subject.low, 3), encoder=other).embedding
    if found.dtype != torch.float32 or not bool(found.isfinite().all()):
        raise BrokenPromiseError(f"bfloat16 gives {_name(found.dtype)}, NaN or infinite numbers")


@promise("device", "moving keeps the dtype, and a GPU gives the same numbers", needs=("precision",))
def device(subject: Subject) -> None:
    """Move to the device where it is, and to a GPU if there is one."""
    encoder = subject.encoder if subject.unused is None else copy.deepcopy(subject.unused)
    images = subject.images(subject.low, 2)
    before, dtype, where = subject.rows(images, encoder=encoder), encoder.dtype, encoder.device
    if encoder.to(where) is not encoder:
        raise BrokenPromiseError("to() does not return the encoder itself")
    if encoder.dtype != dtype:
        raise BrokenPromiseError(f"to(device) makes it {_name(encoder.dtype)}")
    same(subject.rows(images, encoder=encoder), before, 1e-6, "after to(device)")
    bound = subject.spec.environment is not None and not subject.spec.environment.gpu
    if subject.unused is None or bound or not torch.cuda.is_available():
        return
    moved = copy.deepcopy(subject.unused)
    on_cpu = subject.rows(images, encoder=moved.to("cpu"))
    found = subject.encode(images, encoder=moved.to("cuda")).embedding
    if found.device.type != "cuda":
        raise BrokenPromiseError(f"the embedding is on {found.device}, the encoder on a GPU")
    same(found.cpu(), on_cpu, 5e-3, "on a GPU")  # networks there use other kernels


@promise("gradients", "gradients reach the parameters, where that is declared", needs=("images",))
def gradients(subject: Subject) -> None:
    """Call `forward` outside of inference mode, and go backwards."""
    encoder = subject.encoder
    if not encoder.differentiable:
        raise NotCheckedError("differentiable is not declared")
    if encoder.model is None:
        raise BrokenPromiseError("differentiable is declared, but there is no network to train")
    trained = encoder if subject.unused is None else copy.deepcopy(subject.unused)
    model: Any = trained.model
    images: list[Any] = subject.images(subject.low, 2)
    if subject.side is None:
        images = [trained.prepare(image, "image") for image in images]
    planes = torch.cat([torch.as_tensor(image) for image in images])
    stains = subject.beside(images).get("stains", ())
    with torch.inference_mode(False), torch.enable_grad():
        given = planes.clone().to(trained.device, trained.dtype)
        batch = ImageBatch(given, torch.tensor([subject.low] * 2), tuple(stains))
        found = trained.forward(batch).embedding
        if not found.requires_grad:
            raise BrokenPromiseError("the embedding has no gradient")
        (found * torch.linspace(-1, 1, found.numel()).view_as(found)).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    model.zero_grad(set_to_none=True)
    reached = [g for g in gradients if g is not None and bool(g.isfinite().all()) and bool(g.any())]
    if not reached:
        raise BrokenPromiseError("no parameter gets a finite gradient")


def _is_network(subject: Subject) -> bool:
    model = subject.encoder.model
    return model is not None and any(p.is_floating_point() for p in model.parameters())


def _name(dtype: torch.dtype | Tensor) -> str:
    return str(dtype).removeprefix("torch.")
