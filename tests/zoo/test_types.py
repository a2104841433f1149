"""Features, embeddings and results in the hands of NumPy, scikit-learn, AnnData and notebooks."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import zoo
from zoo import errors


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 255, (6, 2, 64, 64), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoder():
    return zoo.load("pixel-statistics", device="cpu")


@pytest.fixture(scope="module")
def embeddings():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"Plate": list("aabbcc"), "dose": np.arange(6.0)})
    return zoo.Embeddings(rng.normal(size=(6, 3)).astype("f4"), table, {"encoder": "e", "zoo": "0"})


def test_features_are_arrays(images, encoder):
    features = encoder.encode(images)
    matrix = np.asarray(features)
    assert matrix.shape == (6, features.embedding.shape[1])
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(features.numpy(), features.embedding.numpy())
    assert torch.equal(features[2], features.embedding[2])
    assert len(list(features)) == len(features) == 6
    np.testing.assert_array_equal(np.asarray(features, dtype=np.float64), matrix)
    assert LogisticRegression().fit(features, [0, 1] * 3).predict(features).shape == (6,)


def test_embeddings_are_arrays(embeddings):
    np.testing.assert_array_equal(np.asarray(embeddings), embeddings.matrix)
    assert embeddings.shape == (6, 3)
    assert LogisticRegression().fit(embeddings, [0, 1] * 3).n_features_in_ == 3
    for rows in (slice(1, 3), [1, 2], np.array([False, True, True, False, False, False])):
        some = embeddings[rows]
        np.testing.assert_array_equal(some.matrix, embeddings.matrix[1:3])
        assert some.metadata["dose"].tolist() == [1.0, 2.0]
        assert some.provenance == embeddings.provenance
    assert embeddings[-1].metadata["Plate"].tolist() == ["c"]


def test_anndata_and_back(embeddings, tmp_path):
    anndata = pytest.importorskip("anndata")
    data = embeddings.to_anndata()
    assert data.shape == (6, 3)
    assert data.obs["Plate"].tolist() == list("aabbcc")
    np.testing.assert_array_equal(data.X, embeddings.matrix)
    data.write_h5ad(tmp_path / "some.h5ad")
    assert anndata.read_h5ad(tmp_path / "some.h5ad").shape == (6, 3)
    again = zoo.read_profiles(tmp_path / "some.h5ad")
    np.testing.assert_array_equal(again.matrix, embeddings.matrix)
    assert again.provenance["encoder"] == "e"
    assert list(again.metadata["dose"]) == list(embeddings.metadata["dose"])
    (tmp_path / "broken.h5ad").write_bytes(b"no HDF5")
    with pytest.raises(errors.DataError, match=r"broken\.h5ad is no readable AnnData"):
        zoo.read_profiles(tmp_path / "broken.h5ad")
    with pytest.raises(errors.DataError, match="is missing"):
        zoo.read_profiles(tmp_path / "none.h5ad")


def test_arrays_images_and_files_are_embedded_alike(images, encoder, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    paths = [tmp_path / f"{i}.tif" for i in range(6)]
    for path, image in zip(paths, images, strict=True):
        tifffile.imwrite(path, image, photometric="minisblack")
    wanted = encoder.encode(images).numpy()
    for source in (images, list(images), [zoo.Image(i) for i in images], paths, tmp_path):
        np.testing.assert_array_equal(zoo.embed(source, encoder).matrix, wanted)
    np.testing.assert_array_equal(zoo.embed(images[0], encoder).matrix, wanted[:1])
    np.testing.assert_array_equal(encoder.encode(zoo.Image(images[0])).numpy(), wanted[:1])


@pytest.mark.parametrize("wrong", ["x.tif", ["x.tif"], 3, None])
def test_what_is_no_image_is_told_what_to_do(encoder, wrong):
    with pytest.raises(TypeError, match=r"zoo\.read_image"):
        encoder.encode(wrong)


def test_an_image_brings_its_own_stains_and_mask(images):
    encoder = zoo.load("object-density", device="cpu")
    mask = np.zeros((64, 64), int)
    mask[8:20, 8:20], mask[30:50, 30:50] = 1, 2
    one = zoo.Image(images[0], ("DNA", "ER"), mask=mask)
    np.testing.assert_array_equal(
        encoder.encode(one).numpy(), encoder.encode([images[0]], masks=[mask]).numpy()
    )
    with pytest.raises(ValueError, match="has its own"):
        encoder.encode([one], masks=[mask])


@pytest.mark.slow
def test_what_a_notebook_shows_is_short(images, encoder, embeddings):
    result = zoo.evaluate("object-density", "phantom", controls=["constant"])
    for thing, words in (
        (result, "object-density beats all controls"),
        (embeddings, "6 items"),
        (encoder, "pixel-statistics on cpu"),
        (encoder.encode(images), "embedding (6,"),
        (result.dataset, "phantom: 96 images"),
    ):
        assert words in repr(thing)
        assert len(repr(thing)) < 400
    for thing in (result, embeddings, encoder):
        assert "<table" in thing._repr_html_()
        assert len(thing._repr_html_()) < 10_000
    assert "difference to control (95 % CI)" in result._repr_html_()


def test_progress_is_told_in_one_way(images, encoder):
    told = []
    encoder.encode(images, batch_planes=4, progress=lambda *said: told.append(said))
    assert told == [("encoding", k, 6) for k in (2, 4, 6)]
    told.clear()
    zoo.embed(images, encoder, progress=lambda *said: told.append(said))
    assert told == [("embedding images", 4, 6), ("embedding images", 6, 6)]


def test_names_are_listed_by_pattern_role_and_weights():
    everything = zoo.list_encoders()
    assert everything == sorted(everything)
    controls, encoders = (zoo.list_encoders(role=r) for r in ("control", "encoder"))
    assert sorted(controls + encoders) == everything
    assert zoo.list_encoders("*DENSITY") == ["object-density"]
    assert zoo.list_encoders("chadavit*", trained=True) == ["chadavit-idrcell100k"]
    assert "chadavit-idrcell100k" not in zoo.list_encoders(trained=False)
    assert zoo.encoder_info("chadavit-untrained").channels == (1, 10)
    with pytest.raises(errors.UnknownNameError, match="chadavit-untrained"):
        zoo.encoder_info("chadavit-untraind")
    assert "bbbc013" in zoo.list_datasets()
