"""What an encoder sees, and whether the evaluation is right, where the truth was planted."""

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
from .._evaluation.contenders import CONTROLS, Contender, contend
from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.scorecard import Row
from .._evaluation.scoring import score
from .._evaluation.tasks import Question, answer, ask, pose
from .metric_validation import validate_metrics
from .study import Study, scored

FACTORS = "phantom-factors"
SHORTCUT = "phantom-shortcut"
TISSUE = "phantom-tissue"
ORACLE = "oracle"
# What the evaluation must find at chance where only the arrangement of cells is biology.
BLIND = ("object-density", "pixel-statistics")
_NUISANCES = ("intensity", "background", "density", "focus", "illumination", "position")


def factor_profile(study: Study) -> Diagnostic:
    """R² of every planted factor as ridge regression reads it from each embedding."""
    title = "What an encoder sees"
    reading = (
        "R² with which ridge regression reads each planted factor of synthetic plates from the "
        "embedding, plates held out: 1 is seen, 0 is not. Nuisances should be near 0 and biology "
        "near 1; most encoders see the nuisances best."
    )
    refused: list[str] = []
    dataset = _planted(FACTORS, refused)
    if dataset is None or study.encoder is None:
        if study.encoder is None:
            refused.append("Embeddings made elsewhere cannot be made of synthetic plates.")
        return Diagnostic(
            name="factors",
            title=title,
            how_to_read=reading,
            not_computed=tuple(refused),
            view="shades",
            order=-2,
        )
    design = design_of(dataset)
    kept = EmbeddingCache() if study.cache else None
    findings: list[Finding] = []
    names = [n for n in study.matrices if study.contenders[n].encoders]
    for place, name in enumerate(names):
        study.tell("factor profile", place, len(names))
        encoder = study.contenders[name].encoders[0]
        try:
            matrix = embed_many(dataset, [encoder], cache=kept)[0].matrix
        except ZooError as error:
            refused.append(f"{name}: {error}")
            continue
        for factor in design.factors:
            question = ask(
                Task(kind="dose", target=factor, title=factor), dataset.metadata, design.group
            )
            with threadpool_limits(1):
                found = scored(
                    question,
                    answer(question, matrix[question.items])[1:],
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
        how_to_read=reading,
        findings=tuple(findings),
        conclusions=_seen(study, findings),
        not_computed=tuple(refused),
        view="shades",
        order=-2,
    )


def _seen(study: Study, findings: list[Finding]) -> tuple[str, ...]:
    """Say which factors the encoder under test sees better than every control."""
    best: dict[str, tuple[float, str]] = {}
    for f in findings:
        if f.encoder != study.subject:
            best[f.quantity] = max(best.get(f.quantity, (-np.inf, "")), (f.value, f.encoder))
    own = {f.quantity: f for f in findings if f.encoder == study.subject}
    ahead = [f"{q} (R² {f.value:.2f})" for q, f in own.items() if q in best and f.low > best[q][0]]
    words = ", ".join(ahead) if ahead else "no factor"
    sentence = f"{study.subject} sees {words} better than every control."
    return (sentence,) if own else ()


def known_truth(study: Study) -> Diagnostic:
    """Verdicts on plates with a shortcut only, and on tissue whose arrangement is the biology."""
    title = "Where the truth is known"
    reading = (
        "The same evaluation on synthetic plates. Where only a shortcut was planted, nobody may be "
        "said to beat the controls; where only the arrangement of cells was planted, an oracle "
        "that is given it must beat them all, and controls that look at density and at pixels "
        "must be at chance."
    )
    refused: list[str] = []
    said: list[str] = []
    findings: list[Finding] = []
    encoder = study.encoder
    if encoder is None:
        refused.append("Embeddings made elsewhere cannot be made of synthetic plates.")
    for place, name in enumerate((SHORTCUT, TISSUE) if encoder is not None else ()):
        study.tell("known truth", place, 2)
        dataset = _planted(name, refused)
        if dataset is None or encoder is None:
            continue
        controls = [c for c in CONTROLS if c != encoder.name]
        kept = EmbeddingCache() if study.cache else None
        try:
            contenders, _ = contend(encoder, dataset, controls=controls, seeds=1, cache=kept)
        except ZooError as error:
            refused.append(f"{name}: {error}")
            continue
        questions = pose(dataset)
        with threadpool_limits(1):
            rows = score(questions, contenders, study.seed)
            findings += _findings_of(rows, encoder.name, name)
            said.append(_won(rows, encoder.name, name))
            if name == TISSUE:
                rivals = {n: c for n, c in contenders.items() if n != encoder.name}
                ideal = score(questions, {ORACLE: _oracle(dataset), **rivals}, study.seed)
                findings += [f for f in _findings_of(ideal, ORACLE, name) if f.encoder == ORACLE]
                said.append(_won(ideal, ORACLE, name))
                said += _blind(questions, contenders, study.seed)
    return Diagnostic(
        name="truth",
        title=title,
        how_to_read=reading,
        findings=tuple(findings),
        conclusions=tuple(said),
        not_computed=tuple(refused),
        order=1,
    )


def metric_validation(study: Study) -> Diagnostic:
    """Which metrics tell an encoder of the biology from one of the shortcut alone."""
    return validate_metrics(seed=study.seed)


def _planted(name: str, refused: list[str]) -> Dataset | None:
    try:
        return load_dataset(name)
    except UnknownNameError:
        refused.append(f"No plugin here offers the dataset {name}.")
        return None


def _oracle(dataset: Dataset) -> Contender:
    """Give the planted dose itself, spread over bumps so that cosines can tell doses apart."""
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
    """Say at which scores controls that must be blind are not at chance."""
    said = []
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
        said.append(f"On {TISSUE}, {name} is {where}.")
    return said
