"""What ``zoo.metrics`` shows to the world, pinned, and what its import costs."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from zoo import metrics

ROOT = Path(__file__).resolve().parents[3]
TYPES = """
Confounding Consistency Croma Decomposition Geometry KbetAcceptance Magnitude Mixing Pairs
RelationshipRecall Retrieval RobustnessIndex VarianceShare
"""
FUNCTIONS = """
across_batches any_negatives average_precision balanced_accuracy bras centre_scale cka clisi
confounder_r_squared confounding consistency control_negatives croma decompose energy_distance
expected_average_precision folds geometry graph_connectivity ilisi kbet lisi macro_f1 magnitude
majority_vote mean_average_precision mixing nearest_neighbours neighbour_labels
normalised_average_precision pca_centre_scale principal_component_regression probe_labels r_squared
relationship_recall residualise ridge robustness_index roc_auc rsa silhouette_batch
silhouette_label silhouette_samples spearman sphere tvn z_prime
"""


def test_the_face_changes_on_purpose_only():
    assert metrics.__all__ == [*TYPES.split(), *FUNCTIONS.split()]
    assert all(inspect.isclass(getattr(metrics, name)) for name in TYPES.split())
    assert all(inspect.isfunction(getattr(metrics, name)) for name in FUNCTIONS.split())


def test_the_list_of_groups_names_every_function_and_type():
    named = set(metrics.__doc__.split("`")[1::2])
    assert set(metrics.__all__) <= named


def test_its_import_needs_numpy_only():
    code = (
        "import sys, zoo.metrics\n"
        "heavy = {'torch', 'pandas', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-P", "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("path", sorted(ROOT.glob("benchmarks/*.py")), ids=lambda path: path.name)
def test_benchmarks_take_metrics_by_their_public_names(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zoo.metrics"):
            assert node.module == "zoo.metrics"
            assert {alias.name for alias in node.names} <= set(metrics.__all__)
