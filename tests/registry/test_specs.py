"""Records refuse what they cannot mean."""

from pathlib import Path

import pytest
from zoo.registry import (
    DatasetSpec,
    Design,
    EncoderFamily,
    EncoderSpec,
    Preprocessing,
    Task,
    Weights,
)


def spec(**changes):
    return EncoderSpec(**{"name": "a", "builder": "m:f", "summary": "s", **changes})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: spec(name="two words"), "not an encoder name"),
        (lambda: spec(name=""), "not an encoder name"),
        (lambda: spec(builder="m.f"), "package.module:callable"),
        (lambda: spec(role="judge"), "'encoder', 'control'"),
        (lambda: spec(role="control"), "control kind"),
        (lambda: spec(control="untrained"), "role is 'encoder'"),
        (lambda: spec(channels=(0, 3)), "from 1 up"),
        (lambda: spec(channels=(3, 2)), "from 1 up"),
        (lambda: EncoderFamily(scheme="A b", resolver="m:f", summary="s"), "not a scheme"),
        (lambda: Weights(), "either on the hub"),
        (lambda: Weights(repo="a/b", path=Path("x")), "either on the hub"),
        (lambda: Weights(distribution="a", path=Path("x")), "either on the hub"),
        (lambda: Weights(repo="a/b"), "40-hex"),
        (lambda: Weights(repo="a/b", revision="a" * 40, latest=True), "takes the place of"),
        (lambda: Weights(path=Path("x"), latest=True), "for weights on the hub"),
        (lambda: Weights(repo="a/b", revision="main"), "40-hex"),
        (lambda: Weights(path=Path("x"), sha256="abc"), "64 lower-case hex"),
        (lambda: Preprocessing(scaling="log"), "must be one of"),
        (lambda: Preprocessing(percentiles=(5, 5)), "must rise"),
        (lambda: Preprocessing(resize=0), "positive"),
        (lambda: Preprocessing(resize=100, crop=224), "larger than resize"),
        (lambda: Task(kind="guess", target="t", title="t"), "must be one of"),
        (
            lambda: DatasetSpec(
                name="d",
                builder="m:f",
                summary="s",
                design=Design(
                    label="l",
                    group="g",
                    tasks=(),
                ),
            ),
            "has no tasks",
        ),
    ],
)
def test_a_record_refuses_nonsense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_records_cannot_be_changed():
    with pytest.raises(AttributeError):
        spec().name = "b"


def test_preprocessing_says_itself_in_one_line():
    assert str(Preprocessing()) == "scaling auto (0.1–99.9 %), shorter side 256, centre crop 224"
    assert str(Preprocessing(scaling="range", resize=None, crop=None)) == "scaling range"


@pytest.mark.parametrize("size", [0.5, ("half",), (-1.0,), (float("inf"),)])
def test_pixel_sizes_of_the_training(size):
    with pytest.raises((TypeError, ValueError), match="pixel_size of mine"):
        EncoderSpec(name="mine", builder="a.b:c", summary="x", pixel_size=size)


def test_weights_that_the_hub_has_as_a_pickle_only():
    assert Weights(repo="org/repo", latest=True, filename="pytorch_model.bin").is_pickle
    assert not Weights(repo="org/repo", latest=True).is_pickle
    assert not Weights(path=Path("mine.bin")).is_pickle
