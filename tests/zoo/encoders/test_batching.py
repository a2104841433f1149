"""Which images go through an encoder together, and what happens when memory runs out."""

import warnings

import numpy as np
import pytest
import torch

import zoo
from zoo import errors
from zoo._encoders.batching import PlaneBudget, run_in_batches

GPU_ERROR = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
HOST_ERROR = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")


def groups(shapes, planes, most=None):
    budget = PlaneBudget(planes)
    return [m for m, _ in run_in_batches(shapes, lambda m: m, budget=budget, most=most)]


def test_groups_hold_as_many_tokens_whatever_the_channel_counts():
    shapes = [(c, 224, 224) for c in [1] * 20 + [10] * 4]
    found = groups(shapes, 10)
    assert [sum(shapes[i][0] for i in m) for m in found] == [10] * 6
    assert sorted(i for m in found for i in m) == list(range(24))


def test_groups_are_of_one_size_and_smaller_for_larger_images():
    shapes = [(2, 224, 224), (2, 448, 448), (2, 224, 224), (2, 448, 448)]
    assert groups(shapes, 8) == [[0, 2], [1], [3]]
    assert groups(shapes, 16) == [[0, 2], [1, 3]]


def test_an_image_beyond_the_budget_goes_alone():
    assert groups([(9, 224, 224), (1, 224, 224)], 4) == [[1], [0]]


def test_a_number_of_planes_bounds_whatever_the_pixels():
    assert groups([(2, 32, 32)] * 3, 1000, most=4) == [[0, 1], [2]]


def limited(planes, error, calls):
    """Run out of memory beyond so many images at once."""

    def run(members):
        calls.append(len(members))
        if len(members) > planes:
            raise error
        return members

    return run


@pytest.mark.parametrize("error", [GPU_ERROR, HOST_ERROR, MemoryError()])
def test_what_is_too_much_goes_again_in_halves_and_is_said_once(error):
    shapes, calls, budget = [(1, 224, 224)] * 32, [], PlaneBudget(32)
    with pytest.warns(UserWarning, match="out of memory with 32 planes") as said:
        found = list(run_in_batches(shapes, limited(5, error, calls), budget=budget))
    assert calls == [32, 16, 8, *[4] * 8]
    assert [i for m, _ in found for i in m] == list(range(32))
    assert len([w for w in said if w.category is UserWarning]) == 1
    with warnings.catch_warnings():  # the budget stays, and nothing more is said
        warnings.simplefilter("error")
        list(run_in_batches(shapes, limited(5, error, calls), budget=budget))
    assert calls[11:] == [4] * 8


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def run(members):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        list(run_in_batches([(1, 8, 8)] * 2, run, budget=PlaneBudget(2)))


def run_short_of_memory(monkeypatch, encoder):
    """Let an encoder run out of memory with more than three planes at once."""
    forward = type(encoder).forward

    def scarce(self, batch, **options):
        if len(batch.planes) > 3:
            raise GPU_ERROR
        return forward(self, batch, **options)

    monkeypatch.setattr(type(encoder), "forward", scarce)


def test_encoding_goes_on_with_less_and_gives_the_same(monkeypatch):
    encoder = zoo.load("chadavit-untrained", device="cpu")
    images = [torch.rand(c, 32, 32) for c in (1, 2, 3, 1)]
    wanted = encoder.encode(images, preprocess=False).embedding
    run_short_of_memory(monkeypatch, encoder)
    with pytest.warns(UserWarning, match="out of memory"):
        found = encoder.encode(images, preprocess=False)
    torch.testing.assert_close(found.embedding, wanted)
    with pytest.raises(
        errors.ImageError,
        match="5 channels of 32 × 48 pixels, 31 tokens, is too large for the memory",
    ):
        encoder.encode([*images, torch.rand(5, 32, 48)], preprocess=False)


@pytest.fixture(scope="module")
def encoder():
    return zoo.load("chadavit-untrained", device="cpu")


def whole(counts=(2, 1, 3), dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    planes = torch.rand(sum(counts), 32, 48, generator=draw).to(dtype)
    return zoo.ImageBatch(planes, torch.tensor(counts))


@pytest.mark.parametrize("asked", [{}, {"tokens": True}, {"channels": True}, {"layer": 3}])
def test_a_batch_is_encoded_as_it_lies(encoder, monkeypatch, asked):
    batch = whole()
    wanted = encoder.encode(batch.images(), preprocess=False, **asked)
    monkeypatch.setattr("zoo._encoders.run.run_in_batches", None)  # not needed
    done = []
    found = encoder.encode(
        batch, preprocess=False, progress=lambda *step: done.append(step), **asked
    )
    assert done == [("encoding", 3, 3)]
    for name in ("embedding", "counts", "channels", "tokens", "token_offsets"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


def test_a_large_batch_is_encoded_in_parts_of_consecutive_images(encoder, monkeypatch):
    batch = whole()
    wanted = encoder.encode(batch, preprocess=False, tokens=True)
    monkeypatch.setattr(encoder, "_budget", PlaneBudget(1))
    encoder._budget.pixels = 3 * 32 * 48
    seen = []
    forward = type(encoder).forward
    monkeypatch.setattr(
        type(encoder),
        "forward",
        lambda self, part, **asked: (
            seen.append(part.counts.tolist()) or forward(self, part, **asked)
        ),
    )
    found = encoder.encode(batch, preprocess=False, tokens=True)
    assert seen == [[2, 1], [3]]
    torch.testing.assert_close(found.embedding, wanted.embedding)
    torch.testing.assert_close(found.tokens, wanted.tokens)


def test_parts_of_a_batch_keep_everything_that_belongs_to_them():
    batch = zoo.ImageBatch(
        torch.rand(4, 8, 8),
        torch.tensor([1, 2, 1]),
        (("DNA",), None, ("GFP",)),
        torch.tensor([3, 0, 1, 2]),
        (None, torch.ones(8, 8, dtype=torch.int64), None),
        (None, np.array([0]), None),
    )
    part = batch.part(1, 3)
    assert part.planes.data_ptr() == batch.planes[1].data_ptr()
    assert part.counts.tolist() == [2, 1]
    assert part.stains == (None, ("GFP",))
    assert part.channel_index.tolist() == [0, 1, 2]
    assert part.masks[0] is batch.masks[1]
    assert part.types[0] is batch.types[1]


def test_a_batch_may_lie_in_memory_as_it_likes_and_be_of_any_floating_type(encoder):
    batch = whole()
    wanted = encoder.encode(batch, preprocess=False).embedding
    turned = batch.planes.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert not turned.is_contiguous()
    found = encoder.encode(zoo.ImageBatch(turned, batch.counts), preprocess=False)
    torch.testing.assert_close(found.embedding, wanted)
    for dtype, limit in [(torch.float64, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]:
        found = encoder.encode(whole(dtype=dtype), preprocess=False).embedding
        assert found.dtype == torch.float32
        assert (found - wanted).norm() < limit * wanted.norm()


def test_a_batch_with_a_bad_pixel_is_named_by_image_and_channel(encoder):
    batch = whole()
    batch.planes[4, 3, 3] = torch.nan
    for images in (batch, batch.images()):
        with pytest.raises(
            errors.ImageError, match="image 2 has NaN or infinite pixels in channel 1"
        ):
            encoder.encode(images, preprocess=False)


def test_a_batch_that_does_not_fit_is_refused_like_its_images(encoder):
    with pytest.raises(errors.ImageError, match="image 1 has 11 channels"):
        encoder.encode(whole((1, 11)), preprocess=False)
    odd = zoo.ImageBatch(torch.rand(2, 32, 49), torch.tensor([2]))
    with pytest.raises(errors.ImageError, match="images are 32 × 49 pixels"):
        encoder.encode(odd, preprocess=False)
    with pytest.raises(errors.ImageError, match="at least one image"):
        encoder.encode(zoo.ImageBatch(torch.rand(0, 32, 32), torch.tensor([], dtype=torch.int64)))


def test_a_batch_too_large_for_memory_goes_in_parts(encoder, monkeypatch):
    batch = whole()
    wanted = encoder.encode(batch, preprocess=False).embedding
    run_short_of_memory(monkeypatch, encoder)
    with pytest.warns(UserWarning, match="out of memory"):
        found = encoder.encode(batch, preprocess=False).embedding
    torch.testing.assert_close(found, wanted)
    encoder.to("cpu")  # and with it a budget that has seen no such thing
