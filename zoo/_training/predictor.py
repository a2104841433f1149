"""The linear layer of a run on labels, as files, and its predictions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo.registry import DataError

from .labels import Labels
from .run_folder import RunFolder

LAYER, COLUMN = "predictor.safetensors", "predictor.json"


def write_predictor(folder: RunFolder, layer: nn.Module, labels: Labels) -> None:
    """Write the layer, and what its outputs mean."""
    from safetensors.torch import save_file

    state = {k: v.detach().cpu().contiguous() for k, v in layer.state_dict().items()}
    folder.write(LAYER, lambda path: save_file(state, path))
    meaning = {
        "column": labels.column,
        "classes": labels.classes,
        "mean": labels.mean,
        "sd": labels.sd,
    }
    text = json.dumps(meaning, indent=1) + "\n"
    folder.write_text(COLUMN, text)


def read_predictor(folder: Path) -> tuple[nn.Linear, Labels]:
    """Read a layer and what its outputs mean.

    Raises
    ------
    DataError
        If the folder has none, or the two files do not fit.
    """
    from safetensors.torch import load_file

    if not (folder / LAYER).is_file() or not (folder / COLUMN).is_file():
        raise DataError(
            f"{folder} predicts nothing: it has no {LAYER}. Train it with --label COLUMN"
        )
    try:
        state = load_file(folder / LAYER)
        meaning: dict[str, Any] = json.loads((folder / COLUMN).read_text(encoding="utf-8"))
        outputs, features = state["weight"].shape
        layer = nn.Linear(features, outputs)
        layer.load_state_dict(state)
        classes = None if meaning["classes"] is None else tuple(map(str, meaning["classes"]))
        none = np.zeros(0)
        found = Labels(
            str(meaning["column"]),
            classes,
            none,
            float(meaning["mean"]),
            float(meaning["sd"]),
            none.astype(bool),
        )
    except Exception as error:  # broken files raise many kinds
        raise DataError(f"the predictor in {folder} cannot be read: {error}") from error
    if found.outputs != outputs:
        raise DataError(f"the predictor in {folder} has {outputs} outputs for {found.outputs}")
    return layer, found


def probabilities(outputs: torch.Tensor, labels: Labels) -> dict[str, list[float]]:
    """Probability of each class, by column name; empty for numbers."""
    if labels.classes is None:
        return {}
    found = outputs.softmax(1).double().numpy()
    return {f"probability_{name}": found[:, k].tolist() for k, name in enumerate(labels.classes)}
