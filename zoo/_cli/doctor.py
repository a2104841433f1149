"""Check what works on this machine, and how to fix what does not."""

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Literal

from zoo.registry import is_reachable, registry
from zoo.registry.cache_folder import cache_folder

_EXTRAS = {
    "pyarrow": ("parquet", "Parquet files"),
    "jinja2": ("report", "the HTML report"),
    "matplotlib": ("report", "the figure of attention"),
    "umap": ("umap", "UMAP in the map of the report"),
    "h5py": ("tissue", "HEST"),
    "imagecodecs": ("codecs", "TIFF files compressed with LZW, JPEG and others"),
    "anndata": ("anndata", "AnnData files (.h5ad)"),
    "zarr": ("zarr", "Zarr and OME-Zarr"),
    "openslide": ("slides", "whole slides"),
    "bioio": ("bioio", "ND2, LIF and CZI files"),
    "cellpose": ("cellpose", "nuclei found by Cellpose"),
    "s3fs": ("remote", "images in object stores and behind URLs"),
    "ray": ("ray", "zoo embed --engine ray"),
}
_DISTRIBUTIONS = {"umap": "umap-learn", "openslide": "openslide-python"}


@dataclass(frozen=True)
class Check:
    """One check of the machine: ``"note"`` is a limitation, ``"broken"`` needs a fix."""

    state: Literal["ok", "note", "broken"]
    part: str
    text: str
    fix: str = ""


def examine() -> list[Check]:
    """Check everything that the zoo depends on."""
    return [*_interpreter(), *_torch(), *_extras(), *_storage(), *_hub(), *_plugins()]


def _interpreter() -> Iterator[Check]:
    version = metadata.version("microscopy-zoo")
    yield Check("ok", "zoo", f"{version} on Python {platform.python_version()}, {sys.platform}")


def _torch() -> Iterator[Check]:
    try:
        import torch
    except Exception as error:  # a broken build raises anything
        yield Check("broken", "torch", f"cannot be imported: {error}", "pip install torch")
        return
    yield Check("ok", "torch", torch.__version__)
    unit, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    yield Check("ok", "CPU", f"{unit}, {threads} threads; encoders compute in float32 by default")
    if torch.cuda.is_available():
        yield Check("ok", "GPU", torch.cuda.get_device_name(0))
    else:
        yield Check("note", "GPU", "not found by torch: encoders run on the CPU")
    if find_spec("triton") is None:
        yield Check("note", "triton", "not installed: attention uses PyTorch")
    else:
        yield Check("ok", "triton", metadata.version("triton"))
    yield from _kernels()
    try:
        import timm

        yield Check("ok", "timm", timm.__version__)
    except Exception as error:
        yield Check(
            "broken",
            "timm",
            f"cannot be imported: {error}",
            "install torch and torchvision together, from the same index",
        )


def _kernels() -> Iterator[Check]:
    """Run the fused attention once on the GPU."""
    import torch

    from zoo.kernels import RaggedPlan, ragged_attention

    if not torch.cuda.is_available():
        return
    plan = RaggedPlan.from_lengths([5, 3], "cuda")
    qkv = torch.ones(8, 3, 1, 16, device="cuda")
    try:
        out = ragged_attention(qkv, plan.cu_seqlens, plan=plan, backend="triton")
        right = bool((out == 1).all())
    except ValueError as error:
        yield Check("note", "attention", f"uses PyTorch: {error}")
        return
    except Exception as error:  # a compiler or a driver may raise anything
        cause = f"{type(error).__name__}: {error}"
        yield Check("broken", "attention", f"the fused kernels fail: {cause}", "update triton")
        return
    text = "the fused kernels run" if right else "the fused kernels return wrong numbers"
    yield Check("ok" if right else "broken", "attention", text)


def _extras() -> Iterator[Check]:
    for module, (extra, purpose) in _EXTRAS.items():
        if find_spec(module) is None:
            fix = f'pip install "microscopy-zoo[{extra}]"'
            yield Check("note", module, f"not installed: needed for {purpose}", fix)
        else:
            yield Check("ok", module, metadata.version(_DISTRIBUTIONS.get(module, module)))


def _storage() -> Iterator[Check]:
    folder = cache_folder()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if os.access(existing, os.W_OK):
        yield Check("ok", "cache", str(folder))
    else:
        yield Check("note", "cache", f"{folder} cannot be written", "set ZOO_CACHE to a folder")


def _hub() -> Iterator[Check]:
    if is_reachable():
        yield Check("ok", "hub", "reachable")
    else:
        yield Check(
            "note",
            "hub",
            "not reachable: weights that are not on this machine cannot be fetched",
            "run 'zoo pull' where there is a network, or load with weights=PATH",
        )


def _plugins() -> Iterator[Check]:
    for plugin in registry().plugins:
        if plugin.cause is not None:
            fix = plugin.fix or f"update or uninstall {plugin.distribution} {plugin.version}"
            yield Check("broken", f"plugin {plugin.name}", plugin.cause, fix)
    sound = len(registry().plugins) - len(registry().broken)
    yield Check("ok", "plugins", f"{sound} in order")
