"""One of several processes of this machine that compute the shards of a job.

Started by `local`, with the paths of two files and of the job's folder. It writes lines of JSON:
the items that it has of a shard, each shard that it has written, and what went wrong. It ends with
the process that started it, whose end closes its standard input.
"""

import json
import os
import pickle
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from zoo.registry import ZooError

from ..computing import compute_shards
from ..interruptible import interruptible
from ..job_folder import JobFolder
from .faults import describe
from .payload import load, prepare


def main(payload: str, work: str, folder: str) -> None:
    """Compute shards of the job in a folder; the files are those that `local` writes."""
    # What a plugin prints goes to the errors, so that the lines are those of this file.
    lines = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def say(**message: Any) -> None:
        lines.write(json.dumps(message) + "\n")

    try:
        with interruptible():
            say(started=True)
            shards, threads, device = pickle.loads(Path(work).read_bytes())
            with Path(payload).open("rb") as file:
                dataset, encoder = load(file)
            prepare(encoder, threads, device)
            compute_shards(
                dataset,
                encoder,
                JobFolder(Path(folder)),
                shards,
                found=lambda shard: say(found=shard),
                made=lambda shard: say(made=shard),
                progress=lambda _what, done, _total: say(begun=done),
            )
            say(ended=True)
    except KeyboardInterrupt:
        sys.exit(1)
    except Exception as error:
        if not isinstance(error, ZooError | MemoryError):
            traceback.print_exc()
        say(**describe(error))


def _end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock the end of this process would wait for
        pass
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
