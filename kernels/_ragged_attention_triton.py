"""How ragged attention runs on an NVIDIA GPU: three Triton kernels.

Every program owns `OWN` rows of one image and one head, and goes through the rows of the same
image: queries against keys forward and for the gradient of the queries, keys against queries for
the gradients of keys and values. Nothing is added atomically and the order of every sum depends on
the length of the image alone, so results are bitwise reproducible and independent of the rest of
the batch.

Programs are numbered by tile of the work list, then by head, so that those that run together read
the same rows; a kernel that owns less than a whole tile has several programs for one. Every kernel
reads its entry of the work list itself: behind a function call PyTorch's compiler would take the
list for something that is written to.
"""

import triton
import triton.language as tl

LIMIT = tl.constexpr(2.0**64)
"""Largest row sum of anchored probabilities that is trusted."""


@triton.jit
def _exp2_by_fma(x):
    """Return 2**x with a relative error of 7.5e-5, without the exponential unit.

    2**round(x) goes into the exponent bits; 2**(x - round(x)) is a minimax cubic on ±1/2. Below
    -126 it stays at 2**-126; from 128 on, and for NaN, it is too large for any sum to be trusted.
    """
    x = tl.maximum(x, -126.0, propagate_nan=tl.PropagateNan.ALL)
    x = tl.minimum(x, 128.0, propagate_nan=tl.PropagateNan.ALL)
    shifted = x + 12582912.0  # 1.5 · 2**23: the low bits now hold round(x)
    f = x - (shifted - 12582912.0)
    power = 0.05517167 * f + 0.24261112
    power = power * f + 0.69326099
    power = power * f + 0.99992807
    bits = power.to(tl.int32, bitcast=True) + (shifted.to(tl.int32, bitcast=True) << 23)
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def _exp2(x, WIDTH: tl.constexpr, EMULATED: tl.constexpr):
    """Return 2**x; `EMULATED` eighths of the columns are computed without the exponential unit.

    Which columns is known to the compiler for each register, so nothing is computed twice.
    """
    if EMULATED == 0:
        return tl.exp2(x)
    column = tl.arange(0, WIDTH)[None, :]
    return tl.where(((column >> 3) & 7) < EMULATED, _exp2_by_fma(x), tl.exp2(x))


@triton.jit
def _rows(
    base, places, stride, length,
    D: tl.constexpr, WIDTH: tl.constexpr, CHECK: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Load rows of a head, `(places, WIDTH)`; zero beyond `length` (if checked) and beyond `D`.

    The interpreter cannot multiply bfloat16, so it is raised to float32 there.
    """
    column = tl.arange(0, WIDTH)
    at = base + places.to(tl.int64)[:, None] * stride + column[None, :]
    if CHECK and WIDTH > D:
        rows = tl.load(at, mask=(places < length)[:, None] & (column < D)[None, :], other=0.0)
    elif CHECK:
        rows = tl.load(at, mask=(places < length)[:, None], other=0.0)
    elif WIDTH > D:
        rows = tl.load(at, mask=(column < D)[None, :], other=0.0)
    else:
        rows = tl.load(at)
    if UPCAST:
        rows = rows.to(tl.float32)
    return rows


@triton.jit
def _values(head, part_stride):
    """Return where the values of a head are; twice the stride might need more than 32 bits."""
    return head + part_stride + part_stride


@triton.jit
def _store_rows(values, base, places, stride, length, D: tl.constexpr, WIDTH: tl.constexpr):
    column = tl.arange(0, WIDTH)
    at = base + places.to(tl.int64)[:, None] * stride + column[None, :]
    mask = (places < length)[:, None] & (column < D)[None, :]
    tl.store(at, values.to(base.dtype.element_ty), mask=mask)


@triton.jit
def _anchored_step(
    q, anchor, acc, total, head, part_stride, row_stride, places, length, scale,
    D: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr, CHECK: tl.constexpr,
    SUM_BY_DOT: tl.constexpr, EMULATED: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Add the keys at `places`, weighted by 2**(score - anchor)."""
    k = _rows(head + part_stride, places, row_stride, length, D, WIDTH, CHECK, UPCAST)
    zero = tl.zeros((q.shape[0], STEP), tl.float32)
    score = tl.fma(tl.dot(q, k.T, zero, input_precision=PRECISION), scale, -anchor[:, None])
    if CHECK:
        score = tl.where((places < length)[None, :], score, float("-inf"))
    p = _exp2(score, STEP, EMULATED)
    v = _rows(_values(head, part_stride), places, row_stride, length, D, WIDTH, CHECK, UPCAST)
    p_low = p.to(q.dtype)
    acc = tl.dot(p_low, v, acc, input_precision=PRECISION)
    if SUM_BY_DOT:  # sixteen equal columns, from the tensor cores
        ones = tl.full((STEP, 16), 1.0, q.dtype)
        total = tl.dot(p_low, ones, total, input_precision=PRECISION)
    else:
        total += tl.sum(p, 1)
    return acc, total


@triton.jit
def _largest_score(
    q, keys, places, row_stride, length, scale,
    D: tl.constexpr, WIDTH: tl.constexpr, OWN: tl.constexpr, STEP: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    k = _rows(keys, places, row_stride, length, D, WIDTH, True, UPCAST)
    zero = tl.zeros((OWN, STEP), tl.float32)
    score = tl.dot(q, k.T, zero, input_precision=PRECISION) * scale
    return tl.max(tl.where((places < length)[None, :], score, float("-inf")), 1)


@triton.jit
def _running_maximum(
    q, head, part_stride, row_stride, length, scale,
    D: tl.constexpr, WIDTH: tl.constexpr, OWN: tl.constexpr, STEP: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Return sums, row sums and maxima, right for scores of any range; slower."""
    highest = tl.full((OWN,), float("-inf"), tl.float32)
    total = tl.zeros((OWN,), tl.float32)
    acc = tl.zeros((OWN, WIDTH), tl.float32)
    for j in tl.range(0, length, STEP, num_stages=1):
        places = j + tl.arange(0, STEP)
        k = _rows(head + part_stride, places, row_stride, length, D, WIDTH, True, UPCAST)
        v = _rows(_values(head, part_stride), places, row_stride, length, D, WIDTH, True, UPCAST)
        zero = tl.zeros((OWN, STEP), tl.float32)
        score = tl.dot(q, k.T, zero, input_precision=PRECISION) * scale
        score = tl.where((places < length)[None, :], score, float("-inf"))
        higher = tl.maximum(highest, tl.max(score, 1))
        base = tl.where(higher == float("-inf"), 0.0, higher)  # no finite score so far
        shrink = tl.exp2(highest - base)
        p = tl.exp2(score - base[:, None])
        total = total * shrink + tl.sum(p, 1)
        acc = tl.dot(p.to(q.dtype), v, acc * shrink[:, None], input_precision=PRECISION)
        highest = higher
    return acc, total, highest


@triton.jit(do_not_specialize=["out_rows"])
def forward(
    qkv, out, lse, tiles, scale, row_stride, part_stride, head_stride, heads, out_rows,
    D: tl.constexpr, WIDTH: tl.constexpr, OWN: tl.constexpr, STEP: tl.constexpr,
    TAIL: tl.constexpr, STAGES: tl.constexpr, FIRST_ONLY: tl.constexpr,
    SUM_BY_DOT: tl.constexpr, EMULATED: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Compute `OWN` rows of the output and their log-sum-exp, for one head.

    `scale` includes log2(e), so that all exponentials are powers of two. A running maximum would
    cost more instructions than the exponentials; instead each row is anchored to its largest score
    among a few keys, and only if a row sum turns out too large is everything done again with
    running maxima.
    """
    h = tl.program_id(0) % heads
    item = tiles + 4 * (tl.program_id(0) // heads)
    sequence, first, start, length = (
        tl.load(item), tl.load(item + 1), tl.load(item + 2), tl.load(item + 3)
    )  # fmt: skip
    first += tl.program_id(1) * OWN
    if first >= length:
        return
    start = tl.cast(start, tl.int64)
    head = qkv + start * row_stride + tl.cast(h, tl.int64) * head_stride
    own = first + tl.arange(0, OWN)
    queries = length
    if FIRST_ONLY:
        queries = 1
    q = _rows(head, own, row_stride, queries, D, WIDTH, True, UPCAST)

    full = (length - 1) // STEP * STEP  # at least one key is left for the tail
    anchor = _largest_score(
        q, head + part_stride, full + tl.arange(0, TAIL), row_stride, length, scale,
        D, WIDTH, OWN, TAIL, PRECISION, UPCAST,
    )  # fmt: skip

    acc = tl.zeros((OWN, WIDTH), tl.float32)
    totals = tl.zeros((OWN, 16) if SUM_BY_DOT else (OWN,), tl.float32)
    for j in tl.range(0, full, STEP, num_stages=STAGES):
        acc, totals = _anchored_step(
            q, anchor, acc, totals, head, part_stride, row_stride, j + tl.arange(0, STEP), length,
            scale, D, WIDTH, STEP, False, SUM_BY_DOT, EMULATED, PRECISION, UPCAST,
        )  # fmt: skip
    for j in tl.range(full, length, TAIL, num_stages=1):
        acc, totals = _anchored_step(
            q, anchor, acc, totals, head, part_stride, row_stride, j + tl.arange(0, TAIL), length,
            scale, D, WIDTH, TAIL, True, SUM_BY_DOT, 0, PRECISION, UPCAST,
        )  # fmt: skip
    total = tl.sum(totals, 1) / 16 if SUM_BY_DOT else totals

    # The key of the anchor alone contributes 1, unless its score is too large for such digits.
    trusted = (total > 0.5) & (total < LIMIT) & (tl.sum(tl.abs(acc), 1) < float("inf"))
    if tl.sum(trusted.to(tl.int32), 0) < OWN:
        acc, total, anchor = _running_maximum(
            q, head, part_stride, row_stride, length, scale,
            D, WIDTH, OWN, STEP, PRECISION, UPCAST,
        )  # fmt: skip

    stride = heads * D
    at = start
    if FIRST_ONLY:
        at = tl.cast(sequence, tl.int64)
    target = out + at * stride + h * D
    _store_rows(acc / total[:, None], target, own, stride, queries, D, WIDTH)
    row = tl.cast(h, tl.int64) * out_rows + at + own
    tl.store(lse + row, anchor + tl.log2(total), mask=own < queries)


@triton.jit
def _query_gradient_step(
    q, grad, lse, delta, acc, head, part_stride, row_stride, places, length, scale,
    D: tl.constexpr, WIDTH: tl.constexpr, OWN: tl.constexpr, STEP: tl.constexpr,
    CHECK: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    k = _rows(head + part_stride, places, row_stride, length, D, WIDTH, CHECK, UPCAST)
    v = _rows(_values(head, part_stride), places, row_stride, length, D, WIDTH, CHECK, UPCAST)
    zero = tl.zeros((OWN, STEP), tl.float32)
    score = tl.fma(tl.dot(q, k.T, zero, input_precision=PRECISION), scale, -lse[:, None])
    if CHECK:
        score = tl.where((places < length)[None, :], score, float("-inf"))
    p = tl.exp2(score)
    ds = p * (tl.dot(grad, v.T, zero, input_precision=PRECISION) - delta[:, None])
    return tl.dot(ds.to(q.dtype), k, acc, input_precision=PRECISION)


@triton.jit(do_not_specialize=["out_rows"])
def query_gradient(
    qkv, out, lse, grad_out, grad_lse, delta, grad_qkv, tiles, scale,
    row_stride, part_stride, head_stride, heads, out_rows,
    D: tl.constexpr, WIDTH: tl.constexpr, OWN: tl.constexpr, STEP: tl.constexpr,
    TAIL: tl.constexpr, STAGES: tl.constexpr, FIRST_ONLY: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Compute `OWN` rows of the gradient of the queries, and their `delta`, for one head.

    `delta` is the row sum of gradient times output (less the gradient of the log-sum-exp): with it
    the gradient of a score is p · (gradient · value - delta).
    """
    h = tl.program_id(0) % heads
    item = tiles + 4 * (tl.program_id(0) // heads)
    sequence, first, start, length = (
        tl.load(item), tl.load(item + 1), tl.load(item + 2), tl.load(item + 3)
    )  # fmt: skip
    first += tl.program_id(1) * OWN
    if first >= length:
        return
    start = tl.cast(start, tl.int64)
    head = qkv + start * row_stride + tl.cast(h, tl.int64) * head_stride
    own = first + tl.arange(0, OWN)
    queries = length
    at = start
    if FIRST_ONLY:
        queries = 1
        at = tl.cast(sequence, tl.int64)
    stride = heads * D
    target = at * stride + h * D
    row = tl.cast(h, tl.int64) * out_rows + at + own

    q = _rows(head, own, row_stride, queries, D, WIDTH, True, UPCAST)
    grad = _rows(grad_out + target, own, stride, queries, D, WIDTH, True, UPCAST)
    o = _rows(out + target, own, stride, queries, D, WIDTH, True, UPCAST)
    d = tl.sum(grad.to(tl.float32) * o.to(tl.float32), 1)
    d -= tl.load(grad_lse + row, mask=own < queries, other=0.0) * 1.4426950408889634
    tl.store(delta + row, d, mask=own < queries)
    log = tl.load(lse + row, mask=own < queries, other=float("inf"))

    acc = tl.zeros((OWN, WIDTH), tl.float32)
    full = length // STEP * STEP
    for j in tl.range(0, full, STEP, num_stages=STAGES):
        acc = _query_gradient_step(
            q, grad, log, d, acc, head, part_stride, row_stride, j + tl.arange(0, STEP), length,
            scale, D, WIDTH, OWN, STEP, False, PRECISION, UPCAST,
        )  # fmt: skip
    for j in tl.range(full, length, TAIL, num_stages=1):
        acc = _query_gradient_step(
            q, grad, log, d, acc, head, part_stride, row_stride, j + tl.arange(0, TAIL), length,
            scale, D, WIDTH, OWN, TAIL, True, PRECISION, UPCAST,
        )  # fmt: skip
    # 1/log2(e): the scale of the scores, without the factor for powers of two
    acc = acc * (scale * 0.6931471805599453)
    goal = grad_qkv + start * (3 * stride) + h * D
    _store_rows(acc, goal, own, 3 * stride, queries, D, WIDTH)


@triton.jit
def _key_gradient_step(
    k, v, acc_k, acc_v, head, row_stride, grad_out, stride, lse, delta, places, queries, scale,
    D: tl.constexpr, WIDTH: tl.constexpr, OWN: tl.constexpr, STEP: tl.constexpr,
    CHECK: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    q = _rows(head, places, row_stride, queries, D, WIDTH, CHECK, UPCAST)
    grad = _rows(grad_out, places, stride, queries, D, WIDTH, CHECK, UPCAST)
    if CHECK:  # rows that do not exist get the probability 0
        log = tl.load(lse + places, mask=places < queries, other=float("inf"))
        d = tl.load(delta + places, mask=places < queries, other=0.0)
    else:
        log = tl.load(lse + places)
        d = tl.load(delta + places)
    zero = tl.zeros((OWN, STEP), tl.float32)
    score = tl.fma(tl.dot(k, q.T, zero, input_precision=PRECISION), scale, -log[None, :])
    p = tl.exp2(score)  # keys × queries
    acc_v = tl.dot(p.to(k.dtype), grad, acc_v, input_precision=PRECISION)
    ds = p * (tl.dot(v, grad.T, zero, input_precision=PRECISION) - d[None, :])
    acc_k = tl.dot(ds.to(k.dtype), q, acc_k, input_precision=PRECISION)
    return acc_k, acc_v


@triton.jit(do_not_specialize=["out_rows"])
def key_gradient(
    qkv, lse, delta, grad_out, grad_qkv, tiles, scale,
    row_stride, part_stride, head_stride, heads, out_rows,
    D: tl.constexpr, WIDTH: tl.constexpr, OWN: tl.constexpr, STEP: tl.constexpr,
    TAIL: tl.constexpr, STAGES: tl.constexpr, FIRST_ONLY: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Compute `OWN` rows of the gradients of keys and of values, for one head."""
    h = tl.program_id(0) % heads
    item = tiles + 4 * (tl.program_id(0) // heads)
    sequence, first, start, length = (
        tl.load(item), tl.load(item + 1), tl.load(item + 2), tl.load(item + 3)
    )  # fmt: skip
    first += tl.program_id(1) * OWN
    if first >= length:
        return
    start = tl.cast(start, tl.int64)
    head = qkv + start * row_stride + tl.cast(h, tl.int64) * head_stride
    own = first + tl.arange(0, OWN)
    queries = length
    at = start
    if FIRST_ONLY:
        queries = 1
        at = tl.cast(sequence, tl.int64)
    stride = heads * D
    grad_rows = grad_out + at * stride + h * D
    row = tl.cast(h, tl.int64) * out_rows + at

    k = _rows(head + part_stride, own, row_stride, length, D, WIDTH, True, UPCAST)
    v = _rows(_values(head, part_stride), own, row_stride, length, D, WIDTH, True, UPCAST)
    acc_k = tl.zeros((OWN, WIDTH), tl.float32)
    acc_v = tl.zeros((OWN, WIDTH), tl.float32)
    full = queries // STEP * STEP
    for j in tl.range(0, full, STEP, num_stages=STAGES):
        acc_k, acc_v = _key_gradient_step(
            k, v, acc_k, acc_v, head, row_stride, grad_rows, stride, lse + row, delta + row,
            j + tl.arange(0, STEP), queries, scale,
            D, WIDTH, OWN, STEP, False, PRECISION, UPCAST,
        )  # fmt: skip
    for j in tl.range(full, queries, TAIL, num_stages=1):
        acc_k, acc_v = _key_gradient_step(
            k, v, acc_k, acc_v, head, row_stride, grad_rows, stride, lse + row, delta + row,
            j + tl.arange(0, TAIL), queries, scale,
            D, WIDTH, OWN, TAIL, True, PRECISION, UPCAST,
        )  # fmt: skip
    goal = grad_qkv + start * (3 * stride) + h * D
    acc_k = acc_k * (scale * 0.6931471805599453)
    _store_rows(acc_k, goal + stride, own, 3 * stride, length, D, WIDTH)
    _store_rows(acc_v, goal + 2 * stride, own, 3 * stride, length, D, WIDTH)
