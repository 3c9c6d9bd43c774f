"""Call functions in processes of their own: one that hangs or dies costs its item, not the caller.

`concurrent.futures` gives up all work when one process dies and cannot end one that hangs; a hostile video does both.
`pebble` ends a process that hangs and names the item of one that died, but starts processes as `multiprocessing` does
(a fork of a process with threads, or one that imports the caller's main module again), copies arrays on their way, and
what is in progress outlives a caller that is killed.

Here each process has a connection of its own, so that a death has one culprit. A fork server (fork_server.py), which is
a plain interpreter, imports what is needed once and forks the processes. They stay until this process ends.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import select
import signal
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from evqa.machine.children import current_folder
from evqa.machine.fork_server import STARTUP_SECONDS, ForkServer, StartError
from evqa.machine.messages import receive, send
from evqa.machine.threads import each_in_threads

Item = TypeVar("Item")
Value = TypeVar("Value")


_SIGNALS = {int(one): one.name for one in signal.Signals}


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """What became of item number `index`: a value, or a sentence that says why there is none.

    exit_status: of the process, where it died of the item (negative: a signal).
    """

    index: int
    value: Value | None = None
    error: str | None = None
    exit_status: int | None = None


def call_isolated(function: Callable[[Item], Value], item: Item, *, seconds: float) -> Outcome[Value]:
    """Call a function in a process of its own; threads may do so at the same time.

    function: importable by name. seconds: wall-clock time for one item, after which its process is ended. A MediaError
    becomes its reason, any other error its type and text. A process that had served other items may die of what those
    did to its memory; the item is tried once more, alone.

    Raises:
        StartError: no process can be started.
    """
    caller = _Caller()
    _callers.add(caller)
    try:
        return caller.call(function, item, seconds=seconds)
    finally:
        _callers.discard(caller)


def stop_calls() -> None:
    """End all calls of `call_isolated` that are in progress: nobody wants their answers any more."""
    for caller in list(_callers):
        caller.stop()


def map_isolated(
    function: Callable[[Item], Value], items: Sequence[Item], *, num_workers: int, seconds: float
) -> Iterator[Outcome[Value]]:
    """Yield one outcome of `call_isolated` for every item, in the order in which they are ready.

    Raises:
        StartError: no process can be started.
    """
    caller = _Caller()

    def outcome(numbered: tuple[int, Item]) -> Outcome[Value]:
        index, item = numbered
        return replace(caller.call(function, item, seconds=seconds), index=index)

    done = each_in_threads(outcome, enumerate(items), num_threads=num_workers, stop=caller.stop)
    yield from (value for _, value in done)


class _Caller:
    """Calls functions for somebody who may lose interest in all that is in progress."""

    def __init__(self) -> None:
        self._busy = set[_Worker]()
        self._stopped = False

    def call(self, function: Callable[[Any], Any], item: Any, *, seconds: float) -> Outcome[Any]:
        """See `call_isolated`."""
        module = getattr(function, "func", function).__module__
        call = (pickle.dumps(function), item, seconds)
        with self._lent(module) as worker:
            is_fresh = worker.num_served == 0
            outcome = worker.serve(*call)
        if outcome.exit_status is not None and not is_fresh and not self._stopped:
            with self._lent(module, fresh=True) as worker:
                outcome = worker.serve(*call)
        return outcome

    def stop(self) -> None:
        """End the calls in progress."""
        self._stopped = True
        for worker in list(self._busy):
            worker.kill()

    @contextlib.contextmanager
    def _lent(self, module: str, *, fresh: bool = False) -> Iterator[_Worker]:
        idle = _idle[os.getpid(), module]
        try:
            worker = _Worker(module) if fresh else idle.pop()
        except IndexError:
            worker = _Worker(module)
        self._busy.add(worker)
        try:
            if self._stopped:
                worker.kill()
            yield worker
        except BaseException:
            worker.end()
            raise
        finally:
            self._busy.discard(worker)
        if worker.is_alive:
            idle.append(worker)


class _Worker:
    """A process and the connection to it; it serves one item at a time, for one thread."""

    def __init__(self, module: str) -> None:
        self._end, theirs = socket.socketpair()
        self._status, status = os.pipe()
        try:
            self._process = _fork_server().fork(module, theirs.fileno(), status)
        except BaseException:
            self._end.close()
            os.close(self._status)
            raise
        finally:
            theirs.close()
            os.close(status)
        self._function = b""
        self.num_served, self.is_alive = 0, True

    def serve(self, function: bytes, item: Any, seconds: float) -> Outcome[Any]:
        """Return what became of the item; ends a process that hangs."""
        try:
            self._learn(function)
            send(self._end, ("item", (current_folder(), item)))  # a relative path means the same on both sides
            value, error = receive(self._end, seconds)
        except TimeoutError:
            self.end()
            return Outcome(0, error=f"took longer than {seconds:g} s")
        except (EOFError, OSError):
            status = self.end(patience_seconds=5.0)
            cause = _SIGNALS.get(-status, f"signal {-status}") if status < 0 else f"exit status {status}"
            return Outcome(0, error=f"killed the process that read it ({cause})", exit_status=status)
        self.num_served += 1
        return Outcome(0, value=value, error=error)

    def _learn(self, function: bytes) -> None:
        """Let the process import a function; the time for it is nobody's fault."""
        if function == self._function:
            return
        send(self._end, ("function", function))
        try:
            problem = receive(self._end, STARTUP_SECONDS)
        except TimeoutError:
            problem = f"no answer in {STARTUP_SECONDS:g} s"
        if problem:
            raise StartError(f"A process that reads files cannot be started: {problem}.")
        self._function = function

    def kill(self) -> None:
        """End the process; the thread that waits for it will notice."""
        if self.is_alive and not select.select([self._status], [], [], 0.0)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)

    def end(self, *, patience_seconds: float = 0.0) -> int:
        """Wait for the end of the process, then kill it; returns its exit status (negative: a signal)."""
        select.select([self._status], [], [], patience_seconds)
        self.kill()
        self.is_alive = False
        status = os.read(self._status, 8)
        os.close(self._status)
        self._end.close()
        return int(status or -signal.SIGKILL)


_callers = set[_Caller]()


_idle: defaultdict[tuple[int, str], list[_Worker]] = defaultdict(list)  # by process (a fork has none) and module
_fork_servers: dict[int, ForkServer] = {}
_lock = threading.Lock()


def _fork_server() -> ForkServer:
    with _lock:
        server = _fork_servers.get(os.getpid())
        if server is None or not server.is_alive:
            server = _fork_servers[os.getpid()] = ForkServer()
        return server


@atexit.register
def _end_all() -> None:
    for (process, _), workers in _idle.items():
        while process == os.getpid() and workers:
            workers.pop().end()
    if server := _fork_servers.pop(os.getpid(), None):
        server.end()
