"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from evqa.errors import FileError
from evqa.files.refusals import placed, refusal
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


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file (UTF-8, lines end in LF) so that a kill at any moment leaves the old one or the new one.

    Raises:
        FileError: as `write_whole`.
    """
    with whole_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


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
    """Open a file for writing; it appears as `whole_path` says.

    Raises:
        FileError: as `write_whole`.
    """
    with whole_path(path) as temporary, temporary.open("wb") as file:
        yield file


@contextlib.contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """Give another path to write to; the file appears under its name, on the disk, when the block ends without error.

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
        yield temporary
        sync(temporary)
        temporary.replace(target)
        sync(target.parent)
    except Exception as error:
        refused = error if isinstance(error, OSError) else refusal(error)
        if refused is None:
            raise
        raise FileError(path, why(refused, "written")) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a folder to write to, which takes the place of a new or empty one when everything is in it.

    Raises:
        FileError: no space, no permission, or a folder that is not empty lies there.
    """
    target = Path(os.path.realpath(out))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with placed(out):
            temporary.mkdir(parents=True)
            yield temporary
            _publish_folder(temporary, target, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish_folder(temporary: Path, target: Path, out: Path) -> None:
    try:
        temporary.rename(target)  # over an empty folder, too
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileError(out, "is there already and is not empty") from error
        raise


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


def sync(path: Path) -> None:
    """Bring a file's content, or a folder's entries (a rename), to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
