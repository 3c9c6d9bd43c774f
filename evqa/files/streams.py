"""Standard output and error before, or without, a console."""

from __future__ import annotations

import sys
from typing import TextIO

from evqa.files.names import shown_lines


def say(text: object, stream: TextIO) -> None:
    """Write sentences as lines: errors of a command, before or without a console."""
    accept_all_characters()
    stream.write(f"{shown_lines(text)}\n")


def accept_all_characters() -> None:
    r"""Let standard output and error write what their encoding lacks as an escape (\u0142) instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) not in (None, "backslashreplace") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
