"""Publish a folder on the Hugging Face Hub."""

from collections.abc import Sequence
from pathlib import Path

from .errors import WeightsNotFoundError
from .hub_client import ask, hub_endpoint


def upload(
    folder: Path,
    repo: str,
    *,
    leave_out: Sequence[str] = (),
    private: bool = False,
    endpoint: str | None = None,
    message: str = "Upload an encoder",
) -> str:
    """Upload a folder as a model repository, which is made if it is not there.

    Parameters
    ----------
    folder
        Its files go to the root of the repository.
    repo
        ``org/name``.
    leave_out
        Patterns of files that stay here.
    private
        Whether a new repository is private.

    Returns
    -------
    str
        The 40-hex commit.

    Raises
    ------
    WeightsError
        If the hub cannot be reached or refuses.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     zoo.registry.upload(Path(folder), "mine")
    Traceback (most recent call last):
    ValueError: 'mine' is not a repository: give org/name
    """
    if repo.count("/") != 1:
        raise ValueError(f"{repo!r} is not a repository: give org/name")
    if not folder.is_dir():
        raise WeightsNotFoundError(f"there is no folder {folder}")
    url = hub_endpoint(endpoint)

    def send() -> str:
        from huggingface_hub import HfApi

        hub = HfApi(endpoint=url)
        hub.create_repo(repo, private=private, exist_ok=True)
        done = hub.upload_folder(
            repo_id=repo,
            folder_path=folder,
            ignore_patterns=list(leave_out),
            commit_message=message,
        )
        return str(done.oid)

    return ask(url, repo, send, upload=True)
