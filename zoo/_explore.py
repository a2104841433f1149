"""A page to look at profiles: their map, their neighbours, their images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.registry import DataError

from ._data.dataset import Dataset
from ._data.sources import open_images
from ._embedding.embeddings import Embeddings
from ._embedding.profiles import read_profiles
from ._encoders.progress import Progress, silent
from ._report.explore_page import write_explorer
from ._report.explore_pictures import reader_of_dataset, reader_of_table

PICTURES = 2000


def explore(
    profiles: str | Path | Embeddings,
    path: str | Path,
    *,
    images: str | Path | Dataset | Sequence[Any] | None = None,
    umap: bool = True,
    pictures: int = PICTURES,
    colour: str | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write one page with the map of profiles, to be opened in a browser without a network.

    Points are coloured by any column of the metadata. A click shows an item and its nearest
    neighbours, by the cosine of standardised features, with pictures of their images; a lasso makes
    a table, which can be saved as CSV.

    Parameters
    ----------
    profiles
        From `embed` or `read_profiles`, or what `read_profiles` takes.
    path
        Where the page is written, ``.html``.
    images
        The images that were embedded, a `Dataset` or as for `open_images`. By default files are
        looked for by the column ``image``, relative to the table of profiles and to the working
        directory; pictures are left out if they are not there.
    umap
        Whether to add a UMAP to the principal components, where umap-learn is installed; of many
        items it takes minutes.
    pictures
        Most items with a picture, evenly chosen; each adds about 3 kB to the page.
    colour
        The column to colour by first.
    progress
        Called with the name of the step, items done, and their total.

    Returns
    -------
    tuple of str
        What the page lacks, as sentences.

    Raises
    ------
    DataError
        For fewer than three items, a column that is none, and images that are not those of the
        profiles.

    Examples
    --------
    >>> import numpy as np, pandas as pd, tempfile
    >>> table = pd.DataFrame({"drug": ["a", "b"] * 10})
    >>> matrix = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     zoo.explore(
    ...         zoo.Embeddings(matrix, table, {}), f"{folder}/page.html", umap=False, pictures=0
    ...     )
    ()
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{path} must end in .html")
    folder = Path()
    if not isinstance(profiles, Embeddings):
        folder = Path(profiles).parent
        profiles = read_profiles(profiles)
    if images is None:
        read = reader_of_table(profiles.metadata, profiles.provenance, folder)
    else:
        dataset = images if isinstance(images, Dataset) else open_images(images)
        read = reader_of_dataset(dataset, profiles.metadata, profiles.provenance)
    notes = write_explorer(
        profiles,
        path,
        read,
        umap=umap,
        pictures=pictures,
        colour=colour,
        progress=progress or silent,
    )
    return tuple(notes)
