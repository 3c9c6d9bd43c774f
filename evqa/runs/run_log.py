"""A tracker beside a run's files: it is told the same rows and results. Whatever it does, the run goes on."""

from __future__ import annotations

import contextlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evqa.files.log import is_told
from evqa.files.names import shown
from evqa.media.limits import Limits
from evqa.scoring.score import Score
from evqa.types import Record


class RunLog(ABC):
    """What every tracker is told of a run, in this order."""

    name: str
    _is_usable = True

    def replay(self, rows: Iterable[dict[str, Any]]) -> None:
        """Send what earlier lives have written."""
        for number, row in enumerate(rows):
            self.log(number, row)

    @abstractmethod
    def log(self, number: int, row: dict[str, Any]) -> None:
        """Send a row of metrics.jsonl."""

    @abstractmethod
    def summarize(self, split: str, record: dict[str, Any]) -> None:
        """Send the final metrics of a split, of the best checkpoint, with their intervals and n."""

    @abstractmethod
    def show_items(self, split: str, scores: Sequence[Score], records: Sequence[Record], *, limits: Limits) -> None:
        """Show items of a split, where the tracker can and is asked to."""

    @abstractmethod
    def publish(self, folder: Path) -> None:
        """Send the files of a finished run, where the tracker can and is asked to."""

    @abstractmethod
    def finish(self, exit_code: int = 0) -> None:
        """End the run there; 0 where ours has come to its end."""

    def _try(self, send: Callable[[], object]) -> None:
        """Send, or say once why nothing is sent any more."""
        if not self._is_usable:
            return
        try:
            send()
        except Exception as error:  # noqa: BLE001 - trackers raise their own kinds, and whatever their helpers do
            self._is_usable = False
            say(f"{self.name} is not used from here on: {first_line(error)}. metrics.jsonl has everything.")


@contextlib.contextmanager
def ended(log: RunLog | None) -> Iterator[None]:
    """End a tracker's run together with ours: the next run of a sweep would log into one that is left open."""
    try:
        yield
    except BaseException:
        if log is not None:
            log.finish(exit_code=1)
        raise
    if log is not None:
        log.finish()


def summary_of(split: str, record: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a record that have a value, by name: `val/n`, `val/srocc`, `val/srocc_low` and so on."""
    counts = ("n", "num_groups", "num_failed")
    summary = {f"{split}/{name}": record[name] for name in counts if record.get(name) is not None}
    for name, metric in record["metrics"].items():
        values = {"": metric["value"], "_low": metric["low"], "_high": metric["high"]}
        summary |= {f"{split}/{name}{end}": value for end, value in values.items() if value is not None}
    return summary


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return str(error).partition("\n")[0] or type(error).__name__


def say(sentence: str) -> None:
    """Warn on the standard error stream."""
    if is_told("warning"):
        sys.stderr.write(f"Warning: {shown(sentence)}\n")
