"""MATLAB files as tables: the LIVE databases publish their scores so, a cell array of names beside a column of MOS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evqa.errors import AnnotationError
from evqa.files.regular import why_unreadable


def read_mat(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the variables of a .mat file that are columns of the most frequent length; numbers keep all their digits.

    Raises:
        AnnotationError: no such file, not MATLAB's format (that of version 7.3 is another one), or no column in it.
    """
    from scipy import io

    if reason := why_unreadable(path):
        raise AnnotationError(f"{path}: cannot be read as a table ({reason}).")
    try:
        found = io.loadmat(str(path), squeeze_me=True, mat_dtype=True)
    except NotImplementedError:
        raise AnnotationError(
            f"{path}: is in the format of MATLAB 7.3, which is not read; save it with save(..., '-v7'), or as a CSV."
        ) from None
    except Exception as error:  # whatever the parser stumbles over in a damaged file
        raise AnnotationError(f"{path}: cannot be read as a MATLAB file ({type(error).__name__}: {error}).") from error
    columns = {name: _cells(value) for name, value in found.items() if not name.startswith("__")}
    lengths = [len(cells) for cells in columns.values() if cells]
    length = max(lengths, key=lambda one: (lengths.count(one), one), default=0)
    table = {name: cells for name, cells in columns.items() if cells and len(cells) == length}
    if not table:
        raise AnnotationError(f"{path}: holds no column (a vector of numbers, or a cell array of texts).")
    return table


def _cells(value: Any) -> tuple[str, ...]:
    """The cells of a vector of numbers or texts; none of anything else."""
    if getattr(value, "ndim", None) != 1:
        return ()
    cells = value.tolist()
    return tuple(str(cell) for cell in cells) if all(isinstance(cell, str | int | float) for cell in cells) else ()
