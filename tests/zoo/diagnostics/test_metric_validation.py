"""Metrics on plates whose truth is known: the simulation, the rates, and what follows from them."""

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cosine

import zoo
from zoo._diagnostics import metric_validation as validation
from zoo._diagnostics.metric_validation import (
    CODE,
    DIMENSIONS,
    ITEMS,
    LABELS,
    METRICS,
    PLATE_EFFECT,
    PLATES,
    REPLICATES,
    Run,
    encode,
    metric_verdicts,
    validate_metrics,
)

ACROSS = "mAP, positives from another plate only"
ANY = "mAP, any negatives"
EFFECTS = (0.25, 0.5, 1.0, 2.0)
# Of the order of the wells, as a loop over plates, doses and replicates gives it.
PLATE, DOSE = np.array(
    [(p, d) for p in range(PLATES) for d in range(LABELS) for _ in range(REPLICATES)]
).T


def rng(*seed):
    return np.random.default_rng([99, *seed])


@pytest.fixture(scope="module")
def few():
    """A few metrics with a few runs, and a coarser threshold for the sake of time."""
    names = [ANY, ACROSS, "mean cosine of replicates", "label ASW", "effective rank", "iLISI"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "NULL_RUNS", 60)
        return validate_metrics(seed=0, runs=12, effects=EFFECTS, metrics=names)


def rates(diagnostic, metric, contender):
    chosen = [f for f in diagnostic.findings if (f.quantity, f.encoder) == (metric, contender)]
    return [f.value for f in chosen]


def test_a_known_good_metric_and_a_known_bad_one_come_out_as_such(few):
    found = metric_verdicts(few)
    assert found == {
        ANY: "insufficient",
        ACROSS: "diagnostic",
        "mean cosine of replicates": "insufficient",
        "label ASW": "diagnostic",
        "effective rank": "blind",
        "iLISI": "blind",
    }
    assert rates(few, ANY, "shortcut")[-1] == 1
    assert rates(few, ACROSS, "shortcut")[-1] < 0.5
    assert rates(few, "effective rank", "biology")[-1] == 0


def test_biology_is_detected_the_more_the_stronger_it_is(few):
    for metric in (ANY, ACROSS, "mean cosine of replicates", "label ASW"):
        found = rates(few, metric, "biology")
        assert found == sorted(found)
        assert found[0] < 0.6
        assert found[-1] == 1


def test_findings_say_what_supports_them(few):
    assert len(few.findings) == 6 * 2 * len(EFFECTS)
    assert {f.condition for f in few.findings} == {
        "effect 0.25",
        "effect 0.5",
        "effect 1",
        "effect 2",
    }
    z2 = 1.959963984540054**2
    for f in few.findings:
        assert (f.reference, f.reference_name, f.n_items) == (0.05, "noise", 12)
        # Wilson's interval, written out.
        centre = (f.value + z2 / 24) / (1 + z2 / 12)
        half = np.sqrt(z2 * (f.value * (1 - f.value) / 12 + z2 / 576)) / (1 + z2 / 12)
        assert (f.low, f.high) == pytest.approx((centre - half, centre + half), abs=1e-9)


def test_the_report_says_it_in_sentences(few):
    assert few.name == "validation"
    assert few.not_computed == ()
    starts = [sentence.split(",")[0].split(":")[0] for sentence in few.conclusions[:3]]
    assert starts == ["Diagnostic", "Insufficient", "Blind"]
    for name, verdict in metric_verdicts(few).items():
        (where,) = [s for s in few.conclusions[:3] if f"“{name}”" in s]
        assert where.lower().startswith(verdict)
    assert "from effect 1 on" in few.conclusions[0]
    assert "controls" in few.how_to_read


def test_noise_is_detected_once_in_twenty():
    names = ["label ASW", "share of variance", "BRAS", "participation ratio"]
    found = validate_metrics(seed=3, runs=100, effects=(1, 0), metrics=names)
    for name in names:
        none, _ = rates(found, name, "biology")
        assert none == rates(found, name, "shortcut")[0]  # nothing tells them apart
        # A rate of 100 runs and a threshold from 200 have sds of 0.022 and 0.015.
        assert none <= 0.05 + 4 * np.hypot(0.022, 0.015)
    pooled = np.mean([rates(found, name, "biology")[0] for name in names])
    # Four metrics, some of which go together, count as two or so.
    assert 0 < pooled <= 0.05 + 4 * np.hypot(0.022, 0.015) / np.sqrt(2)


def test_the_same_seed_gives_the_same():
    options = {"runs": 3, "effects": (1,), "metrics": ["label ASW"]}
    first, again, other = (validate_metrics(seed=s, **options) for s in (0, 0, 1))
    assert first == again
    assert first.findings[0].note != other.findings[0].note  # the threshold


def test_encoders_differ_only_in_whether_plates_share_the_code():
    squares = {"biology": {}, "shortcut": {}}
    effect = 2.0
    for contender, found in squares.items():
        for seed in range(60):
            rows = encode(contender, effect, rng(seed))
            for i, j in rng(seed).integers(ITEMS, size=(200, 2)):
                if i != j:
                    kind = (PLATE[i] == PLATE[j], DOSE[i] == DOSE[j])
                    found.setdefault(kind, []).append(((rows[i] - rows[j]) ** 2).sum())
    noise, code = 2 * DIMENSIONS, 2 * CODE * effect**2
    plates = code * PLATE_EFFECT**2
    wanted = {
        "biology": {(0, 0): noise + plates + code, (0, 1): noise + plates},
        "shortcut": {(0, 0): noise + plates + code, (0, 1): noise + plates + code},
    }
    for contender, found in squares.items():
        both = {**wanted[contender], (1, 0): noise + code, (1, 1): noise}
        for kind, expected in both.items():
            # 60 independent sets of 4 plates and 8 codes leave an error of some 6 %; a dose that
            # rises evenly with sd 1 keeps other doses 8/7 as far apart in one dimension of three.
            assert np.mean(found[kind]) == pytest.approx(expected, rel=0.15)


def test_without_effect_both_encoders_see_nothing():
    first, other = (encode(c, 0, rng(1)) for c in ("biology", "shortcut"))
    assert np.array_equal(first, other)
    assert first.shape == (ITEMS, DIMENSIONS)
    assert not np.array_equal(first, encode("biology", 0, rng(2)))
    many = np.stack([encode("biology", 0, rng(k)) for k in range(50)])
    # The sd of 153 600 normal numbers is known to 0.2 %, their mean to 0.26 %.
    assert many.std() == pytest.approx(1, abs=0.01)
    assert many.mean() == pytest.approx(0, abs=0.013)


@pytest.fixture(scope="module")
def extremes():
    """Each metric on encoders of overwhelming biology, of an overwhelming shortcut, of noise."""
    return {
        name: {
            contender: np.mean([METRICS[name](Run(encode(c, effect, rng(k)))) for k in range(3)])
            for contender, c, effect in (
                ("biology", "biology", 40),
                ("shortcut", "shortcut", 40),
                ("noise", "biology", 0),
            )
        }
        for name in METRICS
    }


def test_metrics_at_their_ends(extremes):
    assert all(np.isfinite(list(found.values())).all() for found in extremes.values())
    for name in (
        "5-NN balanced accuracy",
        "dose, Spearman ρ",
        "mAP, positives from another plate only",
    ):
        assert extremes[name]["biology"] > 0.7
        assert extremes[name]["shortcut"] < 0.45
        assert extremes[name]["noise"] < 0.3
    # Of eight doses, one in eight is found by chance; the sd of 96 guesses is 0.034.
    for contender in ("shortcut", "noise"):
        assert extremes["linear probe balanced accuracy"][contender] == pytest.approx(
            0.125, abs=0.1
        )
    # Replicates of a plate coincide, and of 11 replicates two are on the plate.
    assert extremes["mean cosine of replicates"]["shortcut"] > 2 / 11 * 0.8
    assert extremes["CRoMa, median"]["shortcut"] < 0.1
    assert extremes["participation ratio"]["biology"] < 2 * CODE
    assert extremes["effective rank"]["noise"] > 0.7 * DIMENSIONS


def test_consistency_is_the_mean_cosine_over_pairs():
    rows = encode("biology", 1, rng(5))
    pairs = [(i, j) for i, j in combinations(range(ITEMS), 2) if DOSE[i] == DOSE[j]]
    wanted = np.mean([1 - cosine(rows[i], rows[j]) for i, j in pairs])
    assert METRICS["mean cosine of replicates"](Run(rows)) == pytest.approx(wanted, abs=1e-12)


def judged(biology, shortcut, effects=EFFECTS):
    """Verdict of one metric with the given rates, findings in no order."""
    findings = [
        zoo.Finding(encoder=c, quantity="m", condition=f"effect {e:g}", at=e, value=r)
        for c, found in (("shortcut", shortcut), ("biology", biology))
        for e, r in zip(effects, found, strict=True)
    ]
    return metric_verdicts(
        zoo.Diagnostic(
            name="validation",
            title="",
            how_to_read="",
            findings=tuple(findings[::-1]),
            view="rates",
            order=1,
        )
    )["m"]


@pytest.mark.parametrize(
    ("biology", "shortcut", "wanted"),
    [
        ([0.1, 0.5, 0.9, 1.0], [0.0, 0.1, 0.1, 0.2], "diagnostic"),
        ([0.1, 0.1, 0.1, 0.8], [0.0, 0.0, 0.0, 0.5], "diagnostic"),
        ([0.1, 0.5, 0.9, 1.0], [0.0, 0.1, 0.1, 0.9], "insufficient"),
        ([0.1, 0.5, 0.9, 1.0], [0.0, 0.0, 0.6, 0.0], "insufficient"),
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], "insufficient"),
        # Where biology is not seen, nothing is claimed of the metric.
        ([0.1, 0.5, 0.9, 1.0], [0.0, 0.6, 0.1, 0.1], "diagnostic"),
        ([0.0, 0.1, 0.5, 0.79], [0.0, 0.0, 0.0, 0.0], "blind"),
        # Seen once, and not when it is stronger.
        ([0.0, 0.9, 1.0, 0.3], [0.0, 0.0, 0.0, 0.0], "blind"),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.5, 1.0, 1.0], "blind"),
    ],
)
def test_verdicts_follow_from_rates(biology, shortcut, wanted):
    assert judged(biology, shortcut) == wanted


def test_noise_above_its_threshold_is_no_biology():
    assert judged([1.0, 0.1], [1.0, 0.0], (0, 1)) == "blind"
    assert judged([0.05, 1.0], [0.05, 0.0], (0, 1)) == "diagnostic"


def test_verdicts_are_of_a_validation():
    with pytest.raises(ValueError, match="is 'geometry', not 'validation'"):
        metric_verdicts(
            zoo.Diagnostic(
                name="geometry",
                title="",
                how_to_read="",
            )
        )


def test_what_is_undefined_is_refused(monkeypatch):
    some = {"never": lambda run: np.nan, "label ASW": METRICS["label ASW"]}
    monkeypatch.setattr(validation, "METRICS", some)
    found = validate_metrics(runs=2, effects=(1,))
    assert found.not_computed == (
        "never is undefined for 96 wells in total, and is not validated.",
    )
    assert {f.quantity for f in found.findings} == {"label ASW"}
    assert not any("never" in sentence for sentence in found.conclusions)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"runs": 0}, "runs must be at least 1"),
        ({"effects": ()}, "at least one effect must be above 0"),
        ({"effects": (0,)}, "at least one effect must be above 0"),
        ({"effects": (1, -1)}, "different numbers from 0 up"),
        ({"effects": (1, 1.0)}, "different numbers from 0 up"),
        ({"effects": (1, np.nan)}, "different numbers from 0 up"),
        ({"effects": (1, np.inf)}, "different numbers from 0 up"),
        ({"metrics": ["label ASV"]}, "Did you mean 'label ASW'"),
    ],
)
def test_bad_arguments_are_refused(options, why):
    with pytest.raises(ValueError, match=why):
        validate_metrics(**options)
