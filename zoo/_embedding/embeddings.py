"""Embeddings: a matrix with its metadata and its provenance."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.registry import MissingExtraError


@dataclass(frozen=True)
class Embeddings:
    """A matrix with its metadata and its provenance; the only thing metrics see.

    Parameters
    ----------
    matrix
        `(n, D)` float32, one row for each item that could be embedded.
    metadata
        `n` rows.
    provenance
        What decided the numbers, as plain values.
    failures
        Items that were left out, with the reason.
    """

    matrix: NDArray[np.float32]
    metadata: pd.DataFrame
    provenance: dict[str, Any]
    failures: tuple[tuple[str, str], ...] = field(default=())

    def __len__(self) -> int:
        return len(self.matrix)

    def to_frame(self) -> pd.DataFrame:
        """Return one table: ``Metadata_*`` columns first, then ``embedding_0000`` and so on."""
        metadata = self.metadata.reset_index(drop=True)
        given = metadata.columns.map(str)
        prefixed = given.map(lambda c: f"Metadata_{c.removeprefix('Metadata_')}")
        metadata.columns = prefixed if prefixed.is_unique else "Metadata_" + given
        names = [f"embedding_{i:04d}" for i in range(self.matrix.shape[1])]
        return pd.concat([metadata, pd.DataFrame(self.matrix, columns=names)], axis=1)

    def write(self, path: str | Path) -> None:
        """Write Parquet with the provenance inside, or CSV with it in a ``.json`` beside it.

        Nothing is left half-written.

        Raises
        ------
        ValueError
            For another suffix.
        MissingExtraError
            For Parquet without pyarrow.
        """
        path = Path(path)
        check_output(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        provenance = json.dumps(self.provenance, indent=1)
        if path.suffix == ".csv":
            sidecar = path.with_suffix(".json")
            with written_whole(path) as table_file, written_whole(sidecar) as sidecar_file:
                self.to_frame().to_csv(table_file, index=False)
                sidecar_file.write_text(provenance + "\n")
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.to_frame(), preserve_index=False)
        metadata = {**(table.schema.metadata or {}), b"zoo": provenance.encode()}
        with written_whole(path) as table_file:
            pq.write_table(table.replace_schema_metadata(metadata), table_file)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a place to write to, which takes the place of `path` once all went well."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Say beforehand, not after an hour of embedding, that a file cannot be written."""
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
