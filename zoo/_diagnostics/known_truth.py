"""Synthetic plates with known truth: which factors an encoder encodes, and checks of verdicts."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from zoo.registry import EncoderSpec, Task, UnknownNameError, ZooError

from .._data.dataset import Dataset
from .._data.design import design_of
from .._data.sources import load_dataset
from .._embedding.cache import EmbeddingCache
from .._embedding.embed import embed_many
from .._embedding.embeddings import Embeddings
from .._evaluation.contenders import CONTROLS, Contender, embed_contenders
from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.scorecard import Row
from .._evaluation.scoring import score
from .._evaluation.tasks import Question, pose_task, pose_tasks, score_task
from .metric_validation import validate_metrics
from .study import Study, scored

FACTORS = "phantom-factors"
SHORTCUT = "phantom-shortcut"
TISSUE = "phantom-tissue"
ORACLE = "oracle"
# Controls that must be at chance if only the arrangement of cells is biology.
BLIND = ("object-density", "pixel-statistics")
_NUISANCES = ("intensity", "background", "density", "focus", "illumination", "position")


def factor_profile(study: Study) -> Diagnostic:
    """Predict every planted factor from each embedding by ridge regression."""
    title = "Factors that the embedding encodes"
    how_to_read = (
        "R² of each factor of synthetic plates, predicted from the embedding by ridge regression "
        "on held-out plates. It should be near 1 for biology and near 0 for nuisances; most "
        "encoders encode the nuisances best."
    )
    not_computed: list[str] = []
    dataset = _planted(FACTORS, not_computed)
    if dataset is None or study.encoder is None:
        if study.encoder is None:
            not_computed.append("Without the encoder, synthetic plates cannot be embedded.")
        return Diagnostic(
            name="factors",
            title=title,
            how_to_read=how_to_read,
            not_computed=tuple(not_computed),
            view="shades",
            order=-2,
        )
    design = design_of(dataset)
    kept = EmbeddingCache() if study.cache else None
    findings: list[Finding] = []
    names = [n for n in study.matrices if study.contenders[n].encoders]
    for place, name in enumerate(names):
        study.report("factor profile", place, len(names))
        encoder = study.contenders[name].encoders[0]
        try:
            matrix = embed_many(dataset, [encoder], cache=kept)[0].matrix
        except ZooError as error:
            not_computed.append(f"{name}: {error}")
            continue
        for factor in design.factors:
            question = pose_task(
                Task(kind="dose", target=factor, title=factor), dataset.metadata, design.group
            )
            with threadpool_limits(1):
                found = scored(
                    question,
                    score_task(question, matrix[question.items])[1:],
                    encoder=name,
                    condition="nuisance" if factor in _NUISANCES else "biology",
                    seed=study.seed,
                    reference=0.0,
                    reference_name="the mean",
                )
            findings.append(replace(found, quantity=factor))
    return Diagnostic(
        name="factors",
        title=title,
        how_to_read=how_to_read,
        findings=tuple(findings),
        conclusions=_seen(study, findings),
        not_computed=tuple(not_computed),
        view="shades",
        order=-2,
    )


def _seen(study: Study, findings: list[Finding]) -> tuple[str, ...]:
    """Name the factors that the encoder under test encodes better than every control."""
    best: dict[str, tuple[float, str]] = {}
    for f in findings:
        if f.encoder != study.subject:
            best[f.quantity] = max(best.get(f.quantity, (-np.inf, "")), (f.value, f.encoder))
    own = {f.quantity: f for f in findings if f.encoder == study.subject}
    ahead = [f"{q} (R² {f.value:.2f})" for q, f in own.items() if q in best and f.low > best[q][0]]
    words = ", ".join(ahead) if ahead else "no factor"
    sentence = f"{study.subject} encodes {words} better than every control."
    return (sentence,) if own else ()


def known_truth(study: Study) -> Diagnostic:
    """Check verdicts on plates with only a shortcut, and on tissue with only an arrangement."""
    title = "Verdicts on synthetic plates with known truth"
    how_to_read = (
        "The same evaluation on synthetic plates. If only a shortcut was planted, no encoder "
        "should beat the controls. If only the arrangement of cells was planted, an oracle that "
        "encodes it must beat all controls, and the density and pixel controls must be at chance."
    )
    not_computed: list[str] = []
    conclusions: list[str] = []
    findings: list[Finding] = []
    encoder = study.encoder
    if encoder is None:
        not_computed.append("Without the encoder, synthetic plates cannot be embedded.")
    for place, name in enumerate((SHORTCUT, TISSUE) if encoder is not None else ()):
        study.report("known truth", place, 2)
        dataset = _planted(name, not_computed)
        if dataset is None or encoder is None:
            continue
        controls = [c for c in CONTROLS if c != encoder.name]
        kept = EmbeddingCache() if study.cache else None
        try:
            contenders, _ = embed_contenders(
                encoder, dataset, controls=controls, seeds=1, cache=kept
            )
        except ZooError as error:
            not_computed.append(f"{name}: {error}")
            continue
        questions = pose_tasks(dataset)
        with threadpool_limits(1):
            rows = score(questions, contenders, study.seed)
            findings += _findings_of(rows, encoder.name, name)
            conclusions.append(_won(rows, encoder.name, name))
            if name == TISSUE:
                others = {n: c for n, c in contenders.items() if n != encoder.name}
                ideal = score(questions, {ORACLE: _oracle(dataset), **others}, study.seed)
                findings += [f for f in _findings_of(ideal, ORACLE, name) if f.encoder == ORACLE]
                conclusions.append(_won(ideal, ORACLE, name))
                conclusions += _blind(questions, contenders, study.seed)
    return Diagnostic(
        name="truth",
        title=title,
        how_to_read=how_to_read,
        findings=tuple(findings),
        conclusions=tuple(conclusions),
        not_computed=tuple(not_computed),
        order=1,
    )


def metric_validation(study: Study) -> Diagnostic:
    """Test which metrics distinguish simulated biology from a simulated shortcut."""
    return validate_metrics(seed=study.seed)


def _planted(name: str, not_computed: list[str]) -> Dataset | None:
    try:
        return load_dataset(name)
    except UnknownNameError:
        not_computed.append(f"No installed plugin provides the dataset {name}.")
        return None


def _oracle(dataset: Dataset) -> Contender:
    """Encode the planted dose by radial basis functions, so that cosines distinguish doses."""
    doses = dataset.metadata[design_of(dataset).label].to_numpy(dtype=np.float64)
    levels = np.unique(doses)
    width = np.diff(levels).min()
    bumps = np.exp(-(((doses[:, None] - levels) / width) ** 2))
    noise = np.random.default_rng(0).normal(0, 1e-3, (len(doses), len(levels) + 1))
    matrix = (np.c_[doses, bumps] + noise).astype(np.float32)
    spec = EncoderSpec(name=ORACLE, builder="zoo:Embeddings", summary="The planted factor itself")
    provenance = {"encoder": ORACLE, "dataset": dataset.name}
    return Contender(spec, (Embeddings(matrix, dataset.metadata, provenance),))


def _findings_of(rows: list[Row], subject: str, dataset: str) -> list[Finding]:
    return [
        Finding(
            encoder=name,
            quantity=f"{row.task}, {row.metric}",
            condition=dataset,
            value=e.value,
            low=e.low,
            high=e.high,
            reference=row.chance,
            reference_name="chance",
            n_items=row.n_items,
            n_groups=row.n_groups,
            fitted_on="training folds",
            note=row.verdict.summary if name == subject else "",
        )
        for row in rows
        for name, e in row.estimates.items()
    ]


def _won(rows: list[Row], name: str, dataset: str) -> str:
    won = sum(row.verdict.outcome == "beats all controls" for row in rows)
    return f"On {dataset}, {name} beats all controls in {won} of {len(rows)} scores."


def _blind(questions: list[Question], contenders: Mapping[str, Contender], seed: int) -> list[str]:
    """Report scores at which controls that cannot see the arrangement exceed chance."""
    conclusions = []
    for name in BLIND:
        if name not in contenders:
            continue
        alone = score(questions, {name: contenders[name], "gaussian": contenders["gaussian"]}, seed)
        seeing = [
            f"{r.task}, {r.metric}"
            for r in alone
            if r.verdict.outcome not in ("at chance", "below chance", "no verdict")
        ]
        where = f"above chance in {', '.join(seeing)}" if seeing else "at chance in all scores"
        conclusions.append(f"On {TISSUE}, {name} is {where}.")
    return conclusions
