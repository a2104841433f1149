"""The whole evaluation, on plates whose truth is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from sklearn.linear_model import RidgeCV
from zoo.plugins.phantom import Dials, make
from zoo.registry import DatasetSpec, EncoderSpec, Task, registry

import zoo
from zoo import errors
from zoo._data.dataset import Dataset
from zoo._evaluation.contenders import CONTROLS, default_controls
from zoo._evaluation.intervals import estimate, resamples
from zoo._evaluation.tasks import permute, pose_task, score_task
from zoo._evaluation.verdict import judge
from zoo._images.image import Image
from zoo.metrics._probes import folds, neighbour_labels, probe_labels, ridge
from zoo.metrics._scores import balanced_accuracy

SMALL = Dials(rises={"translocation": 1}, plates_count=4, doses=3, replicates=2, cells=8)


def spec(*tasks, channels=(1, 1), **changes):
    asked = tasks or (Task(kind="probe", target="dose", title="dose"),)
    fields = {"label": "dose", "group": "row", "tasks": asked}
    design = zoo.Design(**{**fields, **changes})
    return DatasetSpec(name="plate", builder="m:f", summary="s", design=design, channels=channels)


def table(rows=6, doses=4):
    return pd.DataFrame(
        {"row": np.repeat(list("ABCDEFGH")[:rows], doses), "dose": np.tile(np.arange(doses), rows)}
    )


TASKS = {kind: Task(kind=kind, target="dose", title="t") for kind in ("dose", "knn", "probe")}
TASKS["separation"] = Task(kind="separation", target="dose", title="t", where={"dose": (0, 3)})
TASKS["retrieval"] = Task(kind="retrieval", target="dose", title="t")


@pytest.mark.parametrize("kind", TASKS)
def test_an_embedding_of_the_answer_is_perfect(kind):
    metadata = table()
    question = pose_task(TASKS[kind], metadata, "row")
    rng = np.random.default_rng(0)
    matrix = np.eye(4)[metadata["dose"]] * 50 + rng.normal(size=(24, 4))
    matrix = np.c_[matrix, 100 * metadata["dose"]]
    for score in score_task(question, matrix[question.items]):
        # Ties in the truth keep a rank correlation of four doses at 0.968 even when perfect.
        assert score.at(np.arange(len(question.items))) > 0.96


def test_uneven_designs_have_a_chance_of_their_own():
    # One dose a group: the training mean of each fold ranks groups backwards.
    metadata = pd.DataFrame({"row": np.repeat(list("ABCDEFGH"), 6), "dose": np.repeat(range(8), 6)})
    question = pose_task(TASKS["dose"], metadata, "row")
    found = []
    for seed in range(20):
        matrix = np.random.default_rng(seed).normal(size=(48, 5))
        rank, share = score_task(question, matrix, permutations=39, seed=seed)
        found.append([rank.at(np.arange(48)), share.at(np.arange(48)), share.null.mean()])
    rank, share, null = np.mean(found, axis=0)
    assert abs(rank) < 0.2  # pooled answers with their means would give −0.8
    assert share < -0.1
    assert share == pytest.approx(null, abs=0.1)


def test_permutations_keep_what_the_design_fixes():
    truth, groups = np.array([0, 0, 1, 2, 2, 1]), np.array(list("aaabbb"))
    columns = permute(truth, groups, 20, 0)
    assert len({tuple(column) for column in columns.T}) > 10  # of 36 there are
    assert columns[:, 0].tolist() == list(range(6))
    for column in columns.T:
        assert sorted(column[:3]) == [0, 1, 2]
    truth, groups = np.array([0, 0, 1, 1, 2, 2]), np.array(list("aabbcc"))
    for column in permute(truth, groups, 20, 0).T:
        changed = truth[column]
        assert changed[0::2].tolist() == changed[1::2].tolist()
        assert sorted(changed) == [0, 0, 1, 1, 2, 2]


def test_folds_never_split_a_group():
    groups = np.random.default_rng(0).integers(0, 25, 200)
    tested = []
    for train, test in folds(groups):
        assert not set(groups[train]) & set(groups[test])
        tested += list(test)
    assert sorted(tested) == list(range(200))


@pytest.mark.parametrize("fit", [probe_labels, neighbour_labels, lambda *a: ridge(*a)[0]])
def test_labels_of_the_held_out_group_do_not_reach_its_own_answers(fit):
    groups, codes = np.repeat(np.arange(5), 4), np.tile(np.arange(4), 5)[:, None]
    matrix = np.random.default_rng(0).normal(size=(20, 6))
    other = codes.copy()
    other[:4] = other[:4][::-1]
    before, after = (fit(matrix, c, list(folds(groups))) for c in (codes, other))
    np.testing.assert_array_equal(before[:4], after[:4])
    assert (before[4:] != after[4:]).any()


def test_of_equally_near_items_the_first_vote():
    """As an exhaustive search by exact similarity and position finds."""
    rng = np.random.default_rng(0)
    rows = np.sign(rng.normal(size=(60, 2)))
    codes, splits = rng.integers(0, 3, (60, 1)), list(folds(np.arange(60) // 10))
    found = neighbour_labels(rows, codes, splits)[:, 0]
    for train, test in splits:
        # Of features of two values, each standardised one tells rows of equal signs apart from all.
        share = np.bincount(codes[train, 0], minlength=3) / len(train)
        for i in test:
            equal = train[(rows[train] == rows[i]).all(1)]
            assert len(equal) >= 5
            votes = np.bincount(codes[equal[:5], 0], minlength=3)
            assert found[i] == (votes / share).argmax()


@pytest.mark.parametrize("rank", [10, 200])
def test_predictions_of_wide_embeddings_are_those_of_ridge_on_all_features(rank):
    """With more features than items, and with fewer independent ones than items."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(48, rank)) @ rng.normal(size=(rank, 200))
    target = rows[:, :3] + rng.normal(size=(48, 3))
    for train, test in (splits := list(folds(np.arange(48) // 6))):
        shift, base = ridge(rows, target, splits)
        centre, spread = rows[train].mean(0), rows[train].std(0)
        model = RidgeCV(np.logspace(-1, 5, 13), alpha_per_target=True)
        model.fit((rows[train] - centre) / spread, target[train])
        expected = model.predict((rows[test] - centre) / spread)
        np.testing.assert_allclose((shift + base)[test], expected, atol=1e-9)


@pytest.mark.parametrize("items", [60, 61, 90])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_of_a_constant_embedding_is_at_chance_whatever_the_folds_hold(items, classes):
    """Rounding that goes with the classes in training tells those that are held out."""
    codes = np.random.default_rng(items).permutation(np.arange(items) % classes)
    label = probe_labels(np.ones((items, 8)), codes[:, None], list(folds(np.arange(items))))[:, 0]
    assert balanced_accuracy(codes, label) == pytest.approx(1 / classes, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(dose=1), "two values of dose"),
        (lambda t: t.assign(row="A"), "two groups of row"),
        (lambda t: t.assign(dose=range(len(t))), "in one row only"),
    ],
)
def test_questions_that_have_no_answer_are_refused(change, message):
    metadata = change(table())
    with pytest.raises(errors.EvaluationError, match=message):
        pose_task(TASKS["retrieval"], metadata, "row")


def test_a_group_with_one_member_is_fine_and_missing_labels_are_counted():
    metadata = table()
    metadata.loc[0, "row"] = "Z"
    metadata["dose"] = metadata["dose"].astype(float)
    metadata.loc[5, "dose"] = np.nan
    question = pose_task(TASKS["probe"], metadata, "row")
    assert len(question.items) == 23
    assert question.left_out == ("1 item(s) without dose or row",)
    matrix = np.random.default_rng(0).normal(size=(23, 3))
    assert np.isfinite(score_task(question, matrix)[0].at(np.arange(23)))


@pytest.mark.parametrize("kind", ["retrieval", "knn", "probe"])
def test_classes_of_one_group_are_left_out_and_counted(kind):
    metadata = table()
    metadata.loc[[0, 1], "dose"] = 99
    question = pose_task(TASKS[kind], metadata, "row")
    assert question.left_out == ("2 item(s) whose dose occurs in one row only",)
    assert len(question.items) == 22
    with pytest.raises(errors.EvaluationError, match="two values"):
        pose_task(TASKS[kind], pd.DataFrame({"row": ["A", "A", "B"], "dose": [0, 0, 1]}), "row")


def test_wide_embeddings_give_the_same_answers_when_turned():
    # A feature repeated fills more columns than there are items, without new information.
    metadata = table(rows=4)
    question = pose_task(TASKS["dose"], metadata, "row")
    rng = np.random.default_rng(1)
    narrow = rng.normal(size=(16, 3)) + metadata["dose"].to_numpy()[:, None]
    wide = np.c_[narrow, np.zeros((16, 60))]
    for a, b in zip(score_task(question, narrow), score_task(question, wide), strict=True):
        assert a.at(np.arange(16)) == pytest.approx(b.at(np.arange(16)), abs=1e-6)


@pytest.mark.slow
def test_permuted_labels_rarely_beat_all_controls():
    metadata = table(rows=8)
    rng = np.random.default_rng(0)
    won = 0
    for _ in range(40):
        shuffled = metadata.assign(dose=rng.permutation(metadata["dose"]))
        question = pose_task(TASKS["probe"], shuffled, "row")
        draws = resamples(question.groups, draws=200)
        subject = score_task(question, rng.normal(size=(32, 6)), permutations=39)
        null = subject[0].null
        scores = {
            n: estimate(score_task(question, rng.normal(size=(32, 6))), question.groups, draws)
            for n in "abc"
        }
        scores["e"] = estimate(subject, question.groups, draws)
        encoder = scores.pop("e")
        won += judge("e", encoder, scores, null, question.groups).outcome == "beats all controls"
    assert won <= 2  # 5 % of 40


class Oracle(zoo.Encoder):
    """Given the nuclear share of the protein, which is what the phantom plants."""

    def forward(self, batch, **requests):
        rows = []
        for planes in batch.images():
            dna, protein = planes.numpy()
            nucleus = dna > 0.5 * dna.max()
            light = protein - np.percentile(protein, 5)
            rows.append([light[nucleus].sum() / light.clip(0).sum(), 1.0])
        import torch

        return zoo.Features(torch.tensor(rows, dtype=torch.float32), batch.counts)


def oracle():
    record = EncoderSpec(name="oracle", builder="m:f", summary="s", channels=(2, 2))
    return Oracle(record)


@pytest.fixture(scope="module")
def phantom_spec():
    return registry().dataset("phantom")


FAST = ["constant", "gaussian", "pixel-statistics", "object-density"]


@pytest.mark.slow
def test_planted_biology_is_found_and_trivial_controls_do_not_have_it(phantom_spec):
    result = zoo.evaluate(oracle(), make(phantom_spec), controls=[*FAST[:2], FAST[3]])
    outcomes = {f"{r.task} {r.metric}": r.verdict.outcome for r in result.rows}
    assert outcomes["dose Spearman ρ"] == "beats all controls"
    rows = {r.metric: r for r in result.rows}
    density = rows["Spearman ρ"].estimates["object-density"]
    assert density.low <= 0.25, "the number of cells carries no dose"
    assert "beats all controls in" in result.headline


@pytest.mark.slow
def test_a_shortcut_alone_lets_no_encoder_beat_the_controls(phantom_spec):
    dials = Dials(rises={"density": 1}, plates_count=6, doses=4, replicates=2)
    plate = make(phantom_spec, dials)
    result = zoo.evaluate(oracle(), plate, controls=FAST)
    assert "beats all controls" not in [v.outcome for v in result.verdicts], result
    rows = {r.metric: r for r in result.rows}
    assert rows["Spearman ρ"].estimates["object-density"].low > 0.3


@pytest.mark.slow
def test_the_result_never_shows_a_score_alone(phantom_spec, tmp_path):
    plate = make(phantom_spec, SMALL)
    result = zoo.evaluate(oracle(), plate, controls=FAST[:3])
    names = {"oracle", *FAST[:3]}
    for row in result.rows:
        assert set(row.estimates) == names
        assert np.isfinite(row.chance)
        assert (row.n_groups, row.n_items) in {(4, 24), (4, 16)}
    text = str(result)
    for word in (*names, "chance", "Verdicts", "n (groups)"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 120
    titled = [
        replace(row, task="nucleus count in fluorescence and in transmitted light")
        for row in result.rows
    ]
    table = replace(result, rows=tuple(titled)).render(width=120).split("Verdicts")[0]
    assert all(f" {name}" in table for name in names)
    for row in result.rows:
        for e in row.estimates.values():
            assert f"[{e.low:.2f}, {e.high:.2f}]" in table
    result.to_csv(tmp_path / "s.csv")
    written = pd.read_csv(tmp_path / "s.csv")
    assert set(written["encoder"]) == names
    assert len(written) == len(result.rows) * 4
    assert written["chance"].notna().all()


@pytest.mark.slow
def test_the_report_is_one_page_without_a_network(phantom_spec, tmp_path):
    plate = make(phantom_spec, SMALL)
    result = zoo.evaluate(oracle(), plate, controls=FAST[:2])
    result.to_html(tmp_path / "deep" / "index.html")
    page = (tmp_path / "deep" / "index.html").read_text()
    for word in (result.headline, "constant", "gaussian", "chance", "data:image/png", "<svg"):
        assert word in page
    for row in result.rows:
        assert row.verdict.summary in page
    for outside in ('src="http', 'href="http', "@import", "<script src"):
        assert outside not in page


@pytest.mark.slow
def test_the_twin_of_a_trained_encoder_is_always_a_control(golden, phantom_spec):
    plate = make(phantom_spec, SMALL)
    result = zoo.evaluate(
        zoo.load(f"chadavit:{golden}"), plate, controls=["constant"], control_seeds=2
    )
    twin = f"chadavit-untrained:{golden}"
    assert set(result.contenders) == {f"chadavit:{golden}", "constant", twin}
    assert [p["seed"] for p in result.contenders[twin][1]] == [0, 1]
    assert "(2 seeds)" in result.label(twin)
    with pytest.raises(errors.EvaluationError, match="at least one control"):
        zoo.evaluate(zoo.load(f"chadavit:{golden}"), plate, controls=[], control_seeds=0)


@pytest.mark.slow
def test_the_untrained_twin_has_the_precision_of_its_encoder(golden, phantom_spec):
    subject = zoo.load(f"chadavit:{golden}", device="cpu", dtype="bfloat16")
    plate = make(phantom_spec, SMALL)
    found = zoo.evaluate(subject, plate, controls=["constant"], control_seeds=1).contenders
    assert found[subject.spec.twin][1][0]["dtype"] == "bfloat16"
    assert found["constant"][1][0]["dtype"] == "float32"


def test_controls_see_what_the_encoder_sees(golden, phantom_spec):
    encoder = zoo.load(
        f"chadavit:{golden}",
        preprocessing=zoo.Preprocessing(scaling="instance", resize=64, crop=64),
    )
    result = zoo.evaluate(
        encoder, make(phantom_spec, SMALL), controls=["constant"], control_seeds=1
    )
    seen = {p["preprocessing"] for _, records in result.contenders.values() for p in records}
    assert seen == {"scaling instance, shorter side 64, centre crop 64"}


def test_usual_controls_exist_and_fit_their_images():
    images = {"metadata": table(), "read": lambda i: Image(np.zeros((1, 40, 40), np.uint8))}
    data = Dataset("d", spec=spec(), **images)
    ragged = default_controls(data[0], full=False, ragged=True)
    assert default_controls(data[0], full=False, ragged=False) == CONTROLS
    for name in {*CONTROLS, *ragged}:
        assert registry().encoder(name).role == "control"
    assert not any("concat" in name for name in ragged)
    colour = default_controls(data[0], full=True, ragged=False, colour=True)
    assert "untrained:resnet10t/rgb" in colour
    assert not any("concat" in name for name in colour)


@pytest.mark.slow
@pytest.mark.parametrize("last", [3, 1])
def test_colours_are_seen_together_unless_some_images_are_grey(tmp_path, last):
    rng = np.random.default_rng(0)
    rows = []
    for k in range(16):
        shape = (40, 40, 3) if k < 15 or last == 3 else (40, 40)
        picture = PIL.Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        picture.save(tmp_path / f"{k}.png")
        rows.append((f"{k}.png", k % 2, "ABCDEFGH"[k // 2]))
    path = tmp_path / "table.csv"
    pd.DataFrame(rows, columns=["image", "dose", "row"]).to_csv(path, index=False)
    result = zoo.evaluate(
        "pixel-statistics-mean", path, label="dose", group="row", control_seeds=0, permutations=19
    )
    networks = {name for name in result.contenders if name.startswith("untrained:")}
    assert {name.rpartition("/")[2] for name in networks} == {"rgb" if last == 3 else "mean"}


def test_ragged_datasets_get_controls_that_take_them():
    rng = np.random.default_rng(0)
    metadata = table(rows=4, doses=2)

    def read(i):
        return Image(rng.integers(0, 255, (1 + i % 3, 40, 40), dtype=np.uint8))

    plate = Dataset("plate", metadata, read, spec(channels=(1, 3)))
    record = EncoderSpec(name="mean", builder="m:f", summary="s")

    class Mean(zoo.Encoder):
        def forward(self, batch, **requests):
            import torch

            rows = [p.mean().reshape(1) for p in batch.images()]
            return zoo.Features(torch.stack(rows), batch.counts)

    controls = ["pixel-statistics-mean", "object-density"]
    result = zoo.evaluate(Mean(record), plate, controls=controls, cache=False)
    assert len(result.rows) == 1


def test_a_dataset_without_a_spec_or_with_a_bad_image_is_refused():
    plate = Dataset("plate", table(), lambda i: Image(np.zeros((2, 40, 40), np.uint8)))
    with pytest.raises(ValueError, match="plate has no evaluation design"):
        zoo.evaluate(oracle(), plate)
    with pytest.raises(errors.DataError, match="lacks the metadata column"):
        Dataset("plate", table(), plate.read, spec(label="colour"))

    def read(i):
        if i == 3:
            raise errors.ImageError("well 3 is torn")
        return plate.read(i)

    broken = Dataset("plate", table(), read, spec(channels=(2, 2)))
    with pytest.raises(errors.ImageError, match="well 3 is torn"):
        zoo.evaluate(oracle(), broken, controls=["constant"], cache=False)


@pytest.mark.slow
def test_the_real_plate(real_data):
    folder = real_data / "bbbc013"
    result = zoo.evaluate(oracle(), "bbbc013", data=folder, controls=["constant", "gaussian"])
    rows = {(r.task, r.metric): r for r in result.rows}
    assert rows["positive controls", "ROC AUC"].n_items == 24
    assert rows["dose", "Spearman ρ"].n_items == 88
    for control in ("constant", "gaussian"):
        # 88 items in 8 rows: a score of noise stays within two standard errors of 0.11.
        assert abs(rows["dose", "Spearman ρ"].estimates[control].value) < 0.35


def silhouette(embeddings):
    from sklearn.metrics import silhouette_score

    return silhouette_score(embeddings.matrix, embeddings.metadata["dose"])


@pytest.mark.slow
def test_anybodys_function_is_a_score_with_chance_interval_and_verdict():
    metadata = table(rows=8)
    rng = np.random.default_rng(0)
    seen = np.eye(4)[metadata["dose"]] * 3 + rng.normal(size=(32, 4))
    profiles = zoo.Embeddings(seen.astype("f4"), metadata, {"encoder": "mine"})
    result = zoo.evaluate(profiles, label="dose", group="row", metrics=[silhouette])
    row = result.rows[-1]
    assert (row.task, row.metric) == ("metric", "silhouette")
    mine = row.estimates["mine"]
    assert mine.value == pytest.approx(silhouette(profiles))
    assert mine.low < mine.value < mine.high
    assert row.chance < 0.1 < mine.low
    assert row.verdict.outcome == "beats all controls"
    blind = zoo.Embeddings(rng.normal(size=(32, 4)).astype("f4"), metadata, {"encoder": "blind"})
    row = zoo.evaluate(blind, label="dose", group="row", metrics=[silhouette]).rows[-1]
    assert row.verdict.outcome != "beats all controls"


@pytest.mark.slow
def test_a_metric_that_fails_is_named():
    metadata = table(rows=8)
    matrix = np.random.default_rng(0).normal(size=(32, 4)).astype("f4")
    profiles = zoo.Embeddings(matrix, metadata, {"encoder": "mine"})

    def broken(embeddings):
        raise KeyError("no such column")

    def undefined(embeddings):
        return np.nan

    for metric, message in ((broken, "broken failed"), (undefined, "undefined returned nan")):
        with pytest.raises(errors.EvaluationError, match=message):
            zoo.evaluate(profiles, label="dose", group="row", metrics=[metric])


@pytest.mark.slow
def test_embeddings_made_elsewhere_must_be_of_the_same_items(phantom_spec):
    plate = make(phantom_spec, SMALL)
    matrix = np.random.default_rng(0).normal(size=(len(plate), 4)).astype("f4")
    good = zoo.Embeddings(matrix, plate.metadata, {"encoder": "mine"})
    controls = {"controls": ["gaussian"], "cache": False}
    assert zoo.evaluate(good, plate, **controls).encoder == "mine"
    swapped = zoo.Embeddings(matrix, plate.metadata.iloc[::-1], {"encoder": "mine"})
    with pytest.raises(errors.EvaluationError, match="differ in the column 'image'"):
        zoo.evaluate(swapped, plate, **controls)
    short = zoo.Embeddings(matrix[1:], plate.metadata.iloc[1:], {"encoder": "mine"})
    with pytest.raises(errors.EvaluationError, match=r"has 23 rows, but phantom 24"):
        zoo.evaluate(short, plate, **controls)
    matrix[3, 1] = np.nan
    with pytest.raises(errors.EvaluationError, match="NaN or infinite numbers in 1 of 24 rows"):
        zoo.evaluate(good, plate, **controls)


def test_embeddings_that_come_with_a_dataset_stand_beside_their_own_controls():
    metadata = table(rows=8)
    rng = np.random.default_rng(0)
    count = (metadata["dose"].to_numpy()[:, None] + rng.normal(size=(32, 1))).astype("f4")
    profiles = {
        "deep": zoo.plugin.Precomputed("deep", lambda: rng.normal(size=(32, 6)).astype("f4")),
        "count": zoo.plugin.Precomputed("cells", lambda: count, "control", "structural"),
    }
    plates = Dataset("plates", metadata, None, spec(), profiles)
    result = zoo.evaluate("precomputed:deep", plates)
    assert list(result.contenders) == [
        "precomputed:deep",
        "constant",
        "gaussian",
        "precomputed:count",
    ]
    assert result.rows[0].verdict.outcome != "beats all controls"
    with pytest.raises(errors.UnknownNameError, match="it has deep, count"):
        zoo.evaluate("precomputed:depe", plates)
    with pytest.raises(errors.EvaluationError, match="has no images for"):
        zoo.evaluate(oracle(), plates)
    with pytest.raises(errors.EvaluationError, match="pixel-statistics cannot be a control"):
        zoo.evaluate("precomputed:deep", plates, controls=["pixel-statistics"])


def test_a_split_that_separates_a_group_is_refused():
    question = pose_task(TASKS["dose"], table(), "row")
    matrix = np.random.default_rng(0).normal(size=(24, 3))
    torn = [(np.arange(2, 24), np.arange(2))]  # row A has items on both sides
    with pytest.raises(errors.EvaluationError, match=r"separates members of 1 group\(s\).* A$"):
        score_task(question, matrix, splits=torn)


def test_fewer_items_than_neighbours_are_named_by_the_score():
    metadata = table(rows=2, doses=2)
    question = pose_task(TASKS["knn"], metadata, "row")
    score = score_task(question, np.random.default_rng(0).normal(size=(4, 3)))[0]
    assert score.metric == "2-NN balanced accuracy"
