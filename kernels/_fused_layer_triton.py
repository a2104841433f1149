"""How the parts of a transformer layer around its attention run on an NVIDIA GPU.

A row of features is as wide as a few tiles, so that one program owns whole rows: LayerNorm,
bias, residual and activation happen on the chip, and no hidden activation is ever written out. A
row is held as a tuple of `CHUNKS` tiles of `CHUNK` columns, since a width such as 192 is no power
of two. The residual stream, statistics and sums are float32; only what enters a matrix product is
rounded to the type of the weights.
"""

import triton
import triton.language as tl


@triton.jit
def _operand(values, like, UPCAST: tl.constexpr):
    """Round to the type of the weights; the interpreter cannot multiply bfloat16."""
    values = values.to(like.dtype.element_ty)
    if UPCAST:
        values = values.to(tl.float32)
    return values


@triton.jit
def _weights(base, units, inputs, width, CHECK: tl.constexpr, UPCAST: tl.constexpr):
    """Load a tile of a matrix `(·, width)` of `torch.nn.Linear`, transposed: `(inputs, units)`.

    Inputs beyond the width are 0, if checked.
    """
    at = base + units[None, :] * width + inputs[:, None]
    if CHECK:
        values = tl.load(at, mask=(inputs < width)[:, None], other=0.0)
    else:
        values = tl.load(at)
    if UPCAST:
        values = values.to(tl.float32)
    return values


@triton.jit
def _row(base, places, exists, CHUNK: tl.constexpr, CHUNKS: tl.constexpr):
    """Load rows in float32, as a tuple of tiles `(places, CHUNK)`; zero where none exists."""
    parts = ()
    for i in tl.static_range(CHUNKS):
        column = i * CHUNK + tl.arange(0, CHUNK)
        at = base + places.to(tl.int64)[:, None] * (CHUNK * CHUNKS) + column[None, :]
        parts = parts + (tl.load(at, mask=exists[:, None], other=0.0).to(tl.float32),)
    return parts


@triton.jit
def _normalised(parts, gain, offset, eps, CHUNK: tl.constexpr, CHUNKS: tl.constexpr):
    """Normalise float32 rows as LayerNorm does, in two passes over what is on the chip."""
    total = tl.sum(parts[0], 1)
    for i in tl.static_range(1, CHUNKS):
        total += tl.sum(parts[i], 1)
    mean = total / (CHUNK * CHUNKS)
    centred = ()
    for i in tl.static_range(CHUNKS):
        centred = centred + (parts[i] - mean[:, None],)
    squares = tl.sum(centred[0] * centred[0], 1)
    for i in tl.static_range(1, CHUNKS):
        squares += tl.sum(centred[i] * centred[i], 1)
    scale = 1 / tl.sqrt(squares / (CHUNK * CHUNKS) + eps)
    result = ()
    for i in tl.static_range(CHUNKS):
        column = i * CHUNK + tl.arange(0, CHUNK)
        factor = tl.load(gain + column).to(tl.float32)
        shift = tl.load(offset + column).to(tl.float32)
        result = result + (centred[i] * scale[:, None] * factor[None, :] + shift[None, :],)
    return result


@triton.jit(do_not_specialize=["rows", "first_part", "parts"])
def norm_qkv(
    x, out, places, gain, offset, weight, bias, rows, first_part, parts, eps,
    CHUNK: tl.constexpr, CHUNKS: tl.constexpr, ROWS: tl.constexpr, STEP: tl.constexpr,
    STAGES: tl.constexpr, GATHER: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Normalise `ROWS` rows and project them to one part of queries, keys and values.

    Programs are numbered by rows, then by part, so that those that run together read the same rows.
    With `GATHER` the rows are those that `places` lists.
    """
    D: tl.constexpr = CHUNK * CHUNKS
    part = first_part + tl.program_id(0) % parts
    own = tl.program_id(0) // parts * ROWS + tl.arange(0, ROWS)
    exists = own < rows
    if GATHER:
        own = tl.load(places + own, mask=exists, other=0)
    before = _row(x, own, exists, CHUNK, CHUNKS)
    normal = _normalised(before, gain, offset, eps, CHUNK, CHUNKS)
    low = ()
    for i in tl.static_range(CHUNKS):
        low = low + (_operand(normal[i], weight, UPCAST),)
    inner = tl.arange(0, CHUNK)
    for j in tl.range(0, D, STEP, num_stages=STAGES):
        unit = part * D + j + tl.arange(0, STEP)
        acc = tl.zeros((ROWS, STEP), tl.float32) + tl.load(bias + unit).to(tl.float32)[None, :]
        for i in tl.static_range(CHUNKS):
            across = _weights(weight, unit, i * CHUNK + inner, D, False, UPCAST)
            acc = tl.dot(low[i], across, acc, input_precision=PRECISION)
        at = out + own.to(tl.int64)[:, None] * (3 * D) + unit[None, :]
        tl.store(at, acc.to(out.dtype.element_ty), mask=exists[:, None])


@triton.jit(do_not_specialize=["rows"])
def residual_mlp(
    x, mixed, out, out_weight, out_bias, gain1, offset1, up_weight, up_bias, down_weight,
    down_bias, gain2, offset2, rows, hidden, eps,
    CHUNK: tl.constexpr, CHUNKS: tl.constexpr, ROWS: tl.constexpr, STEP: tl.constexpr,
    STAGES: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Finish a layer for `ROWS` rows: output projection, residual, norm, MLP, residual, norm.

    The hidden activations are made `STEP` at a time and multiplied at once; the sums of the second
    product begin with its bias and the residual, so that these need no registers of their own.
    """
    D: tl.constexpr = CHUNK * CHUNKS
    own = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    exists = own < rows
    inner = tl.arange(0, CHUNK)
    attended = ()
    taken = _row(mixed, own, exists, CHUNK, CHUNKS)
    for i in tl.static_range(CHUNKS):
        attended = attended + (_operand(taken[i], out_weight, UPCAST),)
    summed = ()
    before = _row(x, own, exists, CHUNK, CHUNKS)
    for i in tl.static_range(CHUNKS):
        column = i * CHUNK + inner
        acc = before[i] + tl.load(out_bias + column).to(tl.float32)[None, :]
        for j in tl.static_range(CHUNKS):
            across = _weights(out_weight, column, j * CHUNK + inner, D, False, UPCAST)
            acc = tl.dot(attended[j], across, acc, input_precision=PRECISION)
        summed = summed + (acc,)
    normal = _normalised(summed, gain1, offset1, eps, CHUNK, CHUNKS)
    low = ()
    total = ()
    for i in tl.static_range(CHUNKS):
        low = low + (_operand(normal[i], up_weight, UPCAST),)
        shift = tl.load(down_bias + i * CHUNK + inner).to(tl.float32)
        total = total + (normal[i] + shift[None, :],)
    for j in tl.range(0, hidden, STEP, num_stages=STAGES):
        unit = j + tl.arange(0, STEP)
        bias = tl.load(up_bias + unit).to(tl.float32)
        active = tl.zeros((ROWS, STEP), tl.float32) + bias[None, :]
        for i in tl.static_range(CHUNKS):
            up = _weights(up_weight, unit, i * CHUNK + inner, D, False, UPCAST)
            active = tl.dot(low[i], up, active, input_precision=PRECISION)
        active = tl.maximum(active, 0.0, propagate_nan=tl.PropagateNan.ALL)
        active_low = _operand(active, down_weight, UPCAST)
        more = ()
        for i in tl.static_range(CHUNKS):
            down = _weights(down_weight, i * CHUNK + inner, unit, hidden, False, UPCAST)
            more = more + (tl.dot(active_low, down, total[i], input_precision=PRECISION),)
        total = more
    result = _normalised(total, gain2, offset2, eps, CHUNK, CHUNKS)
    for i in tl.static_range(CHUNKS):
        at = out + own.to(tl.int64)[:, None] * D + (i * CHUNK + inner)[None, :]
        tl.store(at, result[i].to(out.dtype.element_ty), mask=exists[:, None])
