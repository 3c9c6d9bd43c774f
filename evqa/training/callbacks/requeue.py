"""Being asked to stop: signals are noted, the run stops where it can, and SLURM or submitit gets the job back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn, TypeVar

Value = TypeVar("Value")
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
WAIT_SECONDS = 30.0  # for the scheduler to end a job that is back in the queue: leaving before would fail it


class Interrupted(SystemExit):
    """The run was asked to stop and did; the exit status is 128 + the signal's number, as a shell would say."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(128 + signal_number)
        self.signal_number = signal_number


class Stops:
    """Listens for the signals that ask a run to stop; the first one counts.

    Where nothing can be lost (reading data, loading weights) the run stops at once. Inside `deferred()` the signal is
    only noted in `number`, and who is in charge calls `stop()` at a place of their choice.
    """

    def __init__(self) -> None:
        self.number = 0
        self.first_process = True
        self._deferred = self._stopping = self._handed_back = False
        self._before: dict[int, Any] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Note signals until the end of the block, then give them back. Does nothing outside the main thread."""
        numbers = SIGNALS if threading.current_thread() is threading.main_thread() else ()
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Let the block finish what it does; what it has not answered stops the run behind it."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.number:
            self.stop()

    def between(self, values: Iterable[Value]) -> Iterator[Value]:
        """Hand values on; between two of them, stop where the run was asked to, each process on its own."""
        for value in values:
            yield value
            if self.number:
                self.stop()

    def stop(self, number: int | None = None) -> NoReturn:
        """Hand the job back and leave. number: of the signal, where another process has got it.

        Raises:
            Interrupted: always, unless what handled the signal before raises something else.
        """
        number = number or self.number
        self._stopping = True
        if self.first_process:
            sys.stderr.write(f"Stopping because of {signal.Signals(number).name}; the same command continues.\n")
            sys.stderr.flush()
        if hand_back(number, self._before.get(number), first_process=self.first_process):
            self._handed_back = True
            time.sleep(WAIT_SECONDS)
        raise Interrupted(number)

    def _note(self, number: int, frame: Any) -> None:
        self.number = self.number or number
        if self._stopping:  # a second signal changes nothing, but this one says that the wait is over
            if self._handed_back and number == signal.SIGTERM:
                raise Interrupted(self.number)
        elif not self._deferred:
            self.stop()


def hand_back(number: int, handler: Any, *, first_process: bool) -> bool:
    """Put the job back into the queue where nobody else does; true where the scheduler will now end it.

    handler: what answered the signal before the run. submitit's own requeues and leaves. SIGTERM comes from the
    scheduler (preemption, scancel, a node's failure), which has decided already.
    """
    submitit = callable(handler) and (getattr(handler, "__module__", None) or "").startswith("submitit")
    if number == signal.SIGTERM or not (submitit or "SLURM_JOB_ID" in os.environ):
        return False
    if first_process and submitit:
        handler(number, None)
    elif first_process:
        return _requeue()
    return "SLURM_JOB_ID" in os.environ


def _requeue() -> bool:
    command = ["scontrol", "requeue", job_name()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        sys.stderr.write(f"The job is not put back into the queue: {error}\n")
        return False
    if done.returncode:
        sys.stderr.write(f"The job is not put back into the queue: {done.stderr.strip()}\n")
    return not done.returncode


def job_name() -> str:
    """Return the job's number, with its place in an array."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]
