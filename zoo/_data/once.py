"""What several threads want is made by the first of them, for all."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class Once(Generic[Key, Made]):
    """Things by their keys, in the order of their last use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._things: OrderedDict[Key, Future[Made]] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Made]) -> Made:
        """Return what was made for a key; an error reaches all who wait, and is not kept."""
        with self._lock:
            first = key not in self._things
            thing = self._things.setdefault(key, Future())
            self._things.move_to_end(key)
        if first:
            try:
                thing.set_result(make())
            except BaseException as error:
                with self._lock:
                    del self._things[key]
                thing.set_exception(error)
        return thing.result()

    def drop_oldest(self, kept: int) -> list[Made]:
        """Forget all but so many, but nothing that is being made; return what was forgotten."""
        with self._lock:
            made = [key for key, thing in self._things.items() if thing.done()]
            dropped = made[: max(0, len(self._things) - kept)]
            return [self._things.pop(key).result() for key in dropped]
