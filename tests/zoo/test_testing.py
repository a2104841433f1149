"""The conformance kit holds for our encoders, and notices every fault at the check of its kind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sabotaged
import torch
from safetensors.torch import save_file
from zoo.registry import registry

import zoo
from zoo.testing import check_encoder
from zoo.testing._kit import NAMES
from zoo.testing._promise import PROMISES
from zoo.testing._subject import Subject
from zoo.testing._worker import moved_clock

FIXED = [n for n, s in sorted(registry().encoders.items()) if s.weights is None]

# Fault, and the one check that must fail.
NOTICED = {
    "noise 1e-6": "repeatable",
    "noise 1e-2": "repeatable",
    "drifts from the 20th call": "repeatable",
    "random preprocessing": "repeatable",
    "memory by shape": "repeatable",
    "random parameters at each load": "loading",
    "the seed is ignored": "seed",
    "depends on the process": "processes",
    "depends on the hour": "processes",
    "depends on the hash seed": "processes",
    "one output buffer": "batch",
    "batch norm in train mode": "batch",
    "subtracts the batch mean": "batch",
    "subtracts the batch mean from 8 up": "batch",
    "mixes 5e-5 of the neighbour": "batch",
    "mixes images of 4 channels and more": "batch",
    "depends on more than 16 planes": "batch",
    "adds the place": "order",
    "reversed": "order",
    "swaps the last two from 5 up": "order",
    "sorted": "order",
    "IndexError from 4 channels up": "range",
    "NaN from 4 channels up": "range",
    "zeros from 4 channels up": "range",
    "refuses 11 channels": "range",
    "first channel only": "channels-used",
    "constant": "images",
    "all zeros": "images",
    "7 columns": "shape",
    "an axis too many": "shape",
    "columns by channels": "shape",
    "a row too many": "shape",
    "a row too few": "shape",
    "an array": "shape",
    "wider for large images": "sizes",
    "one size only": "sizes",
    "refuses all but uint8": "pixels",
    "no bfloat16": "half",
    "to makes it float64": "device",
    "rounds to bfloat16": "precision",
    "rounds to bfloat16 inside": "precision",
    "all NaN": "finite",
    "one infinite number": "finite",
    "NaN for flat channels": "extremes",
    "NaN for one black channel": "extremes",
    "NaN for black images": "extremes",
    "NaN for dim images": "extremes",
    "frozen, no_grad": "gradients",
    "lambda inside": "pickling",
    "open file inside": "pickling",
    "channels are NaN": "channels",
    "channels have other columns": "channels",
    "channels are reversed": "channels",
    "channels of an image are reversed": "channels",
    "channels are zeros too": "channels",
    "channels lack a row": "channels",
    "tokens are NaN": "tokens",
    "offsets do not rise": "tokens",
    "layer is ignored": "layer",
    "attention is not written": "attention",
    "KeyError for stains": "stains",
    "random for stains": "stains",
    "changes the given planes": "inputs",
    "seeds the global generators": "state",
    "sets the default type": "state",
    "sets an environment variable": "state",
    "prints": "silent",
    "connects": "network",
}
# Fault, and why no check fails: `encode` makes it good, so that no user meets it.
HARMLESS = {
    "float64": "encode returns float32",
    "float16": "encode returns float32; the digits of half precision are told by 'precision'",
    "counts are wrong": "encode counts the channels itself",
    "channels are float64": "encode returns float32",
}


def failing(encoder, **asked):
    """Names of the checks that fail."""
    try:
        check_encoder(encoder, **asked)
    except AssertionError as error:
        return [line.partition(":")[0] for line in str(error).splitlines()[1:]]
    return []


@pytest.mark.parametrize("fault", NOTICED)
def test_each_fault_fails_the_check_of_its_kind_and_no_other(fault):
    assert failing(sabotaged.spec(fault)) == [NOTICED[fault]]


@pytest.mark.parametrize("fault", [f for f in HARMLESS if f != "float16"])
def test_what_encode_makes_good_is_no_fault(fault):
    assert failing(sabotaged.spec(fault)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXED)
def test_every_built_in_encoder_keeps_the_promises(name):
    checks = check_encoder(name)
    assert [check.name for check in checks] == list(NAMES)
    assert not [check for check in checks if check.failed]


def test_every_check_is_told_and_is_named_by_a_fault():
    assert set(NAMES) == set(PROMISES)
    told_elsewhere = {"record", "listing", "preprocessing", "weights", "reference", "threads"}
    assert set(NOTICED.values()) | told_elsewhere == set(NAMES)


def test_an_honest_encoder_passes_and_it_is_said_how_many_checks_ran(capsys):
    checks = check_encoder(sabotaged.spec("none"))
    ran = [check for check in checks if check.skipped is None]
    skipped = {check.name for check in checks if check.skipped is not None}
    assert skipped == {"listing", "weights", "reference"}
    assert f"sabotaged: {len(ran)} checks passed, 3 skipped" in capsys.readouterr().out


def test_an_encoder_made_by_hand_is_checked_too():
    made = sabotaged.build(sabotaged.spec("none"), weights=None, seed=0)
    assert failing(made) == []
    lonely = zoo.plugin.EncoderSpec(
        name="lonely", builder="no.such:module", summary="s", options={"fault": "none"}
    )
    checks = check_encoder(type(made)(lonely, made.model))
    assert {c.name for c in checks if c.skipped and "cannot make it again" in c.skipped} == {
        "loading"
    }


def test_encoders_that_need_stains_are_given_them():
    spec = sabotaged.spec("needs stains", channels=(1, 4))
    with pytest.raises(AssertionError, match=r"shape.*needs stain names"):
        check_encoder(spec)
    assert failing(spec, stains=("DNA", "ER", "AGP", "Mito")) == []


def test_weights_must_decide_the_parameters(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(sabotaged.Network().state_dict(), path)
    weights = zoo.plugin.Weights(path=path)
    for fault, failed in (
        ("none", []),
        ("the weights are ignored", ["weights"]),
        ("half of the weights will do", ["weights"]),
    ):
        assert failing(sabotaged.spec(fault, weights=weights, seeded=False)) == failed


def test_reference_images_must_give_the_reference_embeddings(monkeypatch):
    spec = sabotaged.spec("none", reference="sabotaged:reference")
    assert failing(spec) == ["reference"]
    images, _ = sabotaged.reference()
    right = sabotaged.build(spec, weights=None, seed=0).encode(images).numpy()
    monkeypatch.setattr(sabotaged, "REFERENCE", right)
    assert failing(spec) == []


def test_expected_failures_have_a_reason_and_must_fail(capsys):
    spec = sabotaged.spec("no bfloat16")
    checks = check_encoder(spec, expected_failures={"half": "uses a histogram"})
    assert [c.expected for c in checks if c.name == "half"] == ["uses a histogram"]
    assert "1 failed as expected" in capsys.readouterr().out
    with pytest.raises(AssertionError, match=r"half: .*was expected to fail"):
        check_encoder(sabotaged.spec("none"), expected_failures={"half": "uses a histogram"})
    with pytest.raises(ValueError, match="'hlaf', but the checks are record, "):
        check_encoder(spec, expected_failures={"hlaf": "a slip"})


TESTS = """
import sabotaged
import torch
import zoo.testing

@zoo.testing.encoder_checks(
    sabotaged.spec("no bfloat16"), expected_failures={"half": "uses a histogram"}
)
def test_one(check):
    check()

@zoo.testing.encoder_checks(sabotaged.spec("prints"), "constant")
def test_two(check):
    check()
"""


def test_pytest_runs_one_test_for_each_check_and_encoder(tmp_path):
    (tmp_path / "test_mine.py").write_text(TESTS)
    folder = str(Path(sabotaged.__file__).parent)
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": folder}
    )
    last = done.stdout.splitlines()[-1]
    assert "1 failed" in last, done.stdout
    assert "1 xfailed" in last
    assert "test_two[sabotaged-silent]" in done.stdout
    total = sum(int(word) for word in last.split() if word.isdigit())
    assert total == 3 * len(PROMISES)


def test_a_moved_clock_is_seen_by_the_modules_of_a_package_and_moves_back():
    import datetime
    import time

    before = sabotaged.datetime.datetime.now()
    names = {"datetime": datetime.datetime, "time": time.time}
    with moved_clock({"sabotaged"}):
        assert (sabotaged.datetime.datetime.now() - before).days >= 1000
        assert time.time() > before.timestamp() + 86_400_000
        assert time.localtime().tm_year > before.year
        assert isinstance(datetime.datetime.now(), names["datetime"])
    assert (datetime.datetime, time.time) == tuple(names.values())


def test_an_encoder_given_in_half_precision_is_made_again_in_it():
    encoder = zoo.load("chadavit-untrained", device="cpu", dtype="bfloat16")
    assert Subject(encoder).remake(1).dtype == torch.bfloat16
    assert Subject("chadavit-untrained").remake(1).dtype == torch.float32
