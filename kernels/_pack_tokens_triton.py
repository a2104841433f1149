"""How planes become packed tokens on an NVIDIA GPU: one kernel, from pixels to rows."""

import triton
import triton.language as tl

from ._fused_layer_triton import _operand, _weights


@triton.jit(do_not_specialize=["rows", "count", "sequences"])
def pack_tokens(
    pixels, out, planes, starts, weight, bias, position, channel, first, rows, count, sequences,
    patches, columns, plane_stride, row_stride, column_stride,
    PATCH: tl.constexpr, CHUNK: tl.constexpr, CHUNKS: tl.constexpr, ROWS: tl.constexpr,
    STEP: tl.constexpr, STAGES: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Project `ROWS` patches, add position and channel, and write them to their rows.

    The first programs own patches, numbered through all planes; the others write the `first` row
    of each sequence. Pixels are read in place, in any dtype and memory order.
    """
    D: tl.constexpr = CHUNK * CHUNKS
    PIXELS: tl.constexpr = PATCH * PATCH
    inner = tl.arange(0, CHUNK)
    programs = tl.cdiv(count * patches, ROWS)
    if tl.program_id(0) >= programs:
        sequence = (tl.program_id(0) - programs) * ROWS + tl.arange(0, ROWS)
        start = tl.load(starts + sequence, mask=sequence < sequences, other=0)
        # With room for more images, empty sequences begin after the last row.
        exists = (sequence < sequences) & (start < rows)
        for i in tl.static_range(CHUNKS):
            column = i * CHUNK + inner
            token = tl.load(first + column).to(out.dtype.element_ty)
            tl.store(
                out + start.to(tl.int64)[:, None] * D + column[None, :],
                tl.broadcast_to(token[None, :], (ROWS, CHUNK)),
                mask=exists[:, None],
            )
        return

    own = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    plane = own // patches
    patch = own % patches
    exists = plane < count
    row = tl.load(planes + 2 * plane, mask=exists, other=-1)
    place = tl.load(planes + 2 * plane + 1, mask=exists, other=0)
    exists = row >= 0
    corner = pixels + plane.to(tl.int64) * plane_stride
    corner += (patch // columns * PATCH).to(tl.int64) * row_stride
    corner += (patch % columns * PATCH).to(tl.int64) * column_stride

    total = ()
    for i in tl.static_range(CHUNKS):
        shift = tl.load(bias + i * CHUNK + inner).to(tl.float32)
        total = total + (tl.zeros((ROWS, CHUNK), tl.float32) + shift[None, :],)
    for j in tl.range(0, PIXELS, STEP, num_stages=STAGES):
        pixel = j + tl.arange(0, STEP)
        within = pixel // PATCH * row_stride + pixel % PATCH * column_stride
        mask = exists[:, None]
        if PIXELS % STEP:
            mask = mask & (pixel < PIXELS)[None, :]
        value = tl.load(corner[:, None] + within[None, :], mask=mask, other=0.0)
        value = _operand(value, weight, UPCAST)
        more = ()
        for i in tl.static_range(CHUNKS):
            across = _weights(weight, i * CHUNK + inner, pixel, PIXELS, PIXELS % STEP > 0, UPCAST)
            more = more + (tl.dot(value, across, total[i], input_precision=PRECISION),)
        total = more
    for i in tl.static_range(CHUNKS):
        column = i * CHUNK + inner
        where = tl.load(
            position + patch[:, None] * D + column[None, :], mask=exists[:, None], other=0.0
        ).to(tl.float32)
        which = tl.load(
            channel + place[:, None] * D + column[None, :], mask=exists[:, None], other=0.0
        ).to(tl.float32)
        at = out + (row + patch).to(tl.int64)[:, None] * D + column[None, :]
        tl.store(at, (total[i] + where + which).to(out.dtype.element_ty), mask=exists[:, None])
