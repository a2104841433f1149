"""Convert a pickled checkpoint to safetensors, once and explicitly."""

from pathlib import Path

from zoo.registry import WeightsError

_PREFIXES = ("backbone.", "encoder.")
# Older versions of torch.load ran code despite weights_only (CVE-2025-32434 and later ones).
_SAFE_TORCH = (2, 10)


def convert(checkpoint: Path, out: Path) -> list[str]:
    """Write the tensors of `checkpoint` to `out` and return their names.

    Raises
    ------
    ValueError
        When `out` does not end in .safetensors or exists.
    WeightsError
        When the checkpoint needs code to be run, holds no tensors, or torch is too old for
        `weights_only` to be trusted.
    """
    import torch
    from safetensors.torch import save_file

    if out.suffix != ".safetensors":
        raise ValueError(f"{out} must end in .safetensors")
    if not out.parent.is_dir():
        raise ValueError(f"there is no folder {out.parent}")
    if out.exists():
        raise ValueError(f"{out} exists already")
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < _SAFE_TORCH:
        raise WeightsError(f"torch {torch.__version__} cannot be trusted with pickles: update it")
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{checkpoint} cannot be loaded without running code, or is not a checkpoint; "
            "save its state_dict alone, which holds tensors only"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    tensors = {}
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, torch.Tensor):
            prefix = next((p for p in _PREFIXES if str(name).startswith(p)), "")
            short = str(name).removeprefix(prefix)
            if short in tensors:
                raise WeightsError(f"{checkpoint} holds {short} under two prefixes")
            tensors[short] = value.contiguous().clone()
    if not tensors:
        raise WeightsError(f"{checkpoint} holds no named tensors")
    save_file(tensors, out, metadata={"format": "pt"})
    return sorted(tensors)
