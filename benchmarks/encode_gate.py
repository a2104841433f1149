"""What an encoder must give before it is timed, and how far from it each arithmetic may be."""

from functools import cache

import torch
from encode_cases import Case
from encode_providers import ENCODER
from padded_original import PaddedChAdaViT, fast_path
from torch import Tensor

import zoo

LIMITS = {"float32": 1e-4, "bfloat16": 3e-2}


@cache
def exact(case: Case) -> Tensor:
    """Return what a case's first batch is to give, from the original in float32."""
    model = PaddedChAdaViT().eval().to(case.device)
    model.load_state_dict(zoo.load(ENCODER, device="cpu").model.state_dict())
    batch = case.batch(0)
    with torch.inference_mode(), fast_path(False):
        parts = [model(image.float(), [len(image)])[0] for image in batch.images()]
    return torch.cat(parts).double()
