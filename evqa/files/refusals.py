"""What the system refused (no space, no permission, a broken disk), as a sentence with its place."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from evqa.errors import EvqaError, FileError
from evqa.files.regular import why

# What a user can mend, by its code; any other error of the system is a fault of the program.
_MENDABLE = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "ENAMETOOLONG", "EMFILE", "ENFILE"),
        *("ENOTDIR", "EISDIR", "ELOOP", "ESTALE", "EBUSY", "ETXTBSY", "ENXIO", "ENODEV"),
    )
    if hasattr(errno, name)
}
_RUST = re.compile(r"\(os error (\d+)\)|Os \{ code: (\d+)")  # how safetensors and tokenizers word an OSError


@contextlib.contextmanager
def placed(path: Path) -> Iterator[None]:
    """Name a file or folder in refusals of the system that name none, such as that of a write to a full disk.

    Raises:
        FileError: the system refused something inside.
    """
    try:
        yield
    except EvqaError:
        raise
    except Exception as error:
        refused = refusal(error)
        if refused is None:
            raise
        raise FileError(refused.filename or path, why(refused, "used")) from error


def as_users_error(error: Exception) -> EvqaError | None:
    """Return what a user can mend as an error whose message is a sentence; None for a fault of the program."""
    if isinstance(error, EvqaError):
        return error
    refused = refusal(error)
    if refused is None:
        return None
    return FileError(refused.filename or "A file or folder", why(refused, "used"))


def refusal(error: BaseException) -> OSError | None:
    """Return the system's refusal behind an error; the writers of torch and safetensors hide it."""
    seen = set[int]()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        if isinstance(following, OSError):
            return following if following.errno in _MENDABLE else None
        if (found := _RUST.search(str(following))) and int(found[1] or found[2]) in _MENDABLE:
            code = int(found[1] or found[2])
            return OSError(code, os.strerror(code))
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return None
