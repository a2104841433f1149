"""Nothing compiles again for another batch: no number that a batch decides is compiled in."""

import pytest

triton = pytest.importorskip("triton")

from sass import SCALARS, STRIDES  # noqa: E402
from zoo.kernels import _channel_attention_triton as channels  # noqa: E402
from zoo.kernels import _fused_layer_triton as layers  # noqa: E402
from zoo.kernels import _pack_tokens_triton as packing  # noqa: E402
from zoo.kernels import _ragged_attention_triton as attention  # noqa: E402

KERNELS = (
    *(attention.forward, attention.query_gradient, attention.key_gradient),
    *(layers.norm_qkv, layers.residual_mlp, packing.pack_tokens, channels.channel_mass),
)
# Of a network, or of images of one size.
FIXED = {*STRIDES, "column_stride", "heads", "patches", "columns"} - {"lse_stride"}


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.__name__)
def test_what_a_batch_decides_is_not_specialised(kernel):
    numbers = {p.name for p in kernel.params if SCALARS.get(p.name) == "i32"}
    assert numbers - FIXED
    for parameter in kernel.params:
        wanted = parameter.name in numbers - FIXED
        assert parameter.do_not_specialize == wanted, parameter.name
