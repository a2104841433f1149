"""Run code of a plugin so that it cannot end, interrupt or print into the program."""

import contextlib
import io
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupted(BaseException):
    """The user pressed Ctrl-C, as opposed to a plugin that raises KeyboardInterrupt itself."""


@contextlib.contextmanager
def isolated(said: io.StringIO) -> Iterator[None]:
    """Collect what is printed in `said`, and tell Ctrl-C apart from a raised KeyboardInterrupt."""
    with contextlib.redirect_stdout(said), _listening():
        yield


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield  # the program has its own way
        return
    signal.signal(signal.SIGINT, _pressed)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _pressed(number: int, frame: FrameType | None) -> None:
    raise Interrupted
