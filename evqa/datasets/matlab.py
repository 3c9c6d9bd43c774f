"""MATLAB files as tables: the LIVE databases publish their scores so, a cell array of names beside a column of MOS.

SciPy's reader dies of some damaged files, so it runs in a process of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evqa.errors import AnnotationError, MediaError
from evqa.files.regular import why_unreadable
from evqa.machine.isolated import call_isolated

SECONDS = 60.0  # for one file


def read_mat(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the variables of a .mat file that are columns of the most frequent length; numbers keep all their digits.

    Raises:
        AnnotationError: no such file, not MATLAB's format (that of version 7.3 is another one), or no column in it.
    """
    if reason := why_unreadable(path):
        raise AnnotationError(f"{path}: cannot be read as a table ({reason}).")
    outcome = call_isolated(load_columns, path, seconds=SECONDS)
    if outcome.value is None:
        raise AnnotationError(f"{path}: cannot be read as a MATLAB file ({outcome.error}).")
    lengths = [len(cells) for cells in outcome.value.values()]
    length = max(lengths, key=lambda one: (lengths.count(one), one), default=0)
    if not length:
        raise AnnotationError(f"{path}: holds no column (a vector of numbers, or a cell array of texts).")
    return {name: cells for name, cells in outcome.value.items() if len(cells) == length}


def load_columns(path: Path) -> dict[str, tuple[str, ...]]:
    """Read every vector of numbers or texts. Raises MediaError for another format, and whatever the reader meets."""
    from scipy import io

    try:
        found = io.loadmat(str(path), squeeze_me=True, mat_dtype=True)
    except NotImplementedError:
        raise MediaError(
            path, "it is in the format of MATLAB 7.3; save it with save(..., '-v7'), or as a CSV"
        ) from None
    columns = {name: _cells(value) for name, value in found.items() if not name.startswith("__")}
    return {name: cells for name, cells in columns.items() if cells}


def _cells(value: Any) -> tuple[str, ...]:
    """The cells of a vector of numbers or texts; none of anything else."""
    if getattr(value, "ndim", None) != 1:
        return ()
    cells = value.tolist()
    return tuple(str(cell) for cell in cells) if all(isinstance(cell, str | int | float) for cell in cells) else ()
