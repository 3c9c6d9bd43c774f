"""Files that are asked about again and again are read once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from evqa.types import Clip

CAPACITY = 4  # clips: two pairs


class Recall:
    """Reads files and keeps the last clips; threads that want the same file wait for the one that reads it."""

    def __init__(self, read: Callable[[Path], Clip]) -> None:
        self._read, self._lock = read, threading.Lock()
        self._kept: OrderedDict[Path, Future[Clip]] = OrderedDict()

    def __call__(self, path: Path) -> Clip:
        """Return the clip of a file. Raises what reading raises."""
        with self._lock:
            is_new = path not in self._kept
            clip = self._kept.setdefault(path, Future())
            self._kept.move_to_end(path)
            if len(self._kept) > CAPACITY:
                self._kept.popitem(last=False)
        if is_new:
            try:
                clip.set_result(self._read(path))
            except BaseException as error:
                clip.set_exception(error)
                raise
        return clip.result()
