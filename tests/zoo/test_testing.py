"""The conformance kit holds for our encoders and notices broken ones."""

import numpy as np
import pytest
import torch
from zoo.registry import registry

import zoo
from zoo.testing import check_encoder

FIXED = [n for n, s in sorted(registry().encoders.items()) if s.weights is None]


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXED)
def test_every_built_in_encoder_keeps_the_promises(name):
    checks = check_encoder(name)
    assert len(checks) == 10
    assert not [c for c in checks if c.problem]


def test_a_checkpoint_keeps_them_too(golden):
    checks = check_encoder(f"chadavit:{golden}")
    assert not [c for c in checks if c.skipped]


class Broken(zoo.Encoder):
    def __init__(self, fault):
        record = zoo.plugin.EncoderSpec(name="broken", builder="m:f", summary="s", embedding_size=2)
        super().__init__(record)
        self.fault, self.calls = fault, 0

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        self.calls += 1
        rows = torch.stack([p.mean().repeat(2) for p in batch.images()])
        match self.fault:
            case "width":
                rows = rows[:, :1]
            case "nan":
                rows[0, 0] = float("nan")
            case "random":
                rows = rows + self.calls
            case "batch":
                rows = rows - rows.mean(0) + len(rows)
            case "dark":
                rows = rows / (batch.planes.amax() > 0)
        return zoo.Features(rows, batch.counts)

    @property
    def outputs(self):
        return frozenset({"attention"} if "attention" in (self.fault or "") else ())

    def forward_attention(self, batch):
        off = 2 if self.fault == "attention sums" else 1
        found = []
        for c in batch.counts.tolist():
            groups = c + (self.fault != "attention shape")
            even = torch.full((1, 1, groups, groups), off / groups)
            found.append(zoo.Attention(even, torch.full((1, 1, c, 1, 1), 1 / (c + 1))))
        return found


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("width", "the record says 2"),
        ("nan", "NaN"),
        ("random", "the same images"),
        ("batch", "alone"),
        ("dark", "black images"),
        ("attention sums", "sums to 1 only within"),
        ("attention shape", "for an image of 1 channels"),
    ],
)
def test_broken_promises_are_listed(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_encoder(Broken(fault))


def test_a_sound_encoder_passes_and_skips_are_shown():
    checks = check_encoder(Broken(None))
    assert [c.skipped is not None for c in checks].count(True) == 4
    assert np.all([c.problem is None for c in checks])
