"""Convert a pickled checkpoint to safetensors, once and explicitly."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.registry import ArchitectureMismatchError, WeightsError

_PREFIXES = ("backbone.", "encoder.")
# Older versions of torch.load ran code despite weights_only (CVE-2025-32434 and later ones).
_SAFE_TORCH = (2, 10)


@dataclass(frozen=True)
class Converted:
    """What was written: the name of each tensor, and what it was called in the checkpoint."""

    names: Mapping[str, str]

    @property
    def renamed(self) -> dict[str, str]:
        """Tensors whose name changed: new → old."""
        return {new: old for new, old in self.names.items() if new != old}


def convert(checkpoint: Path, out: Path, encoder: str | None = None) -> Converted:
    """Write the tensors of `checkpoint` to `out`.

    Parameters
    ----------
    checkpoint
        Pickled file, read without running the code in it.
    out
        Safetensors file, which must not be there yet.
    encoder
        Name of the encoder that is to load it; its names then decide whether prefixes are dropped,
        and a file that does not fit is not kept. For a family that reads folders, `out` is
        ``model.safetensors`` beside the config.json.

    Raises
    ------
    ValueError
        When `out` does not end in .safetensors or exists.
    WeightsError
        When the checkpoint needs code to be run, holds no tensors, or torch is too old for
        `weights_only` to be trusted.
    ArchitectureMismatchError
        When it does not fit `encoder`: with the missing and the unexpected tensors.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"{out} must end in .safetensors")
    if not out.parent.is_dir():
        raise ValueError(f"there is no folder {out.parent}")
    if out.exists():
        raise ValueError(f"{out} exists already")
    tensors = _tensors(checkpoint)
    short = _without_prefixes(tensors, checkpoint)
    if encoder is None:
        _write(tensors, short, out)
        return Converted(short)
    as_they_are = {name: name for name in tensors}
    faults: list[str] = []
    try:
        for names in (as_they_are, short) if short != as_they_are else (short,):
            _write(tensors, names, out)
            fault = _misfit(encoder, out)
            if fault is None:
                return Converted(names)
            faults.append(fault)
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    out.unlink()
    nearest = min(faults, key=len)  # the shorter list of what differs
    raise ArchitectureMismatchError(
        f"{checkpoint} does not fit {encoder}, nothing is kept: {nearest}; give the checkpoint of "
        "this encoder"
    )


def _tensors(checkpoint: Path) -> dict[str, Any]:
    import torch

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
    found = content.items() if isinstance(content, dict) else ()
    tensors = {str(name): value for name, value in found if isinstance(value, torch.Tensor)}
    if not tensors:
        raise WeightsError(f"{checkpoint} holds no named tensors")
    return tensors


def _without_prefixes(tensors: Mapping[str, Any], checkpoint: Path) -> dict[str, str]:
    """Return the names without the prefixes of whole models, and what they were."""
    names: dict[str, str] = {}
    for name in tensors:
        prefix = next((p for p in _PREFIXES if name.startswith(p)), "")
        short = name.removeprefix(prefix)
        if short in names:
            raise WeightsError(f"{checkpoint} holds {short} under two prefixes")
        names[short] = name
    return names


def _write(tensors: Mapping[str, Any], names: Mapping[str, str], out: Path) -> None:
    from safetensors.torch import save_file

    state = {new: tensors[old].contiguous().clone() for new, old in names.items()}
    save_file(state, out, metadata={"format": "pt"})


def _misfit(encoder: str, out: Path) -> str | None:
    """Say how the file differs from what an encoder loads, or None if it fits."""
    from .build import build, get_spec

    try:
        build(get_spec(encoder), weights=out)
    except ArchitectureMismatchError as error:
        told = str(error).removeprefix(f"{out} does not fit the network")
        told = told.removesuffix("; give the weights made for it").strip(": ")
        return told[1:-1] if told.startswith("(") else told
    return None
