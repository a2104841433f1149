"""What a caller has set for all of PyTorch changes no embedding."""

import locale
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import zoo

ENCODERS = ("chadavit-untrained", "untrained:resnet18/mean", "pixel-statistics", "texture-mean")


@contextmanager
def default_dtype(kind):
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def matmul_precision(name):
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


@contextmanager
def decimal_comma():
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        locale.setlocale(locale.LC_NUMERIC, "de_DE.UTF-8")
    except locale.Error:
        pytest.skip("no German locale here")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)


SETTINGS = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "meta": lambda: default_device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "low precision": lambda: matmul_precision("medium"),
    "no grad": torch.no_grad,
    "inference": torch.inference_mode,
    "decimal comma": decimal_comma,
}


def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (2, 64, 64), dtype=np.uint8) for _ in range(2)]


@pytest.fixture(scope="module")
def plain():
    return {name: zoo.load(name, device="cpu").encode(images()).numpy() for name in ENCODERS}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_an_embedding_is_the_same_to_the_bit(plain, setting, name):
    with SETTINGS[setting]():
        found = zoo.load(name, device="cpu").encode(images())
    assert found.embedding.dtype == torch.float32
    assert np.array_equal(found.numpy(), plain[name])
    assert torch.get_default_dtype() == torch.float32, "and the setting is the caller's again"


@pytest.mark.parametrize("setting", ["float64", "autocast", "meta"])
def test_a_network_that_was_loaded_before_and_a_packed_batch_too(plain, setting):
    encoder = zoo.load("chadavit-untrained", device="cpu")
    planes = torch.cat([encoder.prepare(image, "image") for image in images()])
    batch = zoo.ImageBatch(planes, torch.tensor([2, 2]))
    wanted = encoder.encode(batch, preprocess=False).numpy()
    with SETTINGS[setting]():
        found = encoder.encode(batch, preprocess=False)
    assert np.array_equal(found.numpy(), wanted)
    assert np.allclose(wanted, plain["chadavit-untrained"], atol=1e-6)


def test_what_was_loaded_in_inference_mode_can_be_trained():
    with torch.inference_mode():
        encoder = zoo.load("chadavit-untrained", device="cpu")
    assert not next(encoder.model.parameters()).is_inference()


@pytest.mark.parametrize("setting", ["float64", "autocast", "low precision"])
def test_neighbours_by_pytorch_are_the_same(setting):
    rows = np.random.default_rng(0).normal(size=(300, 24)).astype("f4")
    near, distance = zoo.metrics.nearest_neighbours(rows, 5, device="cpu")
    with SETTINGS[setting]():
        again, distances = zoo.metrics.nearest_neighbours(rows, 5, device="cpu")
    assert np.array_equal(near, again)
    assert np.array_equal(distance, distances)
