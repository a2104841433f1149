"""The layout of ragged batches: what kernels are told to do, and room for other batches."""

import random

import pytest
import torch
from zoo.kernels import RaggedPlan, _ragged_plan, ragged_attention
from zoo.kernels._ragged_plan import TILE

BATCHES = {
    "none": [],
    "one": [5],
    "empty": [0],
    "only empty": [0, 0, 0],
    "empty ones between": [0, 3, 0, 300, 0],
    "around a tile": [TILE - 1, TILE, TILE + 1, 1],
    "several tiles": [2 * TILE, 1, 5 * TILE - 1, 2 * TILE + 1],
    "equal": [7, 7, 7],
}


def drawn(seed):
    """Lengths of up to 20 sequences, some of them empty, some of several tiles."""
    draw = random.Random(seed)
    kinds = [lambda: 0, lambda: draw.randint(1, 30), lambda: draw.randint(1, 5 * TILE)]
    return [draw.choice(kinds)() for _ in range(draw.randint(0, 20))]


def work(entries):
    """Entries that are work, as `(sequence, first row, start, length)`."""
    return [entry for entry in entries.tolist() if entry[3]]


def assert_right(plan, lengths, rows):
    """Check the plan of sequences, whatever sequences are behind them, by counting rows."""
    lengths = [*lengths, *plan.lengths[len(lengths) :]]
    assert plan.lengths == tuple(lengths)
    assert plan.total == sum(lengths) == rows
    starts = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    assert plan.cu_seqlens.tolist() == starts
    covered = [0] * rows
    for sequence, first, start, length in work(plan.tiles):
        assert (start, length) == (starts[sequence], lengths[sequence])
        assert first % TILE == 0
        assert 0 <= first < length
        for row in range(first, min(first + TILE, length)):
            covered[start + row] += 1
    assert covered == [1] * rows
    firsts = [entry for entry in work(plan.tiles) if entry[1] == 0]
    assert work(plan.firsts) == firsts
    assert sorted(entry[0] for entry in firsts) == [i for i, n in enumerate(lengths) if n]
    longest_first = [entry[3] for entry in plan.tiles.tolist()]
    assert longest_first == sorted(longest_first, reverse=True)
    for name in ("cu_seqlens", "tiles", "firsts"):
        assert getattr(plan, name).dtype == torch.int32


@pytest.mark.parametrize("batch", BATCHES)
def test_every_row_is_in_one_tile(batch):
    lengths = BATCHES[batch]
    plan = RaggedPlan.from_lengths(lengths)
    assert_right(plan, lengths, sum(lengths))
    assert work(plan.tiles) == plan.tiles.tolist()  # without room no entry is empty
    assert work(plan.firsts) == plan.firsts.tolist()
    assert plan.tiles.shape[1:] == plan.firsts.shape[1:] == (4,)


@pytest.mark.parametrize("seed", range(20))
def test_every_row_is_in_one_tile_of_any_batch(seed):
    lengths = drawn(seed)
    plan = RaggedPlan.from_lengths(lengths)
    assert_right(plan, lengths, sum(lengths))
    again = RaggedPlan.from_cu_seqlens(plan.cu_seqlens, sum(lengths))
    for name in ("cu_seqlens", "tiles", "firsts"):
        assert torch.equal(getattr(again, name), getattr(plan, name))
    assert again.lengths == plan.lengths


def test_lengths_may_be_of_any_kind_of_whole_number():
    wanted = RaggedPlan.from_lengths([3, 0, 5])
    for lengths in ((3, 0, 5), torch.tensor([3, 0, 5]), torch.tensor([3, 0, 5]).numpy()):
        found = RaggedPlan.from_lengths(lengths)
        assert found.lengths == wanted.lengths
        assert all(type(n) is int for n in found.lengths)
        assert torch.equal(found.tiles, wanted.tiles)


@pytest.mark.parametrize("spare", [0, 1, TILE - 1, TILE, TILE + 1, 777])
@pytest.mark.parametrize("batch", BATCHES)
def test_room_is_filled_and_every_row_is_in_one_tile(batch, spare):
    lengths = BATCHES[batch]
    rows = sum(lengths) + spare
    plan = RaggedPlan.from_lengths(lengths, rows=rows, images=len(lengths) + spare % 3)
    assert_right(plan, lengths, rows)
    assert all(n <= TILE for n in plan.lengths[len(lengths) :])


@pytest.mark.parametrize("rows", [0, 1, TILE - 1, TILE, TILE + 1, 10 * TILE, 10 * TILE + 1])
@pytest.mark.parametrize("images", [1, 2, 9])
def test_shapes_depend_on_the_room_alone(rows, images):
    draw = random.Random(rows + images)
    shapes = set()
    # Cut at random places into at most so many; and the batch that needs the most entries.
    batches = [[], [rows], [0] * images, [1] * min(rows, images)]
    if rows >= images:
        awkward = [TILE * (rows // images // TILE) + 1] * images
        batches.append(awkward if sum(awkward) <= rows else [1] * images)
    for _ in range(40):
        cuts = sorted(draw.randint(0, rows) for _ in range(draw.randint(1, images)))
        batches.append([b - a for a, b in zip([0, *cuts], cuts, strict=False)])
    for lengths in batches:
        plan = RaggedPlan.from_lengths(lengths, rows=rows, images=images)
        assert_right(plan, lengths, rows)
        assert all(n <= TILE for n in plan.lengths[len(lengths) :])
        shapes.add((plan.cu_seqlens.shape, plan.tiles.shape, plan.firsts.shape))
    assert len(shapes) == 1


@pytest.mark.parametrize(
    ("lengths", "room", "message"),
    [
        ([3, 5], {"rows": 7, "images": 2}, r"2 sequences with 8 rows do not fit .*rows=7"),
        ([3, 5], {"rows": 9, "images": 1}, "do not fit into images=1"),
        ([0, 0], {"rows": 9, "images": 1}, "2 sequences with 0 rows do not fit"),
        ([], {"rows": -1, "images": 1}, "do not fit"),
        ([3], {"rows": 9}, "together or not at all"),
        ([3], {"images": 9}, "together or not at all"),
        ([3, -2], {"rows": 9, "images": 9}, "length -2"),
    ],
)
def test_room_that_cannot_be_is_refused(lengths, room, message):
    with pytest.raises(ValueError, match=message):
        RaggedPlan.from_lengths(lengths, **room)


@pytest.mark.parametrize("lengths", [[2**31], [2**30, 2**30], [2**31 - 1, 0, 1], [2**40]])
def test_more_rows_than_32_bits_count_are_refused(lengths):
    with pytest.raises(ValueError, match=rf"{sum(lengths)} rows, but 2\*\*31 - 1"):
        RaggedPlan.from_lengths(lengths)


def test_more_rows_of_room_than_32_bits_count_are_refused(monkeypatch):
    monkeypatch.setattr(_ragged_plan, "TILE", 2**28)  # for eight entries, not for 2**24
    with pytest.raises(ValueError, match="2147483648"):
        RaggedPlan.from_lengths([3], rows=2**31, images=1)


def test_as_many_rows_as_32_bits_count_are_fine():
    plan = RaggedPlan.from_lengths([TILE * 1000, 0])
    assert plan.cu_seqlens.tolist() == [0, TILE * 1000, TILE * 1000]
    assert len(plan.tiles) == 1000


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("backend", ["sdpa", "reference"])
def test_a_plan_takes_over_another_in_place(backend, first_only):
    draw = torch.Generator().manual_seed(0)
    qkv = torch.randn(300, 3, 2, 8, dtype=torch.float64, generator=draw)
    room = {"rows": 300, "images": 5}
    plan = RaggedPlan.from_lengths([100, 0, 30], **room)

    def attend(plan):
        return ragged_attention(
            qkv,
            plan.cu_seqlens,
            plan=plan,
            first_only=first_only,
            return_lse=True,
            backend=backend,
        )

    attend(plan)  # what it remembers of the old batch must go
    tensors = plan.cu_seqlens, plan.tiles, plan.firsts
    addresses = [t.data_ptr() for t in tensors]
    other = RaggedPlan.from_lengths([7, 7, 150, 1], **room)
    assert plan.copy_(other) is plan
    assert [t.data_ptr() for t in (plan.cu_seqlens, plan.tiles, plan.firsts)] == addresses
    assert_right(plan, [7, 7, 150, 1], 300)
    for found, wanted in zip(attend(plan), attend(other), strict=True):
        assert torch.equal(found, wanted)
    assert_right(other, [7, 7, 150, 1], 300)


def test_a_plan_of_other_room_is_not_taken_over():
    plan = RaggedPlan.from_lengths([5, 3], rows=20, images=3)
    before = [t.clone() for t in (plan.cu_seqlens, plan.tiles, plan.firsts)]
    for other in (
        RaggedPlan.from_lengths([5, 3], rows=20, images=4),
        RaggedPlan.from_lengths([5, 3], rows=20 + TILE, images=3),
        RaggedPlan.from_lengths([5, 3]),
    ):
        with pytest.raises(ValueError, match=r"differ in room: .*same rows= and images="):
            plan.copy_(other)
    assert plan.lengths[:2] == (5, 3)
    assert all(map(torch.equal, (plan.cu_seqlens, plan.tiles, plan.firsts), before))


def test_a_plan_with_as_many_entries_but_other_rows_is_not_taken_over():
    plan = RaggedPlan.from_lengths([5], rows=20, images=3)
    other = RaggedPlan.from_lengths([5], rows=21, images=3)
    with pytest.raises(ValueError, match="differ in room"):
        plan.copy_(other)


@pytest.mark.parametrize("backend", ["sdpa", "reference"])
def test_room_changes_no_result(backend):
    draw = torch.Generator().manual_seed(0)
    lengths = [5, 0, 130, 17]
    total = sum(lengths)
    qkv = torch.randn(total, 3, 2, 8, dtype=torch.float64, generator=draw)
    roomy = torch.cat([qkv, torch.full((200, 3, 2, 8), torch.nan)])
    plan = RaggedPlan.from_lengths(lengths, rows=total + 200, images=6)
    for first_only in (False, True):
        options = {"first_only": first_only, "return_lse": True, "backend": backend}
        found = ragged_attention(roomy, plan.cu_seqlens, plan=plan, **options)
        tight = RaggedPlan.from_lengths(lengths)
        wanted = ragged_attention(qkv, tight.cu_seqlens, plan=tight, **options)
        for mine, right in zip(found, wanted, strict=True):
            torch.testing.assert_close(mine[: len(right)], right, rtol=0, atol=1e-12)


def test_rows_that_are_not_the_plans_are_refused():
    plan = RaggedPlan.from_lengths([3, 4])
    for rows in (6, 8):
        with pytest.raises(ValueError, match=f"plan is for 7 rows, but qkv has {rows}"):
            ragged_attention(torch.zeros(rows, 3, 1, 16), plan.cu_seqlens, plan=plan)
