"""Training on the evaluated data, and images of its own, are told with the scores."""

import numpy as np
import pandas as pd
import pytest
import torch

import zoo


class Encoder(zoo.Encoder):
    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        rows = torch.stack([torch.stack([i.mean(), i.std()]) for i in batch.images()])
        return zoo.Features(rows, batch.counts)


class OwnPrepare(Encoder):
    def prepare(self, image, item):
        return super().prepare(image, item) * 0


def record(name="mine", **fields):
    return zoo.plugin.EncoderSpec(name=name, builder="m:f", summary="s", **fields)


@pytest.fixture(scope="module")
def plates():
    treated = np.tile([0, 1], 12)
    table = pd.DataFrame({"treated": treated, "plate": np.repeat(list("ABCDEF"), 4)})
    rng = np.random.default_rng(0)
    pixels = rng.poisson(20 + 9 * treated[:, None, None, None], (24, 1, 32, 32)).astype(np.uint8)
    task = zoo.Task(kind="separation", target="treated", title="treated")
    design = zoo.Design(label="treated", group="plate", tasks=(task,))
    spec = zoo.plugin.DatasetSpec(name="my-cells", builder="m:f", summary="s", design=design)
    return zoo.Dataset("my-cells", table, lambda i: zoo.Image(pixels[i]), spec)


def evaluate(encoder, plates):
    controls = ["constant", "pixel-statistics"]
    return zoo.evaluate(encoder, plates, controls=controls, permutations=19, cache=False)


@pytest.mark.parametrize("name", ["my-cells", "My Cells", "MY_CELLS"])
def test_training_on_the_evaluated_data_is_told(plates, name, tmp_path):
    result = evaluate(Encoder(record(trained_on=("IDR", name))), plates)
    assert "mine was trained on my-cells" in result.warnings[0]
    assert "It was trained on my-cells, so this is not about new data." in result.headline
    assert "mine was trained on my-cells" in " ".join(result.render().split())
    pytest.importorskip("jinja2")
    result.to_html(tmp_path / "page.html")
    assert "mine was trained on my-cells" in (tmp_path / "page.html").read_text()


def test_other_training_data_are_not(plates):
    result = evaluate(Encoder(record(trained_on=("IDR", "my-cells-2"))), plates)
    assert not result.warnings
    assert "trained on" not in result.headline


def test_a_comparison_tells_it_too(plates):
    options = {"controls": ["constant"], "permutations": 19, "cache": False}
    first, second = Encoder(record(trained_on=("my-cells",))), Encoder(record("other"))
    found = zoo.compare(first, second, plates, **options)
    assert "mine was trained on my-cells" in found.render()


def test_images_of_its_own_are_recorded_and_told(plates):
    encoder = OwnPrepare(record())
    result = evaluate(encoder, plates)
    (warning,) = result.warnings
    assert "OwnPrepare.prepare" in warning
    assert "controls do not" in warning
    assert result.embeddings.provenance["prepare"].endswith("OwnPrepare.prepare")
    assert "prepare" not in Encoder(record()).provenance()
    assert not result.embeddings.matrix.any()
    plain = zoo.embed(plates, "pixel-statistics", cache=False).matrix
    scores = result.rows[0].estimates
    assert scores["pixel-statistics"].value == pytest.approx(1, abs=0.01), plain.shape


def test_what_is_prepared_for_one_encoder_is_given_to_no_other(plates, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    from zoo._embedding.cache import EmbeddingCache
    from zoo._embedding.embed import embed_many

    plain = zoo.load("pixel-statistics", device="cpu")
    wanted = zoo.embed(plates, plain, cache=False).matrix
    for encoders in ([OwnPrepare(record()), plain], [plain, OwnPrepare(record())]):
        found = embed_many(plates, encoders, cache=EmbeddingCache())
        np.testing.assert_array_equal(found[encoders.index(plain)].matrix, wanted)
        assert not found[1 - encoders.index(plain)].matrix.any()
