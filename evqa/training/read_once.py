"""Files that several records share are read once, where these records follow one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from itertools import groupby
from pathlib import Path
from threading import Lock

from evqa.types import Clip

Files = tuple[Path, ...]


class ReadOnce:
    """Keeps what was read of a record's files until the last record that follows with the same files has it.

    files: of every record that will be read, in order. Files to which the order comes back later are read at every
    record. Threads may share it: what one of them is reading, others wait for, failures included.
    """

    def __init__(self, files: Iterable[Files] = ()) -> None:
        stretches = [(key, len(list(same))) for key, same in groupby(files)]
        returns = Counter(key for key, _ in stretches)
        self._left = {key: count for key, count in stretches if count > 1 and returns[key] == 1}
        self._read: dict[Files, Future[list[Clip]]] = {}
        self._lock = Lock()

    def __call__(self, files: Files, read: Callable[[], list[Clip]]) -> list[Clip]:
        """Return the clips of these files: what `read` gives or raises, now or for a record before."""
        with self._lock:
            found = self._read.get(files)
            reading = found or Future[list[Clip]]()
            left = self._left.pop(files, 0) - 1
            self._read.pop(files, None)
            if left > 0:
                self._left[files], self._read[files] = left, reading
        if found is None:
            _run(read, reading)
        return reading.result()


def _run(read: Callable[[], list[Clip]], reading: Future[list[Clip]]) -> None:
    try:
        reading.set_result(read())
    except BaseException as error:  # noqa: BLE001 (those who wait must hear of an interruption, too)
        reading.set_exception(error)
