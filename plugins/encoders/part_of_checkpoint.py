"""Load the part of a published checkpoint that an encoder needs."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from zoo import plugin

_FLOATS = ("F64", "F32", "F16", "BF16")


def load_part(model: nn.Module, path: Path, prefix: str, ignored: tuple[str, ...]) -> None:
    """Fill a network, which may be on the meta device, from the tensors under a prefix, strictly.

    Parameters
    ----------
    model, path
        Network and safetensors file.
    prefix
        What the names of its tensors begin with in the file.
    ignored
        Beginnings of the names of other tensors that the file may have.

    Raises
    ------
    ArchitectureMismatchError
        For tensors that are missing, unexpected or of the wrong shape.
    IntegrityError
        When the file is not a safetensors file.
    """
    expected = {f"{prefix}{name}": tuple(t.shape) for name, t in model.state_dict().items()}
    given = read_part(path, expected, ignored)
    model.load_state_dict({k.removeprefix(prefix): v for k, v in given.items()}, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def read_part(
    path: Path, expected: Mapping[str, tuple[int, ...]], ignored: tuple[str, ...]
) -> dict[str, Tensor]:
    """Read the tensors of these names and shapes, strictly, beside those that are `ignored`.

    All are floats, and are returned in float32. Raises as `load_part`, before any tensor is read.
    """
    try:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            both = names & set(expected)
            wrong = [n for n in both if tuple(file.get_slice(n).get_shape()) != expected[n]]
            unexpected = [n for n in names - both if not n.startswith(ignored)]
            whole = [n for n in both if file.get_slice(n).get_dtype() not in _FLOATS]
            problems = {
                "missing": sorted(set(expected) - names),
                "unexpected": sorted(unexpected),
                "of another shape": sorted(wrong),
                "not floating point": sorted(whole),
            }
            told = [f"{len(n)} {what} ({', '.join(n[:3])})" for what, n in problems.items() if n]
            if told:
                raise plugin.ArchitectureMismatchError(
                    f"{path} does not fit the network: {'; '.join(told)}"
                )
            return {name: file.get_tensor(name).float() for name in both}
    except SafetensorError as error:
        raise plugin.IntegrityError(
            f"{path} is not a safetensors file, or a broken one ({error})"
        ) from error
