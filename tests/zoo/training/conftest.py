"""Small images of several channel counts, and settings that take seconds."""

import numpy as np
import pandas as pd
import pytest
import torch

import zoo

SMALL = {
    "depth": 2,
    "embed_dim": 32,
    "hidden_dim": 64,
    "patch_size": 8,
    "size": 32,
    "small_size": 16,
    "window": None,
    "steps": 6,
    "images": 8,
    "prototypes": 32,
    "head_hidden": 32,
    "head_bottleneck": 16,
}


def striped(seed=0, count=24, side=48, channels=(1, 2, 3)):
    """Images whose stripes are wide or narrow; wells of six images each."""
    draw = np.random.default_rng(seed)
    images, rows = [], []
    for i in range(count):
        wide = i % 2
        period = (16, 5)[wide]
        number = channels[i % len(channels)]
        phase = draw.uniform(0, 6, number)[:, None, None]
        wave = np.sin(2 * np.pi * np.arange(side)[None, None] / period + phase)
        noise = draw.normal(0, 0.3, (number, side, side))
        images.append((1000 + 300 * (wave + noise)).clip(0).astype(np.uint16))
        rows.append(
            {"image": f"image {i}", "stripe": ("wide", "narrow")[wide], "well": f"W{i // 6}"}
        )
    table = pd.DataFrame(rows)
    table["period"] = [16.0 + i / 100 if i % 2 == 0 else 5.0 + i / 100 for i in range(count)]
    return zoo.Dataset("stripes", table, lambda i: zoo.Image(images[i]))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums depend on the number of threads, which other tests change, in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def stripes():
    return striped()
