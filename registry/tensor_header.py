"""Names, shapes and dtypes in the headers of safetensors files, before any tensor is read."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .errors import ArchitectureMismatchError, IntegrityError, WeightsError

_FLOATS = ("F64", "F32", "F16", "BF16")


def check_header(
    path: Path | Sequence[Path],
    expected: Mapping[str, tuple[int, ...]],
    *,
    integers: Collection[str] = (),
) -> None:
    """Compare the names and shapes in the headers of safetensors files with a network's.

    Several files are the parts of one network. Only headers are read. Dtypes other than 16-, 32-
    and 64-bit floats are refused, except for the tensors in `integers`, such as the counters of
    batch normalisation.

    Raises
    ------
    ArchitectureMismatchError
        Tensors are missing, unexpected, twice in the files, or of the wrong shape or dtype; the
        message lists them.
    IntegrityError
        A file is broken or not a safetensors file.

    Examples
    --------
    >>> import tempfile, torch
    >>> from pathlib import Path
    >>> from safetensors.torch import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "model.safetensors")
    ...     save_file({"weight": torch.ones(2, 3)}, path)
    ...     zoo.registry.check_header(path, {"weight": (2, 3)})
    """
    parts = [path] if isinstance(path, str | Path) else list(path)
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    twice = set()
    for part in parts:
        header = _header(part)
        twice |= found.keys() & header.keys()
        found |= header
    faults = {
        "missing": expected.keys() - found.keys(),
        "unexpected": found.keys() - expected.keys(),
        "in two files": twice,
        "of the wrong shape": {
            f"{name} {found[name][0]} instead of {tuple(shape)}"
            for name, shape in expected.items()
            if name in found and found[name][0] != tuple(shape)
        },
        "not floating point": {
            f"{name} {kind}"
            for name, (_, kind) in found.items()
            if kind not in _FLOATS and name not in integers
        },
    }
    listed = [
        f"{fault}: {', '.join(sorted(names)[:8])}"
        + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        for fault, names in faults.items()
        if names
    ]
    if listed:
        which = ", ".join(map(str, parts))
        verb = "does" if len(parts) == 1 else "do"
        raise ArchitectureMismatchError(
            f"{which} {verb} not fit the network ({'; '.join(listed)}); give the weights made for "
            "it"
        )


def _header(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Read shape and dtype of each tensor."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {k: (tuple(t.get_shape()), t.get_dtype()) for k, t in tensors.items()}
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error}); check path and rights") from error
    except SafetensorError as error:
        raise IntegrityError(
            f"{path} is not a safetensors file; zoo never unpickles weights; convert a checkpoint "
            f"first, or fix a broken file with 'zoo pull --force' ({error})"
        ) from error
