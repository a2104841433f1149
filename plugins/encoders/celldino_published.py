"""What the functions of the authors' hubconf.py make: sizes, order of channels, crops, terms.

Their checkpoints come by a form of Meta AI, ai.meta.com/resources/models-and-libraries/
cell-dino-downloads, and have no address that could stand in a record.
"""

from typing import Any

_LICENCE = "FAIR Noncommercial Research License (weights, by the form of Meta AI)"
_SMALL = {"embed_dim": 384, "depth": 12, "num_heads": 6, "block_chunks": 4, "licence": _LICENCE}
_LARGE = {"embed_dim": 1024, "depth": 24, "num_heads": 16, "block_chunks": 4, "licence": _LICENCE}
# Of the Human Protein Atlas, of which the authors' code tells only that the protein is second.
_PROTEINS = {"in_chans": 4, "trained_on": ["Human Protein Atlas"]}

PUBLISHED: dict[str, dict[str, Any]] = {
    "cell_dino_cp_vits8": {
        **_SMALL,
        "img_size": 128,
        "patch_size": 8,
        "in_chans": 5,
        # Not the order of a preprint: github.com/broadinstitute/Dino4Cells_analysis/issues/1.
        "channel_names": ["DNA", "RNA", "ER", "AGP", "Mito"],
        "trained_on": ["combined Cell Painting dataset"],
    },
    "cell_dino_hpa_vitl16": {
        **_LARGE,
        **_PROTEINS,
        "img_size": 224,
        "patch_size": 16,
        "preprocessing": {"resize": None, "crop": 384},
    },
    "cell_dino_hpa_vitl14": {**_LARGE, **_PROTEINS, "img_size": 518, "patch_size": 14},
    "channel_adaptive_dino_vitl16": {
        **_LARGE,
        "img_size": 224,
        "patch_size": 16,
        "in_chans": 1,
        "channel_adaptive": True,
        "preprocessing": {"resize": 256, "crop": 224},
        "trained_on": ["Extended CHAMMI"],
    },
}
"""Fields of config.json by the name of the function; crops are those of their evaluations."""
