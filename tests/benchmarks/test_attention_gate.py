"""The gate knows the right answer, and lets nothing else pass."""

import pytest
import torch
import torch.nn.functional as F
from attention_gate import Gate, attention, relative_error

LENGTHS = (5, 1, 12)


def draw(dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(18, 3, 2, 4).to(dtype), torch.randn(18, 2, 4).to(dtype)


def by_pytorch(qkv):
    parts = []
    for image in qkv.split(LENGTHS):
        q, k, v = image.permute(1, 2, 0, 3)
        parts.append(F.scaled_dot_product_attention(q, k, v).transpose(0, 1))
    return torch.cat(parts)


def test_the_answer_is_pytorchs():
    qkv, grad = draw()
    qkv.requires_grad_()
    wanted = by_pytorch(qkv)
    (wanted_grad,) = torch.autograd.grad(wanted, qkv, grad)
    # float64: a few dozen roundings of 1e-16
    torch.testing.assert_close(attention(qkv, LENGTHS), wanted, rtol=0, atol=1e-14)
    torch.testing.assert_close(attention(qkv, LENGTHS, grad), wanted_grad, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backward", [False, True])
def test_plain_arithmetic_passes_and_a_coarser_one_does_not(dtype, backward):
    qkv, grad = draw(dtype)
    given = grad if backward else None
    gate = Gate.of(qkv, LENGTHS, given)
    plain = attention(qkv, LENGTHS, given)
    assert gate.refuse(plain) is None
    assert "relative error" in gate.refuse(plain * (1 + 4 * torch.finfo(dtype).eps * 8))


def test_what_is_not_written_or_misshapen_does_not_pass():
    qkv, _ = draw(torch.float32)
    gate = Gate.of(qkv, LENGTHS)
    found = attention(qkv, LENGTHS)
    found[-1, -1, -1] = torch.nan
    assert "nan" in gate.refuse(found)
    found[-1, -1, -1] = torch.inf
    assert gate.refuse(found) is not None
    assert "shape" in gate.refuse(found[:-1])


def test_images_swapped_do_not_pass():
    qkv, _ = draw(torch.float32)
    gate = Gate.of(qkv, LENGTHS)
    assert gate.refuse(attention(qkv, (12, 1, 5))) is not None


def test_relative_error_is_of_the_norms():
    wanted = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert relative_error(torch.tensor([3.0, 4.5]), wanted) == pytest.approx(0.1)
