"""The diagnostics that change images, on small images whose every number is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from zoo._diagnostics.changed_images import NO_IMAGES
from zoo._diagnostics.channel_dropout import channels_left_out
from zoo._diagnostics.invariance import drift
from zoo._diagnostics.pathological import pathological
from zoo._diagnostics.preprocessing_sweep import sweep
from zoo._diagnostics.study import Study
from zoo._embedding.embed import embed_many
from zoo._evaluation.contenders import Contender
from zoo._evaluation.tasks import pose_tasks

PLATES, DOSES, EACH, SIDE = 6, 3, 2, 32
AS_THEY_ARE = zoo.Preprocessing(scaling="range", resize=None, crop=None)


class Means(zoo.Encoder):
    """Mean brightness of each channel, and their square."""

    outputs = frozenset({"layer"})
    depth = 2

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        if layer is not None and not 1 <= layer <= 2:
            raise ValueError(f"layer is {layer}, but there are 2")
        rows = torch.stack([p.mean((1, 2)) for p in batch.images()])
        return zoo.Features(rows**2 if layer == 1 else rows, batch.counts)


class Edges(zoo.Encoder):
    """Mean difference of neighbouring pixels of each channel: texture, and no brightness."""

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        rows = [p.diff(dim=2).abs().mean((1, 2)) for p in batch.images()]
        return zoo.Features(torch.stack(rows), batch.counts)


def dataset(channels=2, images_too=True):
    layout = pd.MultiIndex.from_product(
        [[f"P{p}" for p in range(PLATES)], range(DOSES), range(EACH)], names=["plate", "dose", "i"]
    )
    metadata = layout.to_frame(index=False)
    spec = zoo.plugin.DatasetSpec(
        name="d",
        builder="m:f",
        summary="s",
        design=zoo.Design(
            label="dose",
            group="plate",
            tasks=(
                zoo.Task(kind="dose", target="dose", title="dose"),
                zoo.Task(kind="retrieval", target="dose", title="replicates"),
            ),
        ),
        channels=(channels, channels),
    )

    def read(i):
        # Channel 0 is brighter with the dose; channel 1 knows nothing.
        rng = np.random.default_rng(i)
        pixels = rng.integers(0, 40, (channels, SIDE, SIDE)).astype(np.uint8)
        pixels[0] += 60 * int(metadata["dose"][i])
        return zoo.Image(pixels, ("signal", "nothing")[:channels])

    none = {"none": zoo.plugin.Precomputed("", lambda: np.zeros((len(metadata), 1), "f4"))}
    return zoo.Dataset("d", metadata, read if images_too else None, spec, none)


def study(encoders, data):
    contenders = {}
    for encoder in encoders:
        rows = embed_many(data, [encoder])[0]
        contenders[encoder.name] = Contender(encoder.spec, (rows,), (encoder,))
    questions = tuple(pose_tasks(data))
    return Study(data, data.design, questions, contenders, cache=False)


def record(name):
    return zoo.plugin.EncoderSpec(name=name, builder="m:f", summary="s", preprocessing=AS_THEY_ARE)


@pytest.fixture(scope="module")
def brightness():
    return study([Means(record("means"))], dataset())


def by_condition(diagnostic, quantity):
    return {f.condition: f for f in diagnostic.findings if f.quantity == quantity}


def test_brightness_survives_shuffled_pixels_and_nothing_survives_black(brightness):
    found = by_condition(pathological(brightness), "dose, Spearman ρ")
    assert set(found) == {
        *["black", "constant", "white noise", "patches shuffled", "pixels shuffled"],
        *["phases scrambled", "signal only", "nothing only"],
    }
    # Three doses tie in the truth: a perfect rank correlation of them is 0.94.
    for kept in ("constant", "patches shuffled", "pixels shuffled", "signal only"):
        assert found[kept].value > 0.9, kept
        assert found[kept].reference > 0.9
    assert found["black"].value == 0
    assert abs(found["nothing only"].value) < 0.5  # 36 items: two standard errors are 0.34


def test_texture_does_not_survive_what_keeps_brightness_only():
    found = by_condition(
        pathological(study([Edges(record("edges"))], dataset())), "dose, Spearman ρ"
    )
    assert found["constant"].value == 0  # nothing differs between neighbours any more


def test_a_lost_channel_costs_what_hung_on_it(brightness):
    found = by_condition(channels_left_out(brightness), "dose, Spearman ρ")
    assert set(found) == {"signal black", "nothing black"}
    assert found["nothing black"].value > 0.9
    assert abs(found["signal black"].value) < 0.5
    assert found["signal black"].reference > 0.9
    quantities = {f.quantity for f in channels_left_out(brightness).findings}
    assert quantities == {"dose, Spearman ρ"}, "retrieval learns nothing that could be carried"


def test_layers_and_scalings_are_swept_and_the_encoder_is_left_as_it_was(brightness):
    found = by_condition(sweep(brightness), "dose, Spearman ρ")
    assert {"layer 1, embedding", "layer 2, embedding"} < set(found)
    assert found["scaling range"].value > 0.9
    # An instance is brought to mean 0, so that its brightness is gone.
    assert abs(found["scaling instance"].value) < 0.5
    assert brightness.encoder.spec.preprocessing == AS_THEY_ARE


def test_drift_names_the_encoder_and_what_it_is_blind_to(brightness):
    found = {f.condition: f for f in drift(brightness).findings}
    assert {f.encoder for f in found.values()} == {"means"}
    assert found["flipped"].value == pytest.approx(0, abs=1e-6)
    assert found["channel signal black"].value > 1


def test_embeddings_made_elsewhere_have_no_images_to_change():
    data = dataset(images_too=False)
    rows = zoo.Embeddings(np.random.default_rng(0).normal(size=(36, 3)), data.metadata, {})
    questions = tuple(pose_tasks(data))
    alone = Study(data, data.design, questions, {"mine": Contender(record("mine"), (rows,))})
    for ask_ in (
        drift,
        pathological,
        channels_left_out,
        sweep,
    ):
        found = ask_(alone)
        assert (found.findings, found.not_computed) == ((), (NO_IMAGES,))


def test_channels_that_only_some_images_have_cannot_be_lost_by_all():
    ragged = dataset(channels=2)
    ragged = replace(ragged, spec=replace(ragged.spec, channels=(1, 3)))
    found = channels_left_out(study([Means(record("means"))], ragged))
    assert found.findings == ()
    assert found.not_computed == (
        "Images differ in their channels, so no channel can be dropped from all of them.",
    )


def test_one_channel_cannot_be_lost():
    found = channels_left_out(study([Means(record("means"))], dataset(channels=1)))
    assert (found.findings, found.not_computed) == ((), ("The images have a single channel.",))
