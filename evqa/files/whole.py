"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from evqa.errors import FileError
from evqa.files.refusals import refusal
from evqa.files.regular import check_writable, why

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.tmp")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one.

    Text is UTF-8; bytes of file names that are not UTF-8 (surrogate escapes) are written as they were.

    Raises:
        FileError: no space, no permission, or something other than a file lies there.
    """
    with whole_file(path) as file:
        file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)


@contextlib.contextmanager
def whole_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """Open a text file for writing row by row (UTF-8, lines end as they are given); it appears at the end, whole.

    Raises:
        FileError: as `write_whole`.
    """
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        yield text
        text.flush()
        text.detach()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing; it appears under its name, on the disk, when the block ends without an error.

    A link is followed: the file that it names is replaced. Temporary files of dead processes are removed.

    Raises:
        FileError: as `write_whole`.
    """
    check_writable(path)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except Exception as error:
        refused = error if isinstance(error, OSError) else refusal(error)
        if refused is None:
            raise
        raise FileError(path, why(refused, "written")) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Find out before long work whether a file can be written at a path; its folder may be missing yet.

    Raises:
        FileError: as `write_whole` would.
    """
    check_writable(path)
    target = Path(os.path.realpath(path))
    folder = next(parent for parent in target.parents if os.path.lexists(parent))  # the root at the latest
    temporary = folder / f".{target.name}.{os.getpid()}.tmp"
    try:
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise FileError(path, why(error, "written")) from error


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes of this machine left behind while they wrote this file."""
    for other in path.parent.glob(f".{glob_escape(path.name)}.*.tmp"):
        found = _TEMPORARY.fullmatch(other.name)
        if found and found["name"] == path.name and not is_alive(int(found["process"])):
            with contextlib.suppress(OSError):
                other.unlink(missing_ok=True)


def glob_escape(name: str) -> str:
    """Return a pattern that matches just this name."""
    return re.sub(r"([*?[])", r"[\1]", name)


def is_alive(process: int) -> bool:
    """Tell whether a process of this machine exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries (a rename) to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
