"""Reading back what this program wrote: a file that a full disk or a copy cut short is an error, never half used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evqa.errors import FileError
from evqa.files.regular import check_readable, why


def read_text(path: Path) -> str:
    """Read a text file (UTF-8). Raises FileError."""
    check_readable(path)
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise FileError(path, why(error, "read")) from error


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises FileError."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FileError(
            path, f"is damaged or cut short: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of a million digits; a million brackets
        raise FileError(path, f"is damaged: {error}") from error
    if not isinstance(content, dict):
        raise FileError(path, f"is damaged: it holds a {type(content).__name__}, where an object was written")
    return content


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Read JSON objects, one a line; lines that a kill cut short or that are damaged are left out. Raises FileError."""
    rows = []
    for line in read_text(path).splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def check_complete(path: Path) -> None:
    """Raise FileError where a text file does not end with a whole line, as every file that this program writes does."""
    if not read_text(path).endswith("\n"):
        raise FileError(path, "was cut short: its last line is not complete")
