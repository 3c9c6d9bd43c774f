"""A process that imports modules once and forks the processes that call functions of them.

It is a plain interpreter without threads, so that forking it is safe, and it ends with its parent, as its children do
with it. It tells how they ended, which only a parent learns.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from evqa.errors import EvqaError, MediaError
from evqa.machine.children import child_environment
from evqa.machine.messages import receive, send
from evqa.machine.parent import end_with_parent

STARTUP_SECONDS = 120.0  # for imports, perhaps from a slow disk
CHECK_SECONDS = 0.5  # how soon a process notices that its parent is gone
_SENT_TO_ALL = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")  # by a terminal or SLURM; the parent decides


class StartError(EvqaError):
    """No process can be started."""


class ForkServer:
    """The parent's side."""

    def __init__(self) -> None:
        self._end, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import run; run({theirs.fileno()})"],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=child_environment() | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            )
        self._lock = threading.Lock()
        self.is_alive = True

    def fork(self, module: str, connection: int, status: int) -> int:
        """Start a process that answers on a connection, and return its number; its exit status comes to `status`.

        Raises:
            StartError: there is none.
        """
        try:
            with self._lock:
                socket.send_fds(self._end, [module.encode()], [connection, status])
                self._end.settimeout(STARTUP_SECONDS)
                answer = self._end.recv(8)
        except OSError:
            answer = b""
        if not answer:
            self.end()
            raise StartError("No process to read files in can be started; what it wrote before it died stands above.")
        return int(struct.unpack("<q", answer)[0])

    def end(self) -> None:
        """End the fork server; its processes follow."""
        self.is_alive = False
        self._process.kill()
        self._process.wait()
        self._end.close()


def run(descriptor: int) -> None:
    """Fork processes as long as the parent asks for them; the main function of a fork server."""
    for name in _SENT_TO_ALL:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    end, statuses = socket.socket(fileno=descriptor), dict[int, int]()
    signal.signal(signal.SIGCHLD, lambda *_: _report_ends(statuses))
    with contextlib.suppress(ConnectionError):  # the parent is gone
        while True:
            module, descriptors, *_ = socket.recv_fds(end, 4096, 2)
            if not module:
                break
            with contextlib.suppress(Exception):  # the process that will need it says why it cannot be imported
                importlib.import_module(module.decode())
            connection, status = descriptors
            process = os.fork()
            if not process:
                _begin(connection, [end.detach(), status, *statuses.values()])
            os.close(connection)
            statuses[process] = status
            _report_ends(statuses)  # it may have ended already
            end.sendall(struct.pack("<q", process))
    for process in list(statuses):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _report_ends(statuses: dict[int, int]) -> None:
    for process in list(statuses):
        try:
            ended, status = os.waitpid(process, os.WNOHANG)
        except ChildProcessError:  # the signal came while this was at it: it is done
            continue
        if ended:
            descriptor = statuses.pop(process)
            with contextlib.suppress(OSError):  # nobody wants to know
                os.write(descriptor, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(descriptor)


def _begin(connection: int, of_the_server: list[int]) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in of_the_server:
        os.close(descriptor)
    end_with_parent(check_seconds=CHECK_SECONDS)
    status = 1
    try:
        _serve(socket.socket(fileno=connection))
        status = 0
    finally:
        os._exit(status)


def _serve(end: socket.socket) -> None:
    """Answer until the connection is closed: a function, then the items to call it with."""
    function: Callable[[Any], Any] = str
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            kind, content = receive(end)
            if kind == "function":
                function, problem = _import(content)
                send(end, problem)
            else:
                send(end, _answer(function, *content))


def _import(function: bytes) -> tuple[Callable[[Any], Any], str | None]:
    try:
        return pickle.loads(function), None
    except Exception as error:  # noqa: BLE001 (told to the parent)
        return str, f"{type(error).__name__}: {error}"


def _answer(function: Callable[[Any], Any], folder: str, item: Any) -> tuple[Any, str | None]:
    """Call the function where the caller stands: a program that uses this package may have moved since the start."""
    try:
        if folder:
            os.chdir(folder)
        return function(item), None
    except MediaError as error:
        return None, error.reason
    except Exception as error:  # noqa: BLE001 (whatever a hostile file causes is this item's failure)
        return None, f"{type(error).__name__}: {error}"
