"""A tracker that a thread of its own opens and tells everything: a training does not wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from evqa.media.limits import Limits
from evqa.runs.run_log import RunLog
from evqa.scoring.score import Score
from evqa.types import Record


class BackgroundLog(RunLog):
    """Tell a tracker in its own time, in the order of the calls; only `finish` waits for it.

    Importing and opening W&B takes as long as importing torch, and ten seconds where its server does not answer.

    open_log: opens the tracker, or returns None where it cannot be used, and has said why.
    """

    name = "tracker"

    def __init__(self, open_log: Callable[[], RunLog | None]) -> None:
        self._calls = SimpleQueue[Callable[[RunLog], None] | None]()
        self._thread = Thread(target=self._work, args=(open_log,), name="tracker", daemon=True)
        self._thread.start()

    def _work(self, open_log: Callable[[], RunLog | None]) -> None:
        log = open_log()
        while (call := self._calls.get()) is not None:
            if log is not None:
                call(log)

    def replay(self, rows: Iterable[dict[str, Any]]) -> None:
        """Send what earlier lives have written."""
        given = list(rows)
        self._calls.put(lambda log: log.replay(given))

    def log(self, number: int, row: dict[str, Any]) -> None:
        """Send a row of metrics.jsonl."""
        self._calls.put(lambda log: log.log(number, row))

    def summarize(self, split: str, record: dict[str, Any]) -> None:
        """Send the final metrics of a split."""
        self._calls.put(lambda log: log.summarize(split, record))

    def show_items(self, split: str, scores: Sequence[Score], records: Sequence[Record], *, limits: Limits) -> None:
        """Show items of a split."""
        self._calls.put(lambda log: log.show_items(split, scores, records, limits=limits))

    def publish(self, folder: Path) -> None:
        """Send the files of a finished run."""
        self._calls.put(lambda log: log.publish(folder))

    def finish(self, exit_code: int = 0) -> None:
        """End the run there, when all before has been told."""
        self._calls.put(lambda log: log.finish(exit_code))
        self._calls.put(None)
        self._thread.join()
