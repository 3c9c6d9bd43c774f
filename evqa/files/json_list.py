"""A list in JSON, read value by value: only a window of its text is held at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

from evqa.errors import AnnotationError
from evqa.files.grid import read_text
from evqa.files.regular import why, why_unreadable

_CHUNK = 1 << 20  # characters that are read at a time; a longer value takes as many as it has
_SPACE = re.compile(r"[ \t\n\r]*")
# Numbers stay the text they are, so that ids keep their zeros and labels their digits.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)


def read_list(path: Path) -> Iterator[Any]:
    """Yield the values of a list in JSON, in order; numbers are texts.

    Raises:
        AnnotationError: no ordinary file, in another encoding, not JSON, or no list; values before the fault have come.
    """
    if reason := why_unreadable(path):
        raise AnnotationError(f"{path}: cannot be read as a table ({reason}).")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _Scanner(path, file).values()
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read as a table ({why(error, 'opened')}).") from error
    except UnicodeDecodeError:
        read_text(path)  # says where
        raise
    except RecursionError as error:
        raise AnnotationError(f"{path}: is not JSON ({error}).") from None


class _Scanner:
    """The part of a file's text that is being read; `_at` is the place in it."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file
        self._text, self._at, self._is_last = "", 0, False
        self._line, self._column = 1, 1  # where the window begins

    def values(self) -> Iterator[Any]:
        if self._mark() != "[":
            self._value()  # says what is no JSON at all
            raise AnnotationError(f"{self._path}: holds no list of objects; give [{{...}}, {{...}}].")
        self._at += 1
        mark = self._mark()
        while mark != "]":
            self._mark()
            yield self._value()
            mark = self._mark()
            if mark not in (",", "]"):
                self._fail("Expecting ',' delimiter", self._at)
            self._at += mark == ","
        self._at += 1
        if self._mark():
            self._fail("Extra data", self._at)

    def _mark(self) -> str:
        """Go to the next character that is no space, and return it; empty at the file's end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text) or self._is_last:
                return self._text[self._at : self._at + 1]
            self._slide()

    def _value(self) -> Any:
        """Decode the value that begins here. One at the window's end may go on behind it."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._is_last:
                    self._fail(error.msg, error.pos)
            else:
                if end < len(self._text) or self._is_last:
                    self._at = end
                    return value
            self._slide()

    def _slide(self) -> None:
        """Drop what was read; read at least as much again as is left, so that a long value costs no square."""
        self._line, self._column = self._place(self._at)
        rest = self._text[self._at :]
        more = self._file.read(max(_CHUNK, len(rest)))
        self._text, self._at, self._is_last = rest + more, 0, not more

    def _place(self, at: int) -> tuple[int, int]:
        """Line and column in the file of a place in the window, both from 1."""
        lines = self._text.count("\n", 0, at)
        return self._line + lines, at - self._text.rfind("\n", 0, at) if lines else self._column + at

    def _fail(self, message: str, at: int) -> NoReturn:
        line, column = self._place(at)
        raise AnnotationError(f"{self._path}: is not JSON ({message}: line {line} column {column}).")
