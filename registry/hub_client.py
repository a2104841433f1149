"""Requests to the Hugging Face Hub: its address, whether it answers, and what its errors mean."""

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from .errors import AccessDeniedError, WeightsError, WeightsNotFoundError

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds, for a response and for retries after server errors."""
WAY_OUT = (
    "fetch it with 'zoo pull' on a machine with a network, or give a local file with weights=PATH"
)


def hub_endpoint(endpoint: str | None) -> str:
    """Address of the hub: what is given, or the environment's."""
    from huggingface_hub import constants

    # The client reads these variables once, at import; here they are read at each call.
    return (endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    said = os.environ.get("HF_HUB_OFFLINE", "").upper()
    return constants.HF_HUB_OFFLINE or said in ("1", "ON", "YES", "TRUE")


def is_reachable(*, endpoint: str | None = None, timeout: float = PATIENCE) -> bool:
    """Whether the hub's address answers HTTP within `timeout` seconds; never raises.

    Uses proxies and certificates of the hub's client. Always False under HF_HUB_OFFLINE.
    """
    url, answers, done = hub_endpoint(endpoint), [], threading.Event()

    def knock() -> None:
        from huggingface_hub import get_session

        with suppress(Exception):
            answers.append(get_session().head(url, timeout=timeout))
        done.set()

    if not is_offline():
        # In a thread: the client's timeout covers neither the name look-up nor the sum over all
        # addresses of a host, which takes minutes behind a firewall that drops packets.
        threading.Thread(target=knock, daemon=True).start()
        done.wait(timeout)
    return bool(answers)


def ask(endpoint: str, what: str, call: Callable[[], T], *, upload: bool = False) -> T:
    """Call the hub, retry after server errors, and translate failures into our errors.

    `upload` says which way the transfer goes, for messages.
    """
    from huggingface_hub.errors import HFValidationError

    if not is_reachable(endpoint=endpoint):
        why = "HF_HUB_OFFLINE is set" if is_offline() else f"{endpoint} cannot be reached"
        if upload:
            raise WeightsNotFoundError(f"{what} is not uploaded: {why}; try again with a network")
        raise WeightsNotFoundError(f"{what} is not in the cache, and {why}; {WAY_OUT}")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except (WeightsError, HFValidationError):
            raise
        except Exception as error:
            # The client wraps the cause in "not in the cache" or "force download failed".
            wrapped = isinstance(error, FileNotFoundError | ValueError) and error.__cause__
            status = getattr(getattr(wrapped or error, "response", None), "status_code", 0)
            if status < 500 or time.monotonic() > deadline:
                raise _explain(endpoint, what, wrapped or error, status, upload) from error
        time.sleep(1)


def _explain(
    endpoint: str, what: str, error: BaseException, status: int, upload: bool
) -> WeightsError:
    from huggingface_hub import errors

    kind: type[WeightsError] = WeightsNotFoundError
    log_in = "log in with 'hf auth login' or set HF_TOKEN"
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(
        error, errors.GatedRepoError
    ):  # a subclass of RepositoryNotFoundError, so it comes first
        kind, fault = AccessDeniedError, "it is gated"
        fix = f"accept the terms at {endpoint}/{what.partition('@')[0]} and {log_in}"
    elif status in (401, 403):
        kind, fault = AccessDeniedError, f"{endpoint} refuses it (HTTP {status})"
        fix = f"it is private or missing: check the name and {log_in}"
    elif isinstance(error, errors.RepositoryNotFoundError):
        fault, fix = f"{endpoint} has no such repository", f"check the name, {log_in}"
    elif isinstance(error, errors.RevisionNotFoundError):
        fault, fix = f"{endpoint} has no such revision of it", "check the revision"
    elif isinstance(error, errors.EntryNotFoundError):
        fault, fix = f"{endpoint} has no such file in it", "check the file name"
    elif number in (errno.ENOSPC, errno.EDQUOT):
        fault, fix = f"the disk is full ({error})", "make room, set HF_HUB_CACHE to another disk"
    elif number in (errno.EACCES, errno.EPERM, errno.EROFS):
        fault, fix = f"the cache cannot be written to ({error})", "set HF_HUB_CACHE elsewhere"
    else:
        reason = f"HTTP {status}" if status else f"{type(error).__name__}: {error}".splitlines()[0]
        fault, fix = f"the transfer from {endpoint} failed ({reason})", "try again later"
    if upload:
        return kind(f"{what} is not uploaded: {fault}; {fix}")
    return kind(f"{what} is not available: {fault}; {fix}, or give a local file with weights=PATH")
