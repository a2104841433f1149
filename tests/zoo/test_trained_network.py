"""A truly trained network on real images, beside its untrained twin and the controls."""

import numpy as np
import photographs
import pytest
import torch
from safetensors.torch import load_file
from skimage import data
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import zoo

CATS, ESPRESSO = {281, 282, 285}, 967  # classes of ImageNet


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return photographs.trained(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def encoder(weights):
    return zoo.load(photographs.NAME, weights=weights, device="cpu")


def test_it_knows_what_is_on_a_photograph(encoder, weights):
    photos = [np.moveaxis(image, -1, 0).copy() for image in (data.chelsea(), data.coffee())]
    found = encoder.encode(photos).embedding
    head = load_file(weights)
    scores = found @ head["classifier.weight"].T + head["classifier.bias"]
    assert set(scores[0].topk(3).indices.tolist()) == CATS
    assert int(scores[1].argmax()) == ESPRESSO
    twin = zoo.load(encoder.spec.twin, device="cpu")
    assert not torch.allclose(twin.encode(photos).embedding, found, atol=0.1)


def by_neighbours(rows, cells):
    """Out-of-fold classes by five neighbours, each vote divided by the size of its class."""
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(5, metric="cosine"))
    votes = cross_val_predict(
        model, rows, cells, cv=GroupKFold(10), method="predict_proba", **own(cells)
    )
    classes, sizes = np.unique(cells, return_counts=True)
    return classes[(votes / sizes).argmax(1)]


def by_ridge(rows, cells):
    """Out-of-fold classes by ridge regression on weighted classes."""
    ridge = RidgeClassifierCV(np.logspace(-1, 5, 13), class_weight="balanced")
    return cross_val_predict(
        make_pipeline(StandardScaler(), ridge), rows, cells, cv=GroupKFold(10), **own(cells)
    )


def own(cells):
    """Every image is a group of its own."""
    return {"groups": np.arange(len(cells))}


# Readouts, and how near the scores of scikit-learn come: its votes are the same but for folds and
# frequencies in them, its ridge chooses classes in another way.
READOUTS = {
    "5-NN balanced accuracy": (by_neighbours, 0.03),
    "linear probe balanced accuracy": (by_ridge, 0.08),
}


def difference(cells, one, other):
    """Difference in balanced accuracy, and its standard error over images drawn again."""
    rng = np.random.default_rng(0)

    def gap(drawn):
        scores = [balanced_accuracy_score(cells[drawn], found[drawn]) for found in (one, other)]
        return scores[0] - scores[1]

    drawn = [rng.integers(len(cells), size=len(cells)) for _ in range(300)]
    return gap(np.arange(len(cells))), float(np.std([gap(i) for i in drawn]))


@pytest.mark.long
def test_blood_cells_are_judged_as_scikit_learn_judges_them(encoder, real_data):
    """The controls are better in parts, and the verdict says where."""
    source = real_data / "wbc"
    if not source.is_dir():
        pytest.skip("no blood cells beside the real images")
    result = zoo.evaluate(
        encoder, source / "labels.csv", label="cell", group="smear", permutations=39
    )
    rows = {row.metric: row for row in result.rows}
    assert rows["mAP across groups"].left_out, "a class of one cell"
    assert any("copies" in warning for warning in result.warnings), "two images are the same"
    cells = result.dataset.metadata["cell"]
    known = (cells.map(cells.value_counts()) > 1).to_numpy()
    cells = cells.to_numpy()[known]
    twin = encoder.spec.twin

    def embedded(name):
        prepared = encoder.spec.preprocessing
        loaded = encoder if name == result.encoder else zoo.load(name, preprocessing=prepared)
        return zoo.embed(result.dataset, loaded).numpy()[known]

    for metric, (readout, near) in READOUTS.items():
        row = rows[metric]
        control = row.verdict.control
        found = {name: readout(embedded(name), cells) for name in (result.encoder, control, twin)}
        for name in (result.encoder, control):
            wanted = balanced_accuracy_score(cells, found[name])
            assert row.estimates[name].value == pytest.approx(wanted, abs=near), (metric, name)
        gap, error = difference(cells, found[result.encoder], found[control])
        match row.verdict.outcome:
            case "beats all controls":
                assert gap > 0
            case "worse than":
                assert gap < 2 * error
            case "no better than":
                assert gap < row.verdict.margin
            case outcome:
                assert outcome == "undecided"
                assert abs(gap) < 4 * error
        assert row.estimates[result.encoder].value > row.estimates[twin].value
        assert difference(cells, found[result.encoder], found[twin])[0] > 0
