"""The diagnostic suite: all diagnostics, in the order of the report."""

from collections.abc import Callable

from threadpoolctl import threadpool_limits

from .._evaluation.findings import Diagnostic
from .alignment import alignment
from .batch_effects import mixed, robustness
from .channel_dropout import channels_left_out
from .confounders import confounders
from .effects import effects
from .generalisation import domains
from .geometry import space
from .invariance import drift
from .known_truth import factor_profile, known_truth, metric_validation
from .learning_curve import learning
from .pathological import pathological
from .preprocessing_sweep import sweep
from .readouts import readouts
from .relationships import relationships
from .retrieval import retrieval
from .study import Study
from .untrained_similarity import agreement
from .variance import variance

Ask = Callable[[Study], Diagnostic]
# In the order of the report.
OF_EMBEDDINGS: tuple[Ask, ...] = (
    space,
    agreement,
    variance,
    confounders,
    retrieval,
    effects,
    relationships,
    robustness,
    mixed,
    alignment,
    domains,
    learning,
    readouts,
)
OF_IMAGES: tuple[Ask, ...] = (drift, pathological, channels_left_out, sweep)
OF_THE_TRUTH: tuple[Ask, ...] = (factor_profile, known_truth, metric_validation)


def diagnose(study: Study) -> tuple[Diagnostic, ...]:
    """Run all diagnostics; `Diagnostic.not_computed` lists what these data do not allow."""
    found: list[Diagnostic] = []
    asked = OF_EMBEDDINGS + OF_IMAGES + OF_THE_TRUTH
    for place, ask in enumerate(asked):
        study.report("diagnostics", place, len(asked))
        if ask in OF_EMBEDDINGS or ask is metric_validation:
            # The matrices are small: threads would compete with torch's for the cores.
            with threadpool_limits(1):
                found.append(ask(study))
        else:
            found.append(ask(study))
    study.report("diagnostics", len(asked), len(asked))
    return tuple(found)
