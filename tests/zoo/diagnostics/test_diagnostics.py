"""The diagnostics of embeddings, asked of tables whose truth is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo import plugin
from zoo._diagnostics.alignment import alignment
from zoo._diagnostics.batch_effects import mixed, robustness
from zoo._diagnostics.confounders import confounders
from zoo._diagnostics.effects import effects
from zoo._diagnostics.generalisation import domains
from zoo._diagnostics.geometry import space
from zoo._diagnostics.learning_curve import REPEATS, learning
from zoo._diagnostics.readouts import readouts
from zoo._diagnostics.relationships import relationships
from zoo._diagnostics.retrieval import retrieval
from zoo._diagnostics.study import Study
from zoo._diagnostics.untrained_similarity import agreement
from zoo._diagnostics.variance import variance
from zoo._evaluation.contenders import Contender
from zoo._evaluation.tasks import pose_tasks

PLATES, DOSES, EACH = 8, 4, 3


def table():
    layout = pd.MultiIndex.from_product(
        [[f"P{p}" for p in range(PLATES)], range(DOSES), range(EACH)], names=["plate", "dose", "i"]
    )
    metadata = layout.to_frame(index=False)
    metadata["line"] = np.where(metadata["plate"] < "P4", "U2OS", "A549")
    metadata["control"] = np.where(metadata["dose"] == 0, "negative", "sample")
    metadata["edge"] = np.random.default_rng(9).normal(size=len(metadata))
    metadata["well"] = "W" + metadata["i"].astype(str)
    return metadata


def design(**changes):
    fields = {
        "label": "dose",
        "group": "plate",
        "batch": "plate",
        "negative": {"control": ("negative",)},
        "position": "well",
        "domains": ("line",),
        "confounders": ("edge",),
        "tasks": tuple(
            zoo.Task(kind=kind, target="dose", title="dose")
            for kind in ("dose", "retrieval", "knn", "probe")
        ),
    }
    return zoo.Design(**{**fields, **changes})


def study(matrices, metadata=None, **changes):
    """Contenders by name, the first under test."""
    metadata = table() if metadata is None else metadata
    contenders = {}
    for name, matrix in matrices.items():
        about = plugin.EncoderSpec(name=name, builder="m:f", summary="s")
        rows = zoo.Embeddings(np.asarray(matrix, "f4"), metadata, {"encoder": name})
        contenders[name] = Contender(about, (rows,))
    none = {n: plugin.Precomputed("", lambda: None) for n in matrices}
    plates = zoo.Dataset("plates", metadata, None, None, none, design(**changes))
    return Study(plates, plates.design, tuple(pose_tasks(plates)), contenders)


def noise(n, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def biology(metadata, strength=3.0, seed=1):
    signal = np.c_[np.eye(DOSES)[metadata["dose"]], metadata["dose"], np.zeros((len(metadata), 3))]
    return strength * signal + noise(len(metadata), signal.shape[1], seed)


def shortcut(metadata, seed=2):
    plate = metadata["plate"].str[1:].astype(int)
    return np.c_[np.eye(PLATES)[plate] * 5, noise(len(metadata), 3, seed)]


@pytest.fixture(scope="module")
def known():
    metadata = table()
    return study(
        {
            "biology": biology(metadata),
            "shortcut": shortcut(metadata),
            "noise": noise(len(metadata)),
        }
    )


def values(diagnostic, **wanted):
    """Findings by contender for one quantity and condition."""
    return {
        f.encoder: f
        for f in diagnostic.findings
        if all(getattr(f, k) == v for k, v in wanted.items())
    }


def test_geometry_names_collapse_and_repeated_rows():
    flat = np.ones((PLATES * DOSES * EACH, 5)) + 1e-6 * noise(PLATES * DOSES * EACH, 5)
    round_ = noise(len(flat), 5)
    round_[1] = round_[0]
    found = space(study({"flat": flat, "round": round_}))
    assert any(s.startswith("flat: the embedding is collapsed") for s in found.conclusions)
    assert any("round: 1 of 96 rows are exact duplicates" in s for s in found.conclusions)
    assert not any("Controls" in s for s in found.conclusions)
    ratio = values(found, quantity="participation ratio")
    assert 4 < ratio["round"].value <= 5  # N(0, I) in 5 dimensions, 96 items


def test_collapsed_controls_are_named_together():
    flat = np.ones((96, 5)) + 1e-6 * noise(96, 5)
    found = space(study({"round": noise(96, 5), "flat": flat, "level": 2 * flat}))
    assert found.conclusions == ("Controls with a collapsed embedding: flat, level.",)


def test_agreement_is_one_with_a_rotated_copy_and_none_with_noise(known):
    mine = known.contenders["biology"].embeddings[0].matrix
    turned = mine @ np.linalg.qr(noise(8, 8))[0]
    found = agreement(study({"mine": mine, "turned": turned, "noise": noise(96)}))
    for quantity in ("RSA", "CKA"):
        alike = values(found, quantity=quantity)
        assert alike["turned"].value == pytest.approx(1, abs=1e-4)  # float32 rows
        assert abs(alike["noise"].value) < 0.1
    assert any("has no untrained twin" in s for s in found.not_computed)


def test_variance_goes_where_it_was_put(known):
    found = variance(known)
    first = values(found, quantity="dose", condition="entered last")
    assert first["biology"].value > 0.7
    assert first["shortcut"].value < 0.1
    assert values(found, quantity="plate", condition="entered last")["shortcut"].value > 0.7
    assert any("edge has too many values: 96 for 96 items" in s for s in found.not_computed)


def test_confounders_are_read_and_regressed_out():
    metadata = table()
    metadata["edge"] = metadata["dose"] + 0.1 * noise(96, 1)[:, 0]  # a confounder that is the dose
    seen = np.c_[metadata["edge"], noise(96, 4)]
    found = confounders(study({"edge": seen, "noise": noise(96)}, metadata))
    assert values(found, quantity="edge")["edge"].value > 0.9
    assert values(found, quantity="edge")["noise"].value < 0.1
    by = {
        c: values(found, quantity="dose, R²", condition=c)["edge"].value
        for c in ("raw", "residual", "confounders alone", "partial gain")
    }
    assert by["raw"] > 0.9
    assert by["residual"] < 0.1
    assert by["partial gain"] < 0.02
    assert any("edge adds nothing to the confounders" in s for s in found.conclusions)


def test_what_is_constant_or_unknown_is_no_confounder():
    metadata = table().assign(edge=1.0)
    found = confounders(study({"noise": noise(96)}, metadata))
    assert found.findings == ()
    assert any("edge is constant over all items" in s for s in found.not_computed)
    metadata.loc[3, "edge"] = np.nan
    found = confounders(study({"noise": noise(96)}, metadata))
    assert any("edge is missing for 1 item " in s for s in found.not_computed)
    metadata["rim"] = metadata["edge"]
    found = confounders(study({"noise": noise(96)}, metadata, confounders=("edge", "rim")))
    assert "edge, rim are missing for 1 item and not regressed out." in found.not_computed


def test_retrieval_by_every_definition(known):
    found = retrieval(known)
    conditions = [
        "any negatives",
        "controls of the same plate",
        "positives from another plate only",
        "not at the same well",
    ]
    assert list(dict.fromkeys(f.condition for f in found.findings)) == conditions
    for condition in conditions:
        share = values(found, quantity="normalised mAP", condition=condition)
        assert share["biology"].value > 0.6
        assert share["noise"].value < 0.1
    across = values(found, quantity="normalised mAP", condition=conditions[2])
    assert across["shortcut"].value < 0.1


def test_effects_stand_beside_controls(known):
    found = effects(known)
    for quantity in ("consistency", "magnitude"):
        by = values(found, quantity=quantity)
        assert by["biology"].value > 3 * abs(by["biology"].reference)
        share = values(found, quantity=f"share of dose with {quantity}")
        assert share["biology"].value == 1
        assert share["noise"].value <= 1 / 3  # of three doses beside the control
    assert "24 controls" not in str(found.not_computed)
    without = effects(study({"noise": noise(96)}, negative={}))
    assert without.findings == ()
    assert "no negative controls" in without.not_computed[0]


def test_known_relationships_need_pairs_and_find_what_is_alike():
    assert (
        "No annotated pairs were given"
        in relationships(study({"noise": noise(96)})).not_computed[0]
    )
    metadata = table()
    metadata["gene"] = [f"G{i % 32}" for i in range(96)]
    order = np.array([int(g[1:]) for g in metadata["gene"]])
    module = np.eye(16)[order // 2] * 5 + noise(96, 16)  # genes 2k and 2k + 1 act alike
    pairs = pd.DataFrame([(f"G{2 * k}", f"G{2 * k + 1}") for k in range(16)])
    asked = study(
        {"modules": module, "noise": noise(96)}, metadata, perturbation="gene", negative={}
    )
    found = relationships(replace(asked, pairs=pairs))
    upper = values(found, quantity="recall in the upper tail")
    assert upper["modules"].value == 1
    assert upper["noise"].value < 0.3
    assert upper["noise"].reference == 0.05


def test_more_neighbours_than_items_are_refused():
    small = table().query("plate < 'P2' and i < 2").reset_index(drop=True)
    found = readouts(study({"noise": noise(len(small))}, small))
    assert any("20-NN: a fold has only 8 training items" in s for s in found.not_computed)
    assert not any("20-NN" in f.quantity for f in found.findings)


def test_robustness_and_mixing_tell_biology_from_batch(known):
    index = values(robustness(known), quantity="robustness index")
    assert index["biology"].value > index["biology"].reference > index["shortcut"].value
    both = mixed(known)
    kept = values(both, condition="biology kept", quantity="label ASW")
    batches = values(both, condition="batches mixed", quantity="iLISI")
    assert kept["biology"].value > kept["noise"].value
    assert batches["noise"].value > batches["shortcut"].value
    assert {f.condition for f in both.findings} == {"biology kept", "batches mixed"}


def test_a_batch_that_is_the_label_refuses_the_claim():
    metadata = table()
    metadata["plate"] = "P" + metadata["dose"].astype(str)
    only = (zoo.Task(kind="dose", target="dose", title="dose"),)
    found = mixed(study({"noise": noise(96)}, metadata, tasks=only))
    assert any(s.startswith("Batch correction cannot be assessed") for s in found.not_computed)


def test_one_batch_is_said_and_nothing_is_scored():
    metadata = table().assign(batch="B1")
    alone = study({"noise": noise(96)}, metadata, batch="batch")
    for ask_ in (robustness, mixed):
        found = ask_(alone)
        assert found.findings == ()
        assert any("batch has a single value" in s for s in found.not_computed)
    assert any("There is a single batch" in s for s in retrieval(alone).not_computed)


def test_alignment_takes_away_plates_and_is_shown_beside_raw():
    metadata = table()
    plate = metadata["plate"].str[1:].astype(int).to_numpy()
    shifted = biology(metadata) + 20 * noise(PLATES, 8, seed=4)[plate]
    found = alignment(study({"shifted": shifted}, metadata))
    by = {f.condition: f for f in found.findings if f.quantity == "dose, 5-NN balanced accuracy"}
    assert {"raw", "centre-scale", "PCA, centre-scale", "TVN"} < set(by)
    assert by["centre-scale"].value > by["raw"].value + 0.3
    assert by["TVN"].value > by["raw"].value + 0.3
    assert "24 negative controls" in by["TVN"].fitted_on


@pytest.mark.slow
def test_more_dimensions_than_controls_are_said_once():
    found = alignment(study({"wide": noise(96, 30), "wider": noise(96, 40), "few": noise(96)}))
    (sentence,) = found.conclusions
    assert sentence.startswith("24 negative controls limit PCA and TVN to 23 axes")
    assert sentence.endswith("these have more dimensions: wide (30), wider (40).")
    assert found.not_computed == ()


def test_alignment_without_controls_is_refused():
    found = alignment(study({"noise": noise(96)}, negative={}))
    assert found.findings == ()
    assert any("no negative controls" in s for s in found.not_computed)


def test_a_domain_never_seen_costs_what_does_not_carry():
    metadata = table()
    flip = np.where(metadata["line"] == "U2OS", 1.0, -1.0)  # the sign of the signal is the line's
    signal = metadata["dose"].to_numpy() - 1.5
    turned = np.c_[flip * signal, noise(96, 2)]
    carried = np.c_[signal, noise(96, 2)]
    found = domains(study({"turned": turned, "carried": carried}, metadata))
    inside = values(found, quantity="dose, Spearman ρ", condition="within a line")
    across = values(found, quantity="dose, Spearman ρ", condition="line left out")
    assert inside["turned"].value > 0.9
    assert across["turned"].value < -0.9
    assert across["carried"].value > 0.9
    assert across["turned"].reference == inside["turned"].value
    assert any("All scores are leave-one-plate-out" in s for s in found.not_computed)


@pytest.mark.slow
def test_learning_curves_rise_and_use_as_many_groups_as_they_say():
    metadata = table()
    found = learning(study({"weak": biology(metadata, 0.5), "noise": noise(96)}, metadata))
    curve = [f for f in found.findings if f.encoder == "weak" and f.quantity.endswith("ρ")]
    assert [f.condition for f in curve] == ["1 plate", "2 plates", "4 plates", "7 plates"]
    assert curve[-1].value > curve[0].value
    assert curve[0].seeds == REPEATS
    assert curve[0].fitted_on == "1 of 7 other groups"


def test_too_few_groups_to_learn_from_are_said_once_for_a_score():
    metadata = table()
    metadata["half"] = (metadata["plate"] > "P3").map({True: "late", False: "early"})
    tasks = (zoo.Task(kind="probe", target="half", title="half"),)
    found = learning(study({"noise": noise(96)}, metadata, tasks=tasks))
    (sentence,) = found.not_computed
    assert sentence.startswith("half (probe): some random choices of 1, 2 plates")
    assert sentence.endswith("1, 2 plates for training have a single value of half.")


def test_readouts_agree_on_what_is_plain_and_stand_beside_the_majority(known):
    found = readouts(known)
    for readout in ("1-NN", "5-NN", "20-NN", "ridge probe", "logistic probe"):
        for metric in ("balanced accuracy", "macro-F1"):
            by = values(found, quantity=f"dose, {readout} {metric}")
            assert by["biology"].value > 0.8
            assert by["noise"].value < 0.45
    majority = {f.quantity: f.value for f in found.findings if f.encoder == "majority class"}
    assert majority["dose, balanced accuracy"] == pytest.approx(0.25)
    assert majority["dose, macro-F1"] == pytest.approx(0.4 / 4)  # F1 = 2·(1/4)/(1 + 1/4) for one
