"""Predict a column for images, with an encoder that was trained on it."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ._data.dataset import Dataset
from ._data.sources import open_images
from ._embedding.embed import embed
from ._encoders.loading import load
from ._encoders.progress import Progress
from ._training.predictor import probabilities, read_predictor


def predict(
    folder: str | Path,
    source: Any,
    *,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Predict the column that a network was trained on.

    Parameters
    ----------
    folder
        Of a run of `train` with a label.
    source
        A `Dataset`, or anything that `open_images` takes.
    device
        By default the first NVIDIA GPU if there is one, otherwise the CPU.
    progress
        Called with the name of the step, images done, and their total.

    Returns
    -------
    DataFrame
        The metadata of each image that can be used, with ``predicted_COLUMN``, and for classes
        the probability of each.

    Raises
    ------
    DataError
        If the folder is no predictor.

    Examples
    --------
    >>> import tempfile
    >>> data = zoo.load_dataset("phantom")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = zoo.train(data, f"{folder}/doses", label="dose", group="plate", device="cpu",
    ...                     steps=2, images=8, size=32, small_size=16)
    ...     table = zoo.predict(run.folder, data, device="cpu")
    >>> len(table), "predicted_dose" in table
    (96, True)
    """
    layer, labels = read_predictor(Path(folder))
    dataset = source if isinstance(source, Dataset) else open_images(source)
    encoder = load(f"chadavit:{folder}", device=device, dtype="float32")
    found = embed(dataset, encoder, on_error="skip", cache=False, progress=progress)
    with torch.no_grad():
        outputs = layer(torch.from_numpy(found.matrix))
    table = found.metadata.reset_index(drop=True)
    columns = {
        f"predicted_{labels.column}": labels.named(outputs),
        **probabilities(outputs, labels),
    }
    return pd.concat([table, pd.DataFrame(columns)], axis=1)
