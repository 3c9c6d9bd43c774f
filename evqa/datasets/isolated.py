"""Run a function on many items in processes that may hang or die without harm to the caller.

`concurrent.futures` gives up all work when one process dies and cannot end one that hangs; a hostile video does both.
The processes are plain interpreters: unlike those of `multiprocessing` they do not import the caller's main module
again, so a script needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from evqa.errors import MediaError

Item = TypeVar("Item")
Value = TypeVar("Value")
STARTUP_SECONDS = 120.0  # for imports, perhaps from a slow disk


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
        self.pipe, theirs = Pipe()
        number = theirs.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({number}, {os.getpid()})"],
            stdin=subprocess.DEVNULL,
            pass_fds=[number],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
        )
        theirs.close()
        self.index, self.seconds, self.is_alive, self.is_ready = -1, seconds, True, False
        self.deadline = time.monotonic() + STARTUP_SECONDS
        with contextlib.suppress(OSError):
            self.pipe.send(function)

    def give(self, index: int, item: Any) -> None:
        """Hand over an item; its time starts now, or when the process is ready."""
        self.index = index
        if self.is_ready:
            self.deadline = time.monotonic() + self.seconds
        with contextlib.suppress(OSError):  # a process that has just died is noticed by `take`
            self.pipe.send(item)

    def is_due(self) -> bool:
        """Whether there is an answer, a death or a timeout."""
        if not self.is_ready and self.pipe.poll():
            with contextlib.suppress(EOFError, OSError):  # a death is told by `take`
                self.pipe.recv()
                self.is_ready, self.deadline = True, time.monotonic() + self.seconds
        return self.pipe.poll() or time.monotonic() >= self.deadline

    def take(self) -> Outcome[Any]:
        """Return what became of the item; ends a process that hangs."""
        if not self.pipe.poll():
            self.end()
            return Outcome(self.index, error=f"took longer than {self.seconds:g} s")
        try:
            value, error = self.pipe.recv()
        except (EOFError, OSError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=5)
            self.end()
            code = self.process.returncode
            cause = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            return Outcome(self.index, error=f"killed the process that read it ({cause})")
        return Outcome(self.index, value=value, error=error)

    def end(self) -> None:
        """Kill the process, if it still lives, and wait for its end."""
        self.is_alive = False
        self.process.kill()
        self.process.wait()
        self.pipe.close()


def serve(descriptor: int, parent: int) -> None:
    """Answer a parent's items until it closes the pipe or dies; runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    pipe = Connection(descriptor)
    with contextlib.suppress(EOFError):
        function = pipe.recv()
        pipe.send(None)  # ready
        while True:
            pipe.send(_answer(function, pipe.recv()))


def _answer(function: Callable[[Any], Any], item: Any) -> tuple[Any, str | None]:
    try:
        return function(item), None
    except MediaError as error:
        return None, error.reason
    except Exception as error:  # noqa: BLE001 (whatever a hostile file causes is this item's failure)
        return None, f"{type(error).__name__}: {error}"


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
