"""Graph connectivity of the items of a label."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._distances import codes_of, neighbours_of

Array = NDArray[Any]


def graph_connectivity(indices: Array, labels: Array) -> float:
    """Mean over labels of the share of items in the label's largest connected part, in (0, 1].

    The graph has an edge between an item and a neighbour of the same label, in whichever direction.
    1 where each label is connected; a label with one item counts as 1 (Luecken et al., 2022).

    Parameters
    ----------
    indices
        `(N, k)` nearest other items of each item.
    labels
        `(N,)`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For indices that are no neighbours, and labels that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from zoo.metrics import graph_connectivity
    >>> graph_connectivity(np.array([[1], [0], [3], [2]]), np.array(["a", "a", "b", "b"]))
    1.0
    >>> graph_connectivity(np.array([[1], [0], [3], [2]]), np.array(["a", "a", "a", "a"]))
    0.5
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
