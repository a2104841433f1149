"""Confounders against scikit-learn's own cross-validation and the tasks' scores."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from zoo.registry import EvaluationError, Task

from zoo._evaluation.tasks import Question, score_task
from zoo.metrics import (
    balanced_accuracy,
    confounder_r_squared,
    confounding,
    folds,
    probe_labels,
    residualise,
)
from zoo.metrics._probes import ALPHAS

N = 160
GROUPS = np.repeat(np.arange(8), 20)


def sample(seed=0):
    """Truth is known to one dimension, intensity to another; both fill the embedding."""
    rng = np.random.default_rng(seed)
    truth, intensity = rng.normal(size=N), rng.normal(size=N)
    columns = [truth + 0.3 * rng.normal(size=N), intensity + 0.3 * rng.normal(size=N)]
    embedding = np.c_[np.stack(columns, 1), rng.normal(size=(N, 3))] @ rng.normal(size=(5, 6))
    return embedding, truth, {"intensity": intensity, "area": rng.normal(size=N)}


def cross_validated(rows, target):
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=ALPHAS))
    predicted = cross_val_predict(model, rows, target, groups=GROUPS, cv=GroupKFold(8))
    return r2_score(target, predicted)


@pytest.mark.parametrize("seed", range(2))
def test_scores_equal_cross_validation(seed):
    embedding, truth, confounders = sample(seed)
    known = confounder_r_squared(embedding, confounders, GROUPS)
    found = confounding(embedding, truth, confounders, GROUPS, kind="regression")
    columns = np.stack(list(confounders.values()), 1)
    # The same regressions in float64: only rounding differs.
    for name, values in confounders.items():
        assert known[name] == pytest.approx(cross_validated(embedding, values), abs=1e-9)
    assert found.raw == pytest.approx(cross_validated(embedding, truth), abs=1e-9)
    assert found.confounders == pytest.approx(cross_validated(columns, truth), abs=1e-9)
    both = np.hstack([embedding, columns])
    assert found.combined == pytest.approx(cross_validated(both, truth), abs=1e-9)
    assert found.partial_gain == found.combined - found.confounders

    predicted = np.zeros(N)
    for train, test in GroupKFold(8).split(embedding, groups=GROUPS):
        left = embedding - LinearRegression().fit(columns[train], embedding[train]).predict(columns)
        scaler = StandardScaler().fit(left[train])
        model = RidgeCV(alphas=ALPHAS).fit(scaler.transform(left[train]), truth[train])
        predicted[test] = model.predict(scaler.transform(left[test]))
    assert found.residual == pytest.approx(r2_score(truth, predicted), abs=1e-9)


@pytest.mark.parametrize("kind", ["dose", "probe"])
def test_raw_scores_equal_those_of_a_task(kind):
    embedding, truth, confounders = sample()
    truth = truth if kind == "dose" else np.digitize(truth, [-0.5, 0.5])
    question = Question(Task(kind=kind, target="t", title="t"), np.arange(N), truth, GROUPS)
    wanted = score_task(question, embedding)[-1].at(np.arange(N))
    name = "regression" if kind == "dose" else "classification"
    found = confounding(embedding, truth, confounders, GROUPS, kind=name)
    assert found.raw == pytest.approx(wanted, abs=1e-9)


def probed(embedding, label, groups):
    codes = np.unique(label, return_inverse=True)[1]
    found = probe_labels(embedding, codes[:, None], list(folds(groups)))
    return [balanced_accuracy(codes, found[:, 0])]


def confounded(embedding, label, groups):
    edge = {"edge": np.arange(len(label)) % 5}
    found = confounding(embedding, label, edge, groups, kind="classification")
    return [found.raw, found.residual]


@pytest.mark.parametrize("path", [probed, confounded])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("items", [60, 61])
def test_every_probe_of_a_constant_embedding_is_at_chance(items, classes, named, path):
    label = np.random.default_rng(items).permutation(np.arange(items) % classes)
    if named:
        label = np.array(["low", "medium", "high"])[label]
    scores = path(np.ones((items, 8)), label, np.arange(items))
    # One class is always predicted, and balanced accuracy is then exact.
    assert scores == pytest.approx([1 / classes] * len(scores), abs=1e-12)


def test_a_shortcut_is_unmasked():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=N)
    intensity = truth + 0.1 * rng.normal(size=N)
    shortcut = np.outer(intensity, [1.0, 2, -1]) + 0.1 * rng.normal(size=(N, 3))
    confounders = {"intensity": intensity}
    found = confounding(shortcut, truth, confounders, GROUPS, kind="regression")
    assert found.raw > 0.95
    # Nothing is left, and nothing is added: 3 noise dimensions on 140 items cost about 0.02.
    assert found.residual == pytest.approx(0, abs=0.05)
    assert found.partial_gain == pytest.approx(0, abs=0.01)
    assert confounder_r_squared(shortcut, confounders, GROUPS)["intensity"] > 0.95


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_knowledge_of_its_own_is_kept(kind):
    embedding, truth, confounders = sample()
    chance = 0.0
    if kind == "classification":
        truth, chance = np.where(truth > 0, "high", "low"), 0.5
    found = confounding(embedding, truth, confounders, GROUPS, kind=kind)
    assert found.raw > 0.8
    assert found.residual > 0.8
    # Two uninformative columns; balanced accuracy of 160 items has an sd of 0.04.
    assert found.confounders == pytest.approx(chance, abs=0.12)
    assert found.partial_gain > 0.3


def test_a_perfect_embedding_scores_one():
    _, truth, confounders = sample()
    exact = np.outer(truth, [1.0, -2])
    found = confounding(exact, truth, confounders, GROUPS, kind="regression")
    # The least penalty, 0.1 on 140 items, shrinks by less than 1e-3, and R² by its square.
    assert found.raw == pytest.approx(1, abs=1e-5)
    known = confounder_r_squared(exact, {"truth": truth, "flat": np.ones(N)}, GROUPS)
    assert known["truth"] == pytest.approx(1, abs=1e-5)
    assert np.isnan(known["flat"])


def test_noise_scores_at_chance():
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        rows, classes = rng.normal(size=(N, 4)), rng.integers(0, 4, N)
        confounders = {"area": rng.normal(size=N)}
        one = confounding(rows, classes, confounders, GROUPS, kind="classification")
        known = confounder_r_squared(rows, confounders, GROUPS)["area"]
        found.append([one.raw, one.residual, one.confounders, one.combined, known])
    mean = np.mean(found, axis=0)
    # Each draw has an sd of about 0.035, the mean of ten 0.011.
    np.testing.assert_allclose(mean[:4], 0.25, atol=0.04)
    assert -0.06 < mean[4] < 0.03


def test_residuals_are_free_of_the_confounders_where_fitted():
    embedding, _, confounders = sample()
    columns = np.stack(list(confounders.values()), 1)
    fit_on = GROUPS < 5
    left = residualise(embedding, confounders, fit_on, groups=GROUPS)
    wanted = LinearRegression().fit(columns[fit_on], embedding[fit_on])
    np.testing.assert_allclose(
        left, embedding - (columns - columns[fit_on].mean(0)) @ wanted.coef_.T, atol=1e-10
    )
    r = np.corrcoef(np.c_[left, columns][fit_on], rowvar=False)[:6, 6:]
    np.testing.assert_allclose(r, 0, atol=1e-10)
    np.testing.assert_allclose(left[fit_on].mean(0), embedding[fit_on].mean(0), atol=1e-10)


def test_a_regression_on_controls_spares_what_treatment_moves():
    # Treatment moves a dimension and the area with it; among controls they do not go together.
    rng = np.random.default_rng(0)
    control = np.tile([True, False], N // 2)
    area = rng.normal(size=N) + 3 * ~control
    embedding = np.c_[3.0 * ~control + 0.1 * rng.normal(size=N), rng.normal(size=N)]
    spared = residualise(embedding, {"area": area}, control)
    taken = residualise(embedding, {"area": area}, np.ones(N, bool))

    def gap(rows):
        return rows[~control, 0].mean() - rows[control, 0].mean()

    assert gap(spared) > 2.7
    assert gap(taken) < 1.5
    one = confounding(embedding, area, {"area": area}, GROUPS, kind="regression", controls=control)
    every = confounding(embedding, area, {"area": area}, GROUPS, kind="regression")
    assert one.residual > every.residual + 0.1


def test_a_constant_or_copied_confounder_changes_nothing():
    embedding, _, confounders = sample()
    fit_on = GROUPS < 5
    plain = residualise(embedding, confounders, fit_on)
    more = {**confounders, "flat": np.full(N, 0.1), "copy": confounders["area"]}
    np.testing.assert_allclose(residualise(embedding, more, fit_on), plain, atol=1e-10)
    flat = residualise(embedding, {"flat": np.ones(N)}, fit_on)
    np.testing.assert_array_equal(flat, embedding)


def test_splits_may_be_given_and_copies_of_rows_stay_together():
    embedding, truth, confounders = sample()
    own = [(np.flatnonzero(g != GROUPS), np.flatnonzero(g == GROUPS)) for g in range(8)]
    args = embedding, truth, confounders, GROUPS
    given, default = (
        confounding(*args, kind="regression", splits=own),
        confounding(*args, kind="regression"),
    )
    assert given.raw == pytest.approx(default.raw, abs=1e-9)
    copies = np.random.default_rng(0).normal(size=(N // 2, 30)).repeat(2, axis=0)
    noise = {"noise": np.random.default_rng(1).normal(size=N // 2).repeat(2)}
    pairs = np.arange(N // 2).repeat(2)
    # Were copies split up, each would know its twin's value, and R² be high.
    assert confounder_r_squared(copies, noise, pairs)["noise"] < 0.1


def test_a_split_that_separates_a_group_is_refused():
    embedding, truth, confounders = sample()
    half = np.arange(N) < 30
    torn = [(np.flatnonzero(half), np.flatnonzero(~half))]
    torn += [(test, train) for train, test in torn]
    message = r"separates members of 1 group\(s\), the first of them 1"
    with pytest.raises(EvaluationError, match=message):
        confounding(embedding, truth, confounders, GROUPS, kind="regression", splits=torn)
    with pytest.raises(EvaluationError, match=message):
        confounder_r_squared(embedding, confounders, GROUPS, splits=torn)
    with pytest.raises(EvaluationError, match=message):
        residualise(embedding, confounders, half, groups=GROUPS)
    whole = [(np.flatnonzero(GROUPS < 4), np.flatnonzero(GROUPS >= 4))]
    with pytest.raises(ValueError, match="every item once, but 80 of 160 are not"):
        confounder_r_squared(embedding, confounders, GROUPS, splits=whole)


def test_what_has_no_answer_is_refused():
    embedding, truth, confounders = sample()

    def score(embedding=embedding, truth=truth, confounders=confounders, groups=GROUPS, **more):
        return confounding(embedding, truth, confounders, groups, kind="regression", **more)

    with pytest.raises(ValueError, match="there is only 3"):
        score(groups=np.full(N, 3))
    with pytest.raises(ValueError, match=r"truth has only one value, 2.0"):
        score(truth=np.full(N, 2.0))
    holes = truth.copy()
    holes[:4] = np.nan
    with pytest.raises(ValueError, match="truth is missing for 4 of 160"):
        score(truth=holes)
    with pytest.raises(ValueError, match=r"confounder area has NaN .* in 4 of 160 rows"):
        score(confounders={"area": holes})
    with pytest.raises(ValueError, match=r"embedding has NaN .* in 1 of 160 rows.*row 7"):
        score(np.where(np.arange(N)[:, None] == 7, np.nan, embedding))
    with pytest.raises(ValueError, match="needs 4 items to fit on, but has 3"):
        residualise(embedding, confounders, np.arange(N) < 3)
    with pytest.raises(ValueError, match="needs 4 items to fit on, but has 0"):
        score(controls=np.zeros(N, bool))
    with pytest.raises(ValueError, match="needs 4 items to fit on, but has 0"):
        score(controls=GROUPS == 3)  # none is left to fit on where group 3 is held out
    with pytest.raises(ValueError, match="160 booleans"):
        residualise(embedding, confounders, np.arange(5))
    with pytest.raises(ValueError, match="at least one confounder"):
        score(confounders={})


def test_a_confounder_that_is_the_label_leaves_nothing():
    rng = np.random.default_rng(0)
    label = np.tile([0, 1], N // 2)
    embedding = np.outer(label, [3.0, 1]) + rng.normal(size=(N, 2))
    found = confounding(embedding, label, {"batch": label}, GROUPS, kind="classification")
    assert found.raw > 0.85
    assert found.confounders == 1
    assert found.partial_gain == 0
    # Class means of each training fold are equal; what is left scatters around chance, sd 0.04.
    assert found.residual < 0.62
