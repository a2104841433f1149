"""Load an encoder by name, ready to encode."""

import logging
from pathlib import Path

import torch

from zoo.registry import (
    AccessDeniedError,
    ArchitectureMismatchError,
    EncoderSpec,
    Fetched,
    Preprocessing,
    Weights,
    WeightsNotFoundError,
    check_header,
    fetch,
    is_cached,
)

from ..metrics._torch_defaults import with_torch_defaults
from .build import build, get_spec
from .contract import Encoder
from .plugin_origin import origin_of
from .terms import terms

_LOG = logging.getLogger("zoo")


@with_torch_defaults
def load(
    name: str,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str = "auto",
    weights: str | Path | None = None,
    seed: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> Encoder:
    """Load an encoder by name.

    Before weights are fetched from the hub, their licence, the page where access to gated ones is
    asked for, and their size are logged as a warning of the logger ``zoo``.

    Parameters
    ----------
    name
        A name from `zoo list`, or `scheme:text` for a family.
    device
        By default the first NVIDIA GPU if there is one, otherwise the CPU.
    dtype
        Floating dtype of the parameters and of the computation. By default float32; for ChAda-ViT
        on a GPU that has its fused kernels, bfloat16, in which norms, sums and the residual stream
        stay float32 (cosine to embeddings of float32 at least 0.9999, untrained and on a CPU).
        ``"float32"`` is for training, too.
    weights
        Local safetensors file to use instead of the record's; the further files of a model of
        several stay those of the record.
    seed
        Random seed of untrained networks and noise; 0 by default.
    preprocessing
        Used instead of the record's.

    Raises
    ------
    UnknownNameError
        With near names.
    WeightsError
        Weights missing, unreachable, corrupt, or for another architecture; never replaced by an
        untrained network.
    ValueError
        `seed` for an encoder that is not seeded, `weights` for one that has none.

    Examples
    --------
    >>> encoder = zoo.load("pixel-statistics", device="cpu")
    >>> encoder
    <zoo.Encoder pixel-statistics on cpu, float32>
    >>> encoder.channels
    (1, None)
    """
    spec = get_spec(name)
    chosen = _dtype(dtype)
    on_cpu = spec.environment is not None and not spec.environment.gpu
    device = pick_device("cpu" if device is None and on_cpu else device)
    if seed is not None and not spec.seeded:
        raise ValueError(f"{name} is not seeded: seed= is for untrained networks and noise")
    if weights is not None and spec.weights is None:
        raise ValueError(f"{name} has no weights to replace, so weights= has no effect")
    file = Weights(path=Path(weights)) if weights is not None else spec.weights
    wanted = [*([] if file is None else [file]), *spec.files]
    _announce(spec, [one for one in wanted if one.repo is not None and not one.is_pickle])
    fetched = _fetch(spec, file) if file is not None else None
    further = [_fetch(spec, one) for one in spec.files]
    encoder = build(
        spec,
        weights=fetched.path if fetched else None,
        files=[one.path for one in further],
        seed=seed or 0,
    )
    if preprocessing is not None:
        encoder.with_preprocessing(preprocessing)
    if fetched is not None:
        encoder.weights_source, encoder.weights_sha256 = fetched.source, fetched.sha256
    encoder.files_sha256 = {one.source: one.sha256 for one in further}
    encoder.from_registry = True
    encoder.origin = origin_of(spec)
    encoder.seed = (seed or 0) if spec.seeded else None
    return encoder.to(device, chosen or encoder.usual_dtype(device))


def _dtype(given: torch.dtype | str) -> torch.dtype | None:
    """Return the dtype that a user names, or None for ``"auto"``."""
    if given == "auto":
        return None
    found = getattr(torch, given, None) if isinstance(given, str) else given
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(
            f"dtype must be 'auto' or a floating torch dtype such as 'float32', not {given!r}"
        )
    return found


def pick_device(name: torch.device | str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"the device {str(name)!r} is not available: give 'cpu', or 'cuda' if torch finds "
            "an NVIDIA GPU ('zoo doctor' shows this)"
        ) from error
    return device


def _announce(spec: EncoderSpec, files: list[Weights]) -> None:
    """Say what is downloaded, and on which terms, before it begins."""
    missing = [str(file) for file in files if not is_cached(file)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        _LOG.warning("%s: %s %s fetched; %s", spec.name, ", ".join(missing), verb, terms(spec))


def _fetch(spec: EncoderSpec, weights: Weights) -> Fetched:
    try:
        return fetch(weights)
    except AccessDeniedError as error:
        raise AccessDeniedError(f"{spec.name}: {error}") from error
    except WeightsNotFoundError as error:
        twin = f"; the untrained network is {spec.twin!r}" if spec.twin else ""
        raise WeightsNotFoundError(f"{spec.name}: {error}{twin}") from error


def load_state(model: torch.nn.Module, path: Path, *further: Path) -> None:
    """Load a safetensors file into a network, which may be on the meta device, strictly.

    Parameters that are split over several files are loaded by giving them all. Names and shapes are
    compared before any tensor is read. Files in half precision are converted to the precision of
    the network.

    Raises
    ------
    ArchitectureMismatchError
        Listing the tensors that are missing, unexpected, twice there or of the wrong shape.
    IntegrityError
        When a file is not a safetensors file.

    Examples
    --------
    >>> import tempfile, torch
    >>> from pathlib import Path
    >>> from safetensors.torch import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "model.safetensors")
    ...     save_file({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, path)
    ...     with torch.device("meta"):
    ...         network = torch.nn.Linear(3, 2)
    ...     zoo.plugin.load_state(network, path)
    >>> network(torch.ones(1, 3)).tolist()
    [[3.0, 3.0]]
    """
    from safetensors.torch import load_file

    state = model.state_dict()
    check_header(
        [path, *further],
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        integers=[name for name, tensor in state.items() if not tensor.is_floating_point()],
    )
    given = {name: tensor for one in (path, *further) for name, tensor in load_file(one).items()}
    kept = {k: v.to(state[k].dtype) if k in state else v for k, v in given.items()}
    result = model.load_state_dict(kept, strict=False, assign=True)
    if result.missing_keys or result.unexpected_keys:  # unreachable unless the file changed
        raise ArchitectureMismatchError(f"{path} changed while it was read")
    for parameter in model.parameters():
        parameter.requires_grad_(True)
