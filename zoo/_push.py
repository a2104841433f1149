"""Publish a trained encoder on the Hugging Face Hub."""

from pathlib import Path

from zoo.registry import upload

from ._encoders.loading import load
from ._training.run_folder import STATE

LEFT_OUT = (STATE, "*.partial")
"""What only this machine needs: the state to go on from."""


def push(
    folder: str | Path, repo: str, *, private: bool = False, endpoint: str | None = None
) -> str:
    """Upload a folder with an encoder, such as that of a run of `train`, to the hub.

    The network is loaded first, so that nothing is published that cannot be loaded. Its config.json
    names the family that reads it as ``model_type``.

    Parameters
    ----------
    folder
        With config.json, model.safetensors and, as a rule, a model card, README.md.
    repo
        ``org/name``; made if it is not there.
    private
        Whether a new repository is private.
    endpoint
        Address of the hub, if it is not the usual one.

    Returns
    -------
    str
        The name that loads it anywhere, ``hf:org/name@commit``.

    Raises
    ------
    WeightsError
        If the folder holds no encoder, or the hub cannot be reached or refuses.

    Examples
    --------
    >>> try:
    ...     zoo.push("nowhere", "org/mine")
    ... except zoo.errors.WeightsError as error:
    ...     print(error)
    hf:nowhere: there is no such folder
    """
    load(f"hf:{folder}", device="cpu")
    commit = upload(Path(folder), repo, leave_out=LEFT_OUT, private=private, endpoint=endpoint)
    return f"hf:{repo}@{commit}"
