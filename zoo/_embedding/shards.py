"""Embed one shard of a job, and write its part."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoo.registry import DataError

from .._data.dataset import Dataset
from .._data.positions import POSITIONS, with_canonical_positions
from .._data.tables import as_text
from .._encoders.contract import Encoder
from .._encoders.progress import Progress
from .embed import NothingUsableError, embed_many, provenance_of
from .embeddings import Embeddings, file_metadata
from .job_folder import JobFolder
from .manifest import UnchangedReader
from .run_id import with_run
from .write_aside import write

if TYPE_CHECKING:
    import pyarrow as pa


def embed_shard(
    dataset: Dataset,
    encoder: Encoder,
    folder: JobFolder,
    shard: int,
    states: Sequence[str],
    *,
    width: int | None,
    progress: Progress,
) -> int | None:
    """Embed the items of a shard, and write what was left out and then the part.

    Embeddings are not cached: the part is what a second run finds. `width` are the dimensions of
    other shards, if known; returned are those of this one too.

    Raises
    ------
    DataError
        If the part cannot be written, or embeddings have other dimensions.
    """
    rows = folder.rows(shard)
    assert dataset.read is not None
    own = replace(
        dataset,
        metadata=dataset.metadata.iloc[rows.start : rows.stop].reset_index(drop=True),
        read=UnchangedReader(dataset.read, rows.start, states[rows.start : rows.stop]),
    )
    try:
        found = embed_many(own, [encoder], on_error="skip", progress=progress)[0]
    except NothingUsableError as error:
        found = _empty(own, encoder, error.failures)
    if len(found):
        width = same_width(found.shape[1], width, encoder)
    folder.write_failures(shard, found.failures)
    table = part_table(found, folder.run)
    import pyarrow.parquet as pq

    write(folder.part(shard), lambda path: pq.write_table(table, path))
    return width


def _empty(dataset: Dataset, encoder: Encoder, failures: tuple[tuple[str, str], ...]) -> Embeddings:
    matrix = np.empty((0, encoder.embedding_size or 0), dtype=np.float32)
    metadata = dataset.metadata.iloc[:0]
    if not {"n_channels", "channel_count"} & set(metadata.columns):
        metadata = metadata.assign(channel_count=pd.Series([], dtype="int64"))
    return Embeddings(matrix, metadata, provenance_of(dataset, encoder), failures)


def part_table(found: Embeddings, run: str) -> "pa.Table":
    """Return the table of a part; all parts of a job have the same columns and types.

    Plate, well and site have their canonical names and spelling; what is neither number nor truth
    value is text, also in a part where it is missing.
    """
    import pyarrow as pa

    named = with_run(found, run)
    frame = named.to_frame()
    features = frame.columns[len(named.metadata.columns) :].tolist()
    metadata = with_canonical_positions(frame.drop(columns=features))
    if not {"Metadata_stains", "Metadata_channels"} & set(metadata.columns):
        metadata.insert(len(metadata.columns) - 1, "Metadata_stains", None)
    columns: dict[str, Any] = {
        str(name): _column(str(name), values) for name, values in metadata.items()
    }
    columns |= {c: pa.array(found.matrix[:, i]) for i, c in enumerate(features)}
    return pa.table(columns).replace_schema_metadata(file_metadata(named.provenance, features))


def _column(name: str, values: pd.Series) -> "pa.Array":
    import pyarrow as pa

    if pd.api.types.is_numeric_dtype(values) and name not in POSITIONS:  # truth values as well
        return pa.array(values.to_numpy(), from_pandas=True)
    return pa.array(as_text(values).tolist(), pa.string(), from_pandas=True)


def same_width(width: int, before: int | None, encoder: Encoder) -> int:
    """Refuse other dimensions, as encoders that concatenate channels give for other images."""
    if before is None or width == before:
        return width
    raise DataError(
        f"{encoder.name} gives {width} numbers for the images of one shard and {before} for those "
        "of another: the images differ in their number of channels; use an encoder that averages "
        "channels, or choose channels (--channels)"
    )
