"""The folder that `zoo.load` reads: network, config.json and model card."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .run_folder import HASHES, RunFolder
from .settings import Settings

CARD = "README.md"


def write_encoder(
    folder: RunFolder,
    networks: Mapping[str, torch.nn.Module],
    settings: Settings,
    *,
    data: str,
    hashes: Sequence[str],
    channels: Sequence[str],
    licence: str,
    summary: str,
) -> None:
    """Write the networks of a finished run: the one to keep, and others in folders of their names.

    Parameters
    ----------
    networks
        By name, such as ``"student"``; ``settings.keep`` is one of them, or there is only one.
    data, hashes
        Name of the images, and the sha256 of each.
    channels
        Stains of the network's channels, in their order; empty where they are told by position.
    licence
        Licence of the network.
    summary
        Sentences of the model card on the run.
    """
    from safetensors.torch import save_file

    kept = settings.keep if settings.keep in networks else next(iter(networks))
    text = "\n".join(sorted(hashes)) + "\n"
    folder.write_text(HASHES, text)
    for name, network in networks.items():
        place = "" if name == kept else f"{name}/"
        config = {
            "model_type": "chadavit",
            **settings.architecture,
            "preprocessing": asdict(settings.preprocessing),
            "trained_on": [data],
            "licence": licence,
            "network": name,
            **({"channel_names": list(channels)} if channels else {}),
        }
        state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
        folder.write(f"{place}model.safetensors", partial(save_file, state))
        folder.write_text(f"{place}config.json", json.dumps(config, indent=1) + "\n")
    if channels:
        summary += f" Its channels are {', '.join(channels)}, and are told by these names."
    text = _card(folder.path, kept, list(networks), settings, data, licence, summary)
    folder.write_text(CARD, text)


def _card(
    path: Path,
    kept: str,
    names: Sequence[str],
    settings: Settings,
    data: str,
    licence: str,
    summary: str,
) -> str:
    """The model card, with the metadata that hubs read."""
    other = [n for n in names if n != kept]
    also = f" The {other[0]} is in `{other[0]}/`." if other else ""
    rows = "\n".join(f"| {k} | {_plain(v)} |" for k, v in settings.to_dict().items())
    versions = f"microscopy-zoo {version('microscopy-zoo')}, torch {torch.__version__}"
    return f"""---
library_name: microscopy-zoo
pipeline_tag: image-feature-extraction
license: {"other" if licence == "not stated" else licence.lower()}
tags: [microscopy, channel-adaptive]
---

# {path.resolve().name}

ChAda-ViT for images of 1 to {settings.max_channels} channels, trained on {data}. {summary}
`zoo.load` gives the {kept}.{also}

```python
import zoo

encoder = zoo.load("chadavit:{path}")
```

Images are prepared so: {settings.preprocessing}. Licence: {licence}. An encoder scores well on the
images that it has seen; evaluate it on others, beside its untrained twin and simple controls:

```
zoo evaluate chadavit:{path} -d TABLE.csv --label LABEL --group GROUP
```

![Curves of the run](training.png)

The settings are our own: those of the published ChAda-ViT are not known.

| setting | value |
|---|---|
{rows}

Made by {versions}, Python {platform.python_version()}.
"""


def _plain(value: Any) -> str:
    return " to ".join(map(str, value)) if isinstance(value, tuple) else str(value)
