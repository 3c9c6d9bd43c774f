"""What makes this process a command: before anything heavy is imported."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from evqa.machine.children import leave_current_folder


def begin() -> None:
    """Import nothing from the current folder, here and in children; end Ctrl-C with 130 and a sentence.

    Ctrl-C may come before the command's own `main` runs, while modules are imported.
    """
    if os.name == "nt":
        sys.exit("evqa runs on Linux and macOS; on Windows, install it in WSL (Windows Subsystem for Linux).")
    leave_current_folder()
    sys.excepthook = _end_quietly


def end_of_pipe() -> int:
    """End writing to a pipe that nobody reads any more (`| head`); returns the exit code that a shell expects."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, sys.stdout.fileno())  # else Python complains when it flushes at its end
    return 128 + 13  # SIGPIPE


def _end_quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("Stopped before anything began.\n")
        sys.stderr.flush()
        os._exit(130)
    sys.__excepthook__(kind, error, trace)
