"""Batches that are timed hold what their names say."""

from collections import Counter

import pytest
import torch
from attention_cases import HEADS, Case, cases
from workloads import MIXES, channel_counts, tokens


@pytest.mark.parametrize("mix", MIXES)
def test_shares_are_per_cent_of_one_to_ten_channels(mix):
    assert sum(MIXES[mix].values()) == 100
    assert set(MIXES[mix]) <= set(range(1, 11))


def test_batches_follow_their_mix():
    assert channel_counts("3 channels", 8) == (3,) * 8
    assert sorted(channel_counts("uniform 1-10", 10)) == list(range(1, 11))
    for images in (64, 1000):
        found = Counter(channel_counts("long-tailed", images))
        assert found.total() == images
        for channels, share in MIXES["long-tailed"].items():
            assert abs(found[channels] - share * images / 100) <= 1
    assert max(channel_counts("long-tailed", 64)) == 10


def test_batches_are_shuffled_and_always_the_same():
    counts = channel_counts("uniform 1-10", 64)
    assert list(counts) != sorted(counts)
    assert counts == channel_counts("uniform 1-10", 64)


def test_tokens_of_an_image():
    assert tokens((1, 3, 10)) == (197, 589, 1961)


def test_scores_are_pairs_of_tokens_of_one_image():
    case = Case("1 channel", 2, 96, torch.float32, "cpu")
    image = torch.arange(2).repeat_interleave(197)
    pairs = image[:, None] == image
    assert case.scores == 2 * pairs.sum().item()


def test_inputs_differ_by_seed_and_are_never_zero():
    case = Case("1 channel", 1, 16, torch.bfloat16, "cpu")
    qkv, grad = case.inputs(0)
    assert (qkv.shape, grad.shape) == ((197, 3, 12, 16), (197, 12, 16))
    assert qkv.is_contiguous()
    assert grad.is_contiguous()
    assert qkv.dtype == torch.bfloat16
    assert torch.equal(qkv, case.inputs(0)[0])
    assert not torch.equal(qkv, case.inputs(1)[0])
    assert (qkv == 0).float().mean() < 0.01


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_cases_can_be_picked_by_name(device):
    names = [str(case) for case in cases(device)]
    assert len(names) == len(set(names))
    assert not any(" " in name for name in names)
    assert {case.size for case in cases(device)} == set(HEADS)


def test_a_gpu_is_timed_on_every_workload_and_batch_size():
    timed = {(c.workload, c.images) for c in cases("cuda") if c.size == 16 and not c.backward}
    assert {(name, n) for name in MIXES for n in (8, 64)} <= timed
    assert {c.images for c in cases("cuda")} == {1, 8, 64}
    assert {c.dtype for c in cases("cuda")} == {torch.bfloat16, torch.float16, torch.float32}
