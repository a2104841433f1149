"""Who computes a shard, where several processes work in one folder."""

import os
from pathlib import Path
from types import ModuleType

try:
    import fcntl as _fcntl
except ImportError:  # not on Windows
    fcntl: ModuleType | None = None
else:
    fcntl = _fcntl


class Claims:
    """Locks on the bytes of one file: byte k is held by the process that computes shard k.

    The kernel gives the locks of a process back when it ends, however it ends, also to other
    machines on a network file system. So none is ever stale, as a lock file would be. Claims only
    save work: without them (a file system that has no locks) a shard is computed twice, and the
    same part is moved into place twice.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self.work = fcntl is not None

    def take(self, shard: int, *, wait: bool = False) -> bool:
        """Claim a shard; False if another process has it, unless `wait` until that has ended."""
        if fcntl is None:
            return True
        how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
        try:
            fcntl.lockf(self._file, how, 1, shard)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # this file system has no locks
            self.work = False
        return True

    def release(self, shard: int) -> None:
        """Give a shard back."""
        if fcntl is not None and self.work:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, shard)

    def close(self) -> None:
        """Give all shards back."""
        os.close(self._file)
