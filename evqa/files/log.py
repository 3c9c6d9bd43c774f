"""What a command says beside its results, on the standard error stream: from which level on, and with the time or not.

Chosen by flags, or for all commands and for whatever they start by two environment variables, which are read here.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import datetime
from typing import Any, Literal, TextIO

from evqa.errors import ConfigError
from evqa.files.streams import say

Level = Literal["info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("info", "warning", "error")
LEVEL, TIMES = "EVQA_LOG_LEVEL", "EVQA_LOG_TIMES"


def add_log_flags(parser: argparse.ArgumentParser) -> None:
    """Describe the flags that all commands have; where one is not given, nothing is said of it."""
    group = parser.add_argument_group("what is said beside the results, on the standard error stream")
    group.add_argument(
        "--log-level",
        choices=LEVELS,
        default=argparse.SUPPRESS,
        help=f"info (default): notes and counts too; warning: failures and warnings; error: why it ended ({LEVEL})",
    )
    group.add_argument(
        "--log-times",
        action="store_true",
        default=argparse.SUPPRESS,
        help=f"begin each line with its time ({TIMES}=1)",
    )


def take_log_flags(flags: argparse.Namespace) -> None:
    """Take the flags out of those of a command, and begin to follow them here and in all that this process starts.

    Raises:
        ConfigError: an environment variable has a value that means nothing.
    """
    given = vars(flags)
    if level := given.pop("log_level", None):
        os.environ[LEVEL] = level
    if given.pop("log_times", False):
        os.environ[TIMES] = "1"
    problems = [
        f"{name}={os.environ[name]}: give one of {', '.join(known)}."
        for name, known in ((LEVEL, LEVELS), (TIMES, ("0", "1")))
        if os.environ.get(name, known[0]) not in known
    ]
    if problems:
        raise ConfigError(problems)
    if os.environ.get(TIMES) == "1" and not sys.stderr.isatty() and not isinstance(sys.stderr, Stamped):
        sys.stderr = Stamped(sys.stderr)


def is_told(level: Level) -> bool:
    """Whether what is of a level is said."""
    chosen = os.environ.get(LEVEL, "info")
    return chosen not in LEVELS or LEVELS.index(level) >= LEVELS.index(chosen)


def say_begin(text: str) -> None:
    """Say what a command begins with, before it imports torch; nothing where that is done and no pause follows."""
    if "torch" not in sys.modules and is_told("info"):
        say(text, sys.stderr)
        sys.stderr.flush()


class Stamped:
    """A text stream that begins each line with the time of its first letter."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._is_new_line = stream, True

    def write(self, text: str) -> int:
        """Write a text, with times put in."""
        for line in text.splitlines(keepends=True):
            stamp = f"{datetime.now():%Y-%m-%d %H:%M:%S} " if self._is_new_line else ""
            self._stream.write(f"{stamp}{line}")
            self._is_new_line = line.endswith("\n")
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
