"""Graph connectivity: whether the items of a label hang together."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._distances import codes_of, neighbours_of

Array = NDArray[Any]


def graph_connectivity(indices: Array, labels: Array) -> float:
    """Mean over labels of the share of items in the label's largest connected part, in (0, 1].

    The graph joins an item and its neighbours of the same label, whichever is the neighbour of
    which. 1 where every label hangs together; a label with a single item counts as 1.

    Parameters
    ----------
    indices
        `(N, k)` nearest other items of each item.
    labels
        `(N,)`.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    near = neighbours_of(indices)
    label = codes_of(labels, len(near), "labels")
    item, column = np.nonzero(label[near] == label[:, None])
    edges = (np.ones(len(item), np.int8), (item, near[item, column]))
    graph = coo_array(edges, shape=(len(near), len(near)))
    parts, part = connected_components(graph, directed=False)
    largest = np.zeros(label.max() + 1)
    label_of_part = np.empty(parts, np.intp)
    label_of_part[part] = label
    np.maximum.at(largest, label_of_part, np.bincount(part).astype(float))
    return float((largest / np.bincount(label)).mean())
