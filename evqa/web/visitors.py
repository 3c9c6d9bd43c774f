"""Which visitor has uploaded which file, and how long files stay."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

KEPT_SECONDS = 1800.0  # after a visitor was last heard of
GRACE_SECONDS = 60.0  # after the last tab was closed: a page that is loaded anew closes one
SILENCE_SECONDS = 60.0  # of an upload, after which it is given up


@dataclass
class Visitor:
    """Somebody with a cookie, or the programs of one address.

    num_tabs: open pages. leaves_at: when the files of one who is not heard of are deleted.
    """

    files: set[Path] = field(default_factory=set)
    num_tabs: int = 0
    leaves_at: float = 0.0


class Visitors:
    """All visitors and their files. Requests come in many threads.

    now: the clock, seconds.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._lock = now, threading.Lock()
        self._visitors: dict[str, Visitor] = {}

    def new_name(self) -> str:
        """Return a name that nobody can guess, for a visitor who has come to the page."""
        return self.hear_of(secrets.token_urlsafe(24))

    def is_known(self, name: str) -> bool:
        """Whether somebody of this name is here."""
        with self._lock:
            return name in self._visitors

    def hear_of(self, name: str) -> str:
        """Note that a visitor, perhaps a new one, has asked for something; returns the name."""
        with self._lock:
            self._visitors.setdefault(name, Visitor()).leaves_at = self._now() + KEPT_SECONDS
            return name

    def add_files(self, name: str, paths: Iterable[str]) -> None:
        """Enter files that a visitor has uploaded. Two who upload the same bytes share a file."""
        with self._lock:
            self._visitors[name].files.update(map(Path, paths))

    def owns(self, name: str, path: str) -> bool:
        """Whether the visitor has uploaded this file."""
        with self._lock:
            return Path(path) in self._visitors[name].files

    @contextlib.contextmanager
    def open_tab(self, name: str) -> Iterator[None]:
        """Count a page as open inside the block."""
        with self._lock:
            self._visitors[name].num_tabs += 1
        try:
            yield
        finally:
            with self._lock:
                visitor = self._visitors[name]
                visitor.num_tabs -= 1
                if not visitor.num_tabs:
                    visitor.leaves_at = self._now() + GRACE_SECONDS

    def clean(self) -> None:
        """Forget who has left, and delete the files that nobody else has uploaded."""
        with self._lock:
            gone = [n for n, v in self._visitors.items() if not v.num_tabs and v.leaves_at <= self._now()]
            left = set[Path]().union(*(self._visitors.pop(name).files for name in gone))
            left.difference_update(*(visitor.files for visitor in self._visitors.values()))
            for path in left:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    path.parent.rmdir()  # named after the content; others may lie in it


def delete_given_up(folder: Path) -> None:
    """Delete what uploads that were broken off have left: whole ones lie in folders, those under way grow."""
    with contextlib.suppress(FileNotFoundError):  # moved, or the server ends
        for path in folder.iterdir():
            if path.is_file() and time.time() - path.stat().st_mtime > SILENCE_SECONDS:
                path.unlink()
