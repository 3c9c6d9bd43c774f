"""Run a function on many items in processes that may hang or die without harm to the caller.

`concurrent.futures` gives up all work when one process dies and cannot end one that hangs; a hostile video does both.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from evqa.errors import MediaError

Item = TypeVar("Item")
Value = TypeVar("Value")
STARTUP_SECONDS = 60.0  # imports from a slow disk, on top of the time for the first item


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """What became of item number `index`: a value, or a sentence that says why there is none."""

    index: int
    value: Value | None = None
    error: str | None = None


def map_isolated(
    function: Callable[[Item], Value], items: Sequence[Item], *, num_workers: int, seconds: float
) -> Iterator[Outcome[Value]]:
    """Yield one outcome for every item, in the order in which they are ready.

    function: importable by name (it is sent to fresh processes). seconds: wall-clock time for one item, after which
    its process is ended and replaced. A MediaError becomes its reason, any other error its type and text.
    """
    todo = iter(enumerate(items))
    workers = list[_Worker]()
    try:
        for index, item in islice(todo, max(1, num_workers)):
            workers.append(_Worker(function, seconds))
            workers[-1].give(index, item)
        while workers:
            patience = min(worker.deadline for worker in workers) - time.monotonic()
            wait([worker.pipe for worker in workers], timeout=max(0.0, patience))
            for worker in [worker for worker in workers if worker.is_due()]:
                outcome = worker.take()
                workers.remove(worker)
                following = next(todo, None)
                if following is None:
                    worker.end()
                else:
                    workers.append(worker if worker.is_alive else _Worker(function, seconds))
                    workers[-1].give(*following)
                yield outcome
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process with a pipe; it holds one item at a time, so that a death has one culprit."""

    def __init__(self, function: Callable[[Any], Any], seconds: float) -> None:
        context = multiprocessing.get_context("spawn")  # a fork beside threads can deadlock
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.is_alive, self.seconds, self.spare = True, seconds, STARTUP_SECONDS
        self.index, self.deadline = -1, float("inf")

    def give(self, index: int, item: Any) -> None:
        """Hand over an item and start its time."""
        self.index, self.deadline, self.spare = index, time.monotonic() + self.seconds + self.spare, 0.0
        with contextlib.suppress(OSError):  # a process that has just died is noticed by `take`
            self.pipe.send(item)

    def is_due(self) -> bool:
        """Whether there is an answer, a death or a timeout."""
        return self.pipe.poll() or time.monotonic() >= self.deadline

    def take(self) -> Outcome[Any]:
        """Return what became of the item; ends a process that hangs."""
        if not self.pipe.poll():
            self.end()
            return Outcome(self.index, error=f"took longer than {self.seconds:g} s")
        try:
            value, error = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(timeout=5)
            code = self.process.exitcode
            self.end()
            cause = signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"
            return Outcome(self.index, error=f"killed the process that read it ({cause})")
        return Outcome(self.index, value=value, error=error)

    def end(self) -> None:
        """Kill the process, if it still lives, and wait for its end."""
        self.is_alive = False
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            reply: tuple[Any, str | None] = (function(item), None)
        except MediaError as error:
            reply = (None, error.reason)
        except Exception as error:  # noqa: BLE001 (whatever a hostile file causes is this item's failure)
            reply = (None, f"{type(error).__name__}: {error}")
        pipe.send(reply)
