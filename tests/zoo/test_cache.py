"""The cache of embeddings: what hits, what must miss, and files that are broken or in the way."""

import gc
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from zoo._cache import EmbeddingCache, cache_folder, image_hash
from zoo._dataset import Dataset
from zoo._embed import embed_many
from zoo._read import Image

PLAIN = zoo.Preprocessing(scaling="none", resize=None, crop=None, min_side=4)


class Scaled(zoo.Encoder):
    """Mean and largest pixel times a parameter; counts the images that it is asked for."""

    def __init__(self, factor=1.0, *, seed=None, sha256=None, **changes):
        fields = {"name": "scaled", "builder": "m:f", "summary": "s", "preprocessing": PLAIN}
        model = torch.nn.Module()
        model.factor = torch.nn.Parameter(torch.tensor(factor))
        super().__init__(zoo.EncoderSpec(**{**fields, **changes}), model=model)
        self.from_registry = True  # as zoo.load says: only what it made has a complete record
        self.seed, self.weights_sha256 = seed, sha256
        self.asked = 0

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        self.asked += len(batch)
        rows = [torch.stack([i.float().mean(), i.float().max()]) for i in batch.images()]
        return zoo.Features(torch.stack(rows) * self.model.factor.float(), batch.counts)


def images(count=5, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Image(rng.integers(0, 4096, (i % 3 + 1, 8, 9), dtype=np.uint16), tuple("abc"[: i % 3 + 1]))
        for i in range(count)
    ]


def embed(some, encoder, cache):
    metadata = pd.DataFrame({"image": [f"{i}.tif" for i in range(len(some))]})
    source = Dataset("plate", metadata, some.__getitem__)
    before = encoder.asked
    matrix = embed_many(source, [encoder], cache=cache)[0].matrix
    return matrix, encoder.asked - before


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "embeddings"


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ZOO_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "zoo"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "zoo"
    monkeypatch.setenv("ZOO_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    assert EmbeddingCache().folder == tmp_path / "mine" / "embeddings"
    assert EmbeddingCache(tmp_path / "here").folder == tmp_path / "here" / "embeddings"


@pytest.mark.parametrize("again", ["same object", "new object", "new process"])
def test_a_hit_gives_the_same_bits_and_asks_no_encoder(folder, again):
    cache, some = EmbeddingCache(), images(130)
    first, asked = embed(some, Scaled(), cache)
    assert asked == 130
    if again == "new object":
        cache = EmbeddingCache()
    if again == "new process":
        # Another process has its own hash seed and addresses: only the key in the name counts.
        code = "import sys; from zoo._cache import EmbeddingCache; print(EmbeddingCache().folder)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == str(folder), done.stderr
        cache = EmbeddingCache()
    second, asked = embed(some, Scaled(), cache)
    assert asked == 0
    assert second.dtype == np.float32
    assert first.tobytes() == second.tobytes()
