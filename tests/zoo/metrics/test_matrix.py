"""The one check of a matrix, and rows of length 1."""

import numpy as np
import pytest

from zoo.metrics import _matrix
from zoo.metrics._matrix import check_matrix, unit_rows


def test_a_matrix_of_numbers_passes_as_it_is():
    for matrix in (np.ones((2, 3)), np.ones((2, 3), np.float32), np.ones((1, 1), bool)):
        assert check_matrix(matrix) is matrix
    assert check_matrix([[1, 2], [3, 4]]).shape == (2, 2)
    assert check_matrix(np.array([[1, "2"]], object)).dtype == np.float64


@pytest.mark.parametrize("shape", [(), (6,), (0, 2), (3, 0), (2, 2, 2)])
def test_what_is_no_matrix_is_refused_with_its_shape(shape):
    with pytest.raises(ValueError, match=r"query must be a non-empty .* matrix") as raised:
        check_matrix(np.zeros(shape), "query")
    assert str(raised.value).endswith(f"not of shape {shape}")


def test_rows_that_are_wrong_are_counted():
    matrix = np.zeros((10, 2))
    matrix[[3, 5], 1] = np.nan, -np.inf
    with pytest.raises(ValueError, match=r"query has NaN .* in 2 of 10 rows.*row 3"):
        check_matrix(matrix, "query")
    with pytest.raises(ValueError, match="query has 10 rows, but 9 are needed"):
        check_matrix(matrix, "query", rows=9)


@pytest.mark.parametrize("chunk", [1, 3, 4096])
def test_unit_rows_of_any_size(monkeypatch, chunk):
    monkeypatch.setattr(_matrix, "CHUNK", chunk)
    rows = np.array([[3.0, 4], [0, 0], [3e-200, 4e-200], [3e200, 4e200]])
    given = rows.copy()
    wanted = [[0.6, 0.8], [0, 0], [0.6, 0.8], [0.6, 0.8]]
    np.testing.assert_allclose(unit_rows(rows), wanted)
    np.testing.assert_array_equal(rows, given)
    with pytest.raises(ValueError, match="row 1 of query is all zeros"):
        unit_rows(rows, zeros="refuse", name="query")
    assert unit_rows(np.array([[3, 4]])).tolist() == [[0.6, 0.8]]
