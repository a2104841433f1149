"""Crops and their packing."""

import numpy as np
import pytest
import torch

from zoo._training.batches import Waiting, batches, make_batch, plan
from zoo._training.images import survey
from zoo._training.settings import read_settings
from zoo._training.views import ASPECT, cut_views, draw_box

from .conftest import SMALL


def settings_of(**changes):
    return read_settings("tiny", None, {**SMALL, **changes})


def test_views_depend_on_seed_epoch_and_image_alone():
    planes = torch.rand(3, 48, 48)
    settings = settings_of()
    first = cut_views(planes, settings, 3, 5)
    cut_views(planes, settings, 0, 0)
    again = cut_views(planes, settings, 3, 5)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.planes, other.planes)
    for other in (
        cut_views(planes, settings, 4, 5),
        cut_views(planes, settings, 3, 6),
        cut_views(planes, settings_of(seed=1), 3, 5),
    ):
        assert not torch.equal(first[0].planes, other[0].planes)


def test_all_channels_share_a_box_and_each_has_its_own_intensity():
    ramp = torch.linspace(0, 1, 48).expand(48, 48)
    planes = torch.stack([ramp, ramp, ramp])
    same = cut_views(planes, settings_of(gain=0.0, shift=0.0), 0, 0)
    for view in same:
        assert torch.equal(view.planes[0], view.planes[1])
    changed = cut_views(planes, settings_of(gain=0.3, shift=0.1), 0, 0)[0].planes
    slopes = [(c.max() - c.min()).item() for c in changed]
    assert len({round(s, 4) for s in slopes}) == 3
    base = (same[0].planes[0].max() - same[0].planes[0].min()).item()
    assert all(0.7 * base <= s <= 1.3 * base for s in slopes)


def test_boxes_lie_within_the_image_and_keep_to_area_and_aspect():
    draw = np.random.default_rng(0)
    for height, width in ((64, 64), (40, 90), (17, 16)):
        for _ in range(300):
            top, left, rows, columns = draw_box(height, width, (0.25, 0.5), draw)
            assert 0 <= top <= height - rows
            assert 0 <= left <= width - columns
            assert ASPECT[0] * 0.8 < columns / rows < ASPECT[1] * 1.25
    assert draw_box(10, 200, (1.0, 1.0), draw) == (0, 95, 10, 10)


def test_channel_sampling_draws_anew_for_each_view():
    planes = torch.rand(6, 48, 48)
    views = cut_views(planes, settings_of(sample_channels=True, small_crops=20), 0, 0)
    shown = {tuple(view.channels.tolist()) for view in views}
    assert len(shown) > 5
    for view in views:
        assert len(view.planes) == len(view.channels) == len(set(view.channels.tolist()))
        assert view.channels.tolist() == sorted(view.channels.tolist())


def test_windows_keep_views_together():
    """All crops of an epoch come from one part of a large field."""
    ramp = torch.arange(400.0).expand(400, 400) / 400
    settings = settings_of(window=50, gain=0.0, shift=0.0, turn=False)
    for image in range(5):
        values = torch.cat([v.planes.flatten() for v in cut_views(ramp[None], settings, 0, image)])
        assert values.max() - values.min() <= 50 / 400


def test_a_batch_holds_the_sum_of_its_tokens_and_no_more(stripes):
    settings = settings_of(small_crops=3)
    images = survey(stripes, settings)
    planned = next(plan(images.counts, settings))
    batch = make_batch(images, planned, settings, 0, 1)
    channels = sum(images.counts[i] for i in planned.images)
    assert len(batch.large.planes) == 2 * channels
    assert len(batch.small.planes) == 3 * channels
    assert batch.large.size == (32, 32)
    assert batch.small.size == (16, 16)
    assert batch.large.counts.tolist() == [images.counts[i] for i in planned.images] * 2


def test_every_image_is_seen_once_an_epoch_and_orders_differ():
    settings = settings_of(steps=9, images=8)
    epochs = {}
    for step in plan([1] * 24, settings):
        epochs.setdefault(step.epoch, []).extend(step.images)
    assert [sorted(e) for e in epochs.values()] == [list(range(24))] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    late = list(plan([1] * 24, settings, first=5))
    assert late == list(plan([1] * 24, settings))[5:]


def test_a_token_budget_fills_batches():
    counts = [1, 2, 3, 4] * 6
    settings = settings_of(tokens=1000, images=64, steps=20)
    for step in plan(counts, settings):
        tokens = sum(2 * (1 + 16 * counts[i]) for i in step.images)
        assert tokens <= 1000
        assert len(step.images) >= 2


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_and_ranks_change_nothing(stripes, workers):
    settings = settings_of(workers=workers)
    images = survey(stripes, settings)
    whole = list(batches(images, settings, waiting=Waiting()))
    assert [b.planned.step for b in whole] == list(range(6))
    parts = [list(batches(images, settings, rank=r, world=2, waiting=Waiting())) for r in range(2)]
    for step, batch in enumerate(whole):
        seen = dict(zip(batch.images, batch.large.images(), strict=False))
        for rank in range(2):
            part = parts[rank][step]
            assert part.images == batch.planned.images[rank::2]
            for i, planes in zip(part.images, part.large.images(), strict=False):
                assert torch.equal(planes, seen[i])
