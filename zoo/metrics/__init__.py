"""Metrics of embeddings: arrays in, numbers out.

Every function takes an embedding `(N, D)`, one row an item, with labels and batches `(N,)`, or what
another function here returns. None needs an encoder or a dataset of the zoo.

Predictions
    `spearman`, `r_squared`, `roc_auc`, `balanced_accuracy`, `macro_f1`, `z_prime` score predictions
    and controls; `ridge`, `probe_labels`, `neighbour_labels` make out-of-fold predictions from an
    embedding, in `folds` that never split a group.

Replicate retrieval
    `mean_average_precision` ranks the positive and negative `Pairs` of each profile, chosen by
    `any_negatives`, `control_negatives` or `across_batches`, and returns a `Retrieval`.
    `average_precision`, `expected_average_precision` and `normalised_average_precision` are its
    pieces.

Neighbours
    `nearest_neighbours` finds them; `majority_vote` classifies by them.

Batch mixing and conservation of biology
    `mixing` gives them side by side as `Mixing`: `bras`, `silhouette_batch`, `ilisi` (of `lisi`),
    `kbet` (`KbetAcceptance`), `graph_connectivity` and `principal_component_regression`, and
    `silhouette_label` and `clisi` of the labels. `silhouette_samples` has the width of every item.

Robustness to batches
    `robustness_index` (`RobustnessIndex`) and `croma` (`Croma`): whether neighbours share biology
    or batch.

Alignment
    `centre_scale`, `pca_centre_scale`, `tvn` and `sphere` align batches on their controls.

Effects of perturbations
    `consistency` (`Consistency`) of replicates, `magnitude` (`Magnitude`) by `energy_distance`, and
    `relationship_recall` (`RelationshipRecall`) of annotated pairs.

The space and what explains it
    `geometry` (`Geometry`); `rsa` and `cka` compare two embeddings; `decompose` shares variance out
    among factors (`Decomposition`, `VarianceShare`).

Confounders
    `confounder_r_squared`, `residualise` and `confounding` (`Confounding`).
"""

from ._alignment import centre_scale, pca_centre_scale, sphere, tvn
from ._average_precision import Retrieval, mean_average_precision
from ._confounders import Confounding, confounder_r_squared, confounding, residualise
from ._consistency import Consistency, consistency
from ._energy_distance import Magnitude, energy_distance, magnitude
from ._geometry import Geometry, geometry
from ._graph import graph_connectivity
from ._kbet import KbetAcceptance, kbet
from ._lisi import clisi, ilisi, lisi
from ._mixing import Mixing, mixing
from ._neighbours import majority_vote, nearest_neighbours
from ._pairs import Pairs, across_batches, any_negatives, control_negatives
from ._pcr import principal_component_regression
from ._precision import (
    average_precision,
    expected_average_precision,
    normalised_average_precision,
)
from ._probes import folds, neighbour_labels, probe_labels, ridge
from ._relationships import RelationshipRecall, relationship_recall
from ._robustness import Croma, RobustnessIndex, croma, robustness_index
from ._scores import balanced_accuracy, macro_f1, r_squared, roc_auc, spearman, z_prime
from ._silhouette import bras, silhouette_batch, silhouette_label, silhouette_samples
from ._similarity import cka, rsa
from ._variance import Decomposition, VarianceShare, decompose

__all__ = [
    "Confounding",
    "Consistency",
    "Croma",
    "Decomposition",
    "Geometry",
    "KbetAcceptance",
    "Magnitude",
    "Mixing",
    "Pairs",
    "RelationshipRecall",
    "Retrieval",
    "RobustnessIndex",
    "VarianceShare",
    "across_batches",
    "any_negatives",
    "average_precision",
    "balanced_accuracy",
    "bras",
    "centre_scale",
    "cka",
    "clisi",
    "confounder_r_squared",
    "confounding",
    "consistency",
    "control_negatives",
    "croma",
    "decompose",
    "energy_distance",
    "expected_average_precision",
    "folds",
    "geometry",
    "graph_connectivity",
    "ilisi",
    "kbet",
    "lisi",
    "macro_f1",
    "magnitude",
    "majority_vote",
    "mean_average_precision",
    "mixing",
    "nearest_neighbours",
    "neighbour_labels",
    "normalised_average_precision",
    "pca_centre_scale",
    "principal_component_regression",
    "probe_labels",
    "r_squared",
    "relationship_recall",
    "residualise",
    "ridge",
    "robustness_index",
    "roc_auc",
    "rsa",
    "silhouette_batch",
    "silhouette_label",
    "silhouette_samples",
    "spearman",
    "sphere",
    "tvn",
    "z_prime",
]
