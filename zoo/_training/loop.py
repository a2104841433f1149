"""The loop of a run: batches in, log and states out, from wherever the run was left."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

import torch

from zoo.registry import CollapseError, StoppedError

from .._encoders.progress import Progress
from .batches import ViewBatch, Waiting, batches
from .collapse import REMEDIES, Collapse
from .images import TrainingImages
from .ranks import rank, world
from .run_folder import RunFolder
from .settings import Settings

VOLATILE = ("seconds", "waiting")
"""What a log's row holds of the clock, so that it differs from run to run."""


class Objective(Protocol):
    """What is trained: takes batches, and has a state."""

    device: torch.device

    @property
    def finished(self) -> bool:
        """Whether to end before the last step."""
        ...

    def step(self, batch: ViewBatch) -> dict[str, float]:
        """Update with a batch; return what is logged."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        ...


def run(
    objective: Objective,
    images: TrainingImages,
    settings: Settings,
    folder: RunFolder,
    *,
    collapse: Collapse | None,
    probe: Callable[[], Mapping[str, float]] | None,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Train until the last step; return the log.

    Parameters
    ----------
    collapse
        Watches the log; None to go on whatever happens.
    probe
        Called ten times in a run; its scores are logged.

    Raises
    ------
    CollapseError
        When the run has collapsed.
    StoppedError
        After SIGTERM or Ctrl-C, when the state is saved.
    """
    state = folder.read_state(objective.device)
    first = 0
    if state is not None:
        first = state["step"]
        objective.load_state(state)
    log = folder.read_log(before=first)
    if rank() == 0:
        folder.write_log(log)
    if objective.finished:
        return log
    waiting, began = Waiting(), time.monotonic()
    saved = began
    every = max(settings.steps // 10, 1)

    def save(step: int) -> None:
        if rank() == 0:
            folder.save_state({**objective.state(), "step": step})

    with _stopped() as stopped:
        made = batches(images, settings, first=first, rank=rank(), world=world(), waiting=waiting)
        for batch in made:
            step = batch.planned.step
            row: dict[str, Any] = {"step": step, "epoch": batch.planned.epoch}
            row |= objective.step(batch)
            if probe is not None and ((step + 1) % every == 0 or step + 1 == settings.steps):
                row |= probe()
            now = time.monotonic()
            row |= {"seconds": round(now - began, 3), "waiting": round(waiting.seconds, 3)}
            log.append(row)
            if rank() == 0:
                folder.append_log(row)
            progress(f"training, loss {row['loss']:.3f}", step + 1, settings.steps)
            found = None if collapse is None else collapse(step, row)
            if found is not None:
                save(step + 1)
                raise CollapseError(f"the run has {REMEDIES[found]}")
            last = step + 1 == settings.steps or objective.finished
            if stopped() or now - saved > settings.save_every or last:
                save(step + 1)
                saved = now
            if last:
                break
            if stopped():
                raise StoppedError(
                    f"stopped after step {step + 1} of {settings.steps}, which is saved in "
                    f"{folder.path}: start the same command again to go on"
                )
    return log


@contextmanager
def _stopped() -> Iterator[Callable[[], bool]]:
    """Note SIGTERM and Ctrl-C instead of dying of them; the second Ctrl-C is not held back."""
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, _frame: FrameType | None) -> None:
        noted.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield noted.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
