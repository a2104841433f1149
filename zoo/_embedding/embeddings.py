"""Embeddings: a matrix with its metadata and its provenance."""

import html
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import MissingExtraError

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

        Provenance is stored in ``uns["zoo"]`` as JSON.

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
        try:
            from anndata import AnnData
        except ImportError as error:
            raise MissingExtraError(
                'AnnData needs anndata: pip install "microscopy-zoo[anndata]"'
            ) from error
        table = self.to_frame()
        obs = table[[c for c in table.columns if c.startswith("Metadata_")]]
        obs = obs.rename(columns=lambda c: c.removeprefix("Metadata_"))
        names = [str(i) for i in range(len(self))]
        var = pd.DataFrame(index=[f"embedding_{i:04d}" for i in range(self.shape[1])])
        provenance = json.dumps(self.provenance, default=str)
        return AnnData(self.matrix, obs.set_index(pd.Index(names)), var, {"zoo": provenance})

    def __repr__(self) -> str:
        items, size = self.shape
        encoder = self.provenance.get("encoder", "an unnamed encoder")
        left = f", {len(self.failures)} items left out" if self.failures else ""
        return f"Embeddings({items} items × {size}, by {encoder}{left})"

    def _repr_html_(self) -> str:
        head = self.metadata.head().to_html(index=False)
        return f"<p>{html.escape(repr(self))}</p>{head}"

    def write(self, path: str | Path) -> None:
        """Write Parquet that includes the provenance, or CSV with a ``.json`` next to it.

        Writing is atomic.

        Raises
        ------
        ValueError
            For another suffix.
        MissingExtraError
            For Parquet without pyarrow.

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
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.to_frame(), preserve_index=False)
        metadata = {**(table.schema.metadata or {}), b"zoo": provenance.encode()}
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


def check_output(path: Path) -> None:
    """Raise before embedding starts if a file cannot be written."""
    if path.suffix not in (".parquet", ".csv"):
        raise ValueError(f"{path.name} must end in .parquet or .csv")
    if path.is_dir():
        raise ValueError(f"{path} is a folder")
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                'Parquet needs pyarrow: pip install "microscopy-zoo[parquet]", or write .csv'
            ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}") from error
