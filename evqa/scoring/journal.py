"""What was scored so far, one line an item: a command that was killed at any moment continues where it stood.

`FILE.part` holds a line that says what is scored by what, then the outcome of every item in order. Files of scores are
made of it at the end, so that they do not depend on how often the command was killed, and none is ever half there.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evqa.errors import ConfigError, FileError
from evqa.files.refusals import placed
from evqa.files.regular import check_writable
from evqa.files.whole import sync
from evqa.scoring.outcome import ScoreOutcome, read_outcome

SAID = {  # what another value of an identity's key means
    "inputs": "other inputs",
    "scorer": "another scorer",
    "modal": "another --modal",
    "overrides": "another --override",
    "fill": "another --fill",
    "judge": "another --judge-model",
}
START = b'{"evqa predict": 1, '  # of the first line


class LineJournal:
    """Lines of JSON objects on the disk, behind one that says what they belong to.

    what: the lines, in words. identity: what makes it the same command; the lines of another one are not continued.
    replace: forget those of another one.

    Raises:
        ConfigError: another command has begun this journal, or is writing it now.
        FileError: it cannot be written.
    """

    what = "lines"

    def __init__(self, path: Path, identity: Mapping[str, Any], *, replace: bool = False) -> None:
        self.path = path
        check_writable(path)
        with placed(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            try:
                self._lock()
                self.is_new = self._begin_with(identity, replace=replace)
            except BaseException:
                self._file.close()
                raise
        self.num_items = 0

    def _begin_with(self, identity: Mapping[str, Any], *, replace: bool) -> bool:
        """Write the first line, or check the one that is there; returns whether there was none."""
        with self.path.open("rb") as there:
            head, first = there.readline(), there.readline()
        self._begin = len(head)
        if not START.startswith(head[: len(START)]):
            raise FileError(self.path, f"is no {self.what} that evqa has begun; remove it, or give another --out")
        if first.endswith(b"\n"):
            begun = json.loads(head)
            if not replace:
                check_identity(self.path, begun, identity)
            if not differing(begun, identity):
                return False
        self._file.truncate(0)  # of another command, or killed before the first line
        self._begin = self._file.write(START + json.dumps(identity).encode()[1:] + b"\n")
        self._file.flush()
        sync(self.path.parent)
        return True

    def keep(self, num_items: int, *, end: int) -> None:
        """Keep the first lines, up to a byte; the next one is written behind them."""
        with placed(self.path):
            self._file.truncate(end)
        self.num_items = num_items

    def add(self, content: Mapping[str, Any]) -> None:
        """Add a line; it survives a kill of this process once it is flushed."""
        with placed(self.path):
            self._file.write(json.dumps(content).encode() + b"\n")
        self.num_items += 1

    def objects(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield (line, where it ends) up to the first line that is not whole."""
        self.flush()
        with self.path.open("rb") as file:
            file.seek(self._begin)
            at = self._begin
            for line in file:
                at += len(line)
                try:
                    content = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    return
                if not isinstance(content, dict):
                    return
                yield content, at

    @property
    def begin(self) -> int:
        """The byte behind the first line."""
        return self._begin

    def flush(self) -> None:
        """Hand what was added to the system."""
        with placed(self.path):
            self._file.flush()

    def remove(self) -> None:
        """Remove the file, which is not needed any more."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file; one without lines is removed."""
        if self.is_new and not self.num_items:
            self.remove()
        with placed(self.path):
            self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            mend = "wait, or give another name"
            raise ConfigError([f"--out: another process is writing {self.path} now; {mend}."]) from error


class ScoreJournal(LineJournal):
    """The outcomes of a command so far."""

    what = "list of scores"

    def cut(self, *, batch_size: int, num_items: int) -> None:
        """Keep whole batches only, unless all items are there: an item's last digits depend on its batch.

        A line that a kill cut short goes too. `num_items` says afterwards how many outcomes there are.
        """
        end, kept, found, num_tried = self.begin, 0, 0, 0
        for found, (outcome, after) in enumerate(self._lines(), 1):
            num_tried += outcome.was_tried
            if num_tried % batch_size == 0 or found == num_items:
                end, kept = after, found
        self.keep(kept, end=end)

    def outcomes(self) -> Iterator[ScoreOutcome]:
        """Read what is there."""
        return (outcome for outcome, _ in self._lines())

    def append(self, outcome: ScoreOutcome) -> None:
        """Add the outcome of the next item."""
        self.add(outcome.to_json())

    def _lines(self) -> Iterator[tuple[ScoreOutcome, int]]:
        """Yield (outcome, where its line ends) up to the first line that is not whole."""
        for content, end in self.objects():
            try:
                outcome = read_outcome(content)
            except TypeError:
                return
            yield outcome, end


def check_identity(path: Path, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a file was made, or begun, by the same command."""
    if other := differing(there, now):
        mend = "Give another name, repeat that command, or replace its results with --overwrite."
        raise ConfigError([f"--out: {path} belongs to a command with {' and '.join(other)}. {mend}"])


def differing(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in what two commands differ."""
    return [said for key, said in SAID.items() if there.get(key) != now.get(key)]
