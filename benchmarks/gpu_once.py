"""One backward pass of attention and one pass of the encoder, for Nsight Compute to look at."""

import torch
from attention_cases import Case as AttentionCase
from attention_providers import PROVIDERS, TRITON
from encode_cases import Case
from encode_providers import ENCODER
from gpu_stage import DEVICE, DRY

import zoo


def main() -> None:
    """Run both."""
    if not DRY:
        case = AttentionCase("10 channels", 32, 16, torch.bfloat16, DEVICE, backward=True)
        qkv, grad = case.inputs(0)
        PROVIDERS[TRITON](case).forward(qkv.requires_grad_()).backward(grad)
    dtype = torch.float32 if DRY else torch.bfloat16
    encoder = zoo.load(ENCODER, device=DEVICE, dtype=dtype)
    batch = Case("10 channels", 1 if DRY else 32, dtype, DEVICE).batch(0)
    encoder.encode(batch, preprocess=False)


if __name__ == "__main__":
    main()
