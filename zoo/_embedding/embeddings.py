"""Embeddings: a matrix with its metadata and its provenance."""

import html
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import MissingExtraError

from .anndata_encodings import as_anndata

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Embeddings:
    """A matrix with its metadata and its provenance; the input of all metrics.

    Parameters
    ----------
    matrix
        `(n, D)` float32, one row for each item that could be embedded.
    metadata
        `n` rows.
    provenance
        Everything that determined the numbers, as plain values.
    failures
        Items that were left out, with the reason.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> table = pd.DataFrame({"well": ["A01", "A02", "A03"]})
    >>> embeddings = zoo.Embeddings(np.eye(3, dtype=np.float32), table, {"encoder": "mine"})
    >>> embeddings
    Embeddings(3 items × 3, by mine)
    >>> embeddings[table["well"] != "A02"].metadata["well"].tolist()
    ['A01', 'A03']
    >>> np.asarray(embeddings).shape
    (3, 3)
    """

    matrix: NDArray[np.float32]
    metadata: pd.DataFrame
    provenance: dict[str, Any]
    failures: tuple[tuple[str, str], ...] = field(default=())

    def __len__(self) -> int:
        return len(self.matrix)

    def __getitem__(self, rows: Any) -> "Embeddings":
        """Select items by a slice, a boolean mask or positions."""
        if isinstance(rows, int | np.integer):
            rows = [rows]
        chosen = np.arange(len(self))[rows]
        table = self.metadata.iloc[chosen].reset_index(drop=True)
        return replace(self, matrix=self.matrix[chosen], metadata=table)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is None:  # which NumPy 1 does not know
            return np.asarray(self.matrix, dtype=dtype)
        return np.array(self.matrix, dtype=dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, int]:
        """Items and dimensions."""
        return self.matrix.shape[0], self.matrix.shape[1]

    def numpy(self) -> NDArray[np.float32]:
        """Return the matrix.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> table = pd.DataFrame({"well": ["A01", "A02", "A03"]})
        >>> embeddings = zoo.Embeddings(np.eye(3, dtype=np.float32), table, {"encoder": "mine"})
        >>> embeddings.numpy().shape
        (3, 3)
        """
        return self.matrix

    def to_frame(self) -> pd.DataFrame:
        """Return one table: ``Metadata_*`` columns first, then ``embedding_0000`` and so on.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> table = pd.DataFrame({"well": ["A01", "A02", "A03"]})
        >>> embeddings = zoo.Embeddings(np.eye(3, dtype=np.float32), table, {"encoder": "mine"})
        >>> embeddings.to_frame().columns.tolist()
        ['Metadata_well', 'embedding_0000', 'embedding_0001', 'embedding_0002']
        """
        metadata = self.metadata.reset_index(drop=True)
        given = metadata.columns.map(str)
        prefixed = given.map(lambda c: f"Metadata_{c.removeprefix('Metadata_')}")
        metadata.columns = prefixed if prefixed.is_unique else "Metadata_" + given
        names = [f"embedding_{i:04d}" for i in range(self.matrix.shape[1])]
        return pd.concat([metadata, pd.DataFrame(self.matrix, columns=names)], axis=1)

    def to_anndata(self) -> "AnnData":
        """Return an `anndata.AnnData`: the matrix as ``X``, metadata as ``obs``.

        Text is categorical, which old and new versions of anndata read. Provenance is stored in
        ``uns["zoo"]`` as JSON.

        Raises
        ------
        MissingExtraError
            Without anndata.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> table = pd.DataFrame({"well": ["A01", "A02", "A03"]})
        >>> embeddings = zoo.Embeddings(np.eye(3, dtype=np.float32), table, {"encoder": "mine"})
        >>> embeddings.to_anndata().obs["well"].tolist()
        ['A01', 'A02', 'A03']
        """
        return as_anndata(self.matrix, self.to_frame(), self.provenance)

    def __repr__(self) -> str:
        items, size = self.shape
        encoder = self.provenance.get("encoder", "an unnamed encoder")
        left = f", {len(self.failures)} items left out" if self.failures else ""
        return f"Embeddings({items} items × {size}, by {encoder}{left})"

    def _repr_html_(self) -> str:
        head = self.metadata.head().to_html(index=False)
        return f"<p>{html.escape(repr(self))}</p>{head}"

    def write(self, path: str | Path) -> None:
        """Write Parquet or AnnData (``.h5ad``) with the provenance in it, or CSV beside ``.json``.

        Writing is atomic. Parquet names the columns of features in its metadata as well, as a JSON
        list under ``zoo_features``.

        Raises
        ------
        ValueError
            For another suffix.
        MissingExtraError
            For Parquet without pyarrow, for ``.h5ad`` without anndata.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> table = pd.DataFrame({"well": ["A01", "A02", "A03"]})
        >>> embeddings = zoo.Embeddings(np.eye(3, dtype=np.float32), table, {"encoder": "mine"})
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     embeddings.write(f"{folder}/profiles.csv")
        ...     zoo.read_profiles(f"{folder}/profiles.csv").shape
        (3, 3)
        """
        path = Path(path)
        check_output(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        provenance = json.dumps(self.provenance, indent=1)
        if path.suffix == ".csv":
            sidecar = path.with_suffix(".json")
            with atomic_write(path) as table_file, atomic_write(sidecar) as sidecar_file:
                self.to_frame().to_csv(table_file, index=False)
                sidecar_file.write_text(provenance + "\n")
            return
        if path.suffix == ".h5ad":
            data = self.to_anndata()
            with atomic_write(path) as file:
                data.write_h5ad(file)
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        frame = self.to_frame()
        features = frame.columns[len(frame.columns) - self.shape[1] :].tolist()
        table = pa.Table.from_pandas(frame, preserve_index=False)
        metadata = {**(table.schema.metadata or {}), **file_metadata(self.provenance, features)}
        with atomic_write(path) as table_file:
            pq.write_table(table.replace_schema_metadata(metadata), table_file)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` on success."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


FEATURES = b"zoo_features"


def file_metadata(provenance: Mapping[str, Any], features: Sequence[str]) -> dict[bytes, bytes]:
    """Return what a Parquet file says of itself: provenance, and which columns are features."""
    said = {b"zoo": json.dumps(provenance, indent=1, default=str)}
    said[FEATURES] = json.dumps(list(features))
    return {name: text.encode() for name, text in said.items()}


# Suffix of an output, the package that writes it, and the extra that brings it.
_FORMATS = {".parquet": ("pyarrow", "parquet"), ".csv": None, ".h5ad": ("anndata", "anndata")}
OUTPUTS = tuple(_FORMATS)


def check_output(path: Path) -> None:
    """Raise before embedding starts if a file cannot be written."""
    if path.suffix not in OUTPUTS:
        raise ValueError(f"{path.name} must end in {', '.join(OUTPUTS[:-1])} or {OUTPUTS[-1]}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder")
    needed = _FORMATS[path.suffix]
    if needed is not None and find_spec(needed[0]) is None:
        raise MissingExtraError(
            f'{path.name} needs {needed[0]}: pip install "microscopy-zoo[{needed[1]}]", or write '
            ".csv"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}") from error
