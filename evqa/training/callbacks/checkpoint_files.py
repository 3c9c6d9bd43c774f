"""Checkpoint files: whole or not there at all, with their checksum inside, read without running code."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import signal
import struct
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from evqa.errors import CheckpointError
from evqa.files.regular import why, why_unreadable
from evqa.files.whole import whole_file
from evqa.training.model_with_head import METADATA

# A checkpoint is the zip archive that torch.save writes; its comment, which readers of zip files pass over, holds the
# SHA-256 of what was written before the comment was put there.
MARK = b"evqa-sha256:"
COMMENT = len(MARK) + 64
NO_COMMENT = struct.pack("<H", 0)
END_OF_ARCHIVE = 22  # bytes at the end of an archive without a comment; the last two are the comment's length
SIDE = ".sha256"  # where older versions wrote the checksum
CHECKPOINTS = "Checkpoints"  # under this name, its class's, Lightning keeps the state of that callback
ENTRIES: dict[str, type] = {
    "state_dict": dict,
    METADATA: dict,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "epoch": int,
    "global_step": int,
}
TRAINING = ("callbacks", "optimizer_states", "lr_schedulers")  # a checkpoint of weights alone has none of these


class _Hashing(io.RawIOBase):
    """A file that hashes what passes through, and keeps an error for later: torch would make a riddle of it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.file, self.hash = file, hashlib.sha256()
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.error is None:
            self.hash.update(data)
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Save so that a kill at any moment leaves the old file or the new one; Ctrl-C is answered afterwards.

    Raises:
        FileError: the file cannot be written, e.g. the disk is full; the old one is still there.
    """
    with interrupt_held(), whole_file(path) as file:
        hashing = _Hashing(file)
        torch.save(_unshared(content), cast("IO[bytes]", hashing))
        if hashing.error:
            raise hashing.error
        file.seek(-len(NO_COMMENT), os.SEEK_END)
        file.write(_ending(hashing.hash.hexdigest()))
    Path(f"{path}{SIDE}").unlink(missing_ok=True)


@contextlib.contextmanager
def interrupt_held() -> Iterator[None]:
    """Let the block end before Ctrl-C is answered."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        before(*pressed[0])


def read_checkpoint(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Load a checkpoint of evqa without unpickling code; what was checked and what is loaded is one file.

    mapped: tensors stay in the file until they are read, so that many processes can each take a part.

    Raises:
        CheckpointError: the file is missing, damaged, or no checkpoint of evqa.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    if reason := why_unreadable(path):
        raise CheckpointError(f"{path} {reason}")
    try:
        with path.open("rb") as file:
            reason = _damage(file, Path(f"{path}{SIDE}"))
            file.seek(0)
            source: Any = f"/dev/fd/{file.fileno()}" if mapped else file  # torch maps by name alone
            content = None if reason else torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        reason = why(error, "read")
    except pickle.UnpicklingError:
        reason = "holds more than tensors and plain values, perhaps code, and is not loaded"
    except Exception as error:  # noqa: BLE001 - unpickling damaged data raises anything
        reason = f"is damaged ({type(error).__name__})"
    if reason := reason or _what_lacks(content):
        raise CheckpointError(f"{path} {reason}")
    return cast("dict[str, Any]", content)


def best_of(state: dict[str, Any]) -> float | None:
    """The best value that a checkpoint remembers: with one, there must be a best checkpoint, too."""
    return cast("float | None", state.get("callbacks", {}).get(CHECKPOINTS, {}).get("best"))


def _unshared(value: Any) -> Any:
    """Return the same content whose bytes, pickled, do not depend on where it came from: a file or this process.

    Pickle writes an object that it meets again as a reference, so equal texts must always be one object, and equal
    containers never.
    """
    if type(value) is str:
        return sys.intern(value)
    if type(value) is dict:
        return {_unshared(key): _unshared(child) for key, child in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_unshared, value))
    return value


def _ending(digest: str) -> bytes:
    """The comment's length and the comment, in place of the length 0 of an archive without one."""
    return struct.pack("<H", COMMENT) + MARK + digest.encode()


def _damage(file: BinaryIO, side: Path) -> str | None:
    """Say why the bytes cannot be what was saved, or None."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        return "is empty"
    file.seek(max(0, size - COMMENT - len(NO_COMMENT)))
    ending = file.read()
    is_marked, has_side = ending[len(NO_COMMENT) :].startswith(MARK), side.is_file()
    if not is_marked and not (ending[-END_OF_ARCHIVE:].startswith(b"PK\5\6") and ending.endswith(NO_COMMENT)):
        return "is damaged, cut short, or no checkpoint"
    if is_marked and ending != _ending(_digest(file, size - len(ending), NO_COMMENT)):
        return "is damaged (its checksum is wrong)"
    if has_side and not is_marked and _digest(file, size, b"") != side.read_text().strip():
        return "is damaged (its checksum is wrong)"
    with zipfile.ZipFile(file) as archive:
        # torch.save packs nothing; an archive that declares more than there is was not written by it.
        if any(entry.compress_type or entry.file_size > size for entry in archive.infolist()):
            return "is packed, as no checkpoint is"
        if not is_marked and not has_side and archive.testzip():
            return "is damaged (a checksum inside is wrong)"
    return None


def _digest(file: BinaryIO, size: int, more: bytes) -> str:
    """SHA-256 of the first bytes of a file, and of more."""
    file.seek(0)
    found = hashlib.sha256()
    while size and (block := file.read(min(size, 1 << 22))):
        found.update(block)
        size -= len(block)
    found.update(more)
    return found.hexdigest()


def holds_training(state: dict[str, Any]) -> bool:
    """Tell whether a checkpoint can be continued from; one of weights alone can be scored with."""
    return not state.keys().isdisjoint(TRAINING)


def _what_lacks(content: object) -> str | None:
    """Say what a checkpoint of evqa has and this has not, or None."""
    if not isinstance(content, dict):
        return f"is no checkpoint of evqa: it holds a {type(content).__name__}"
    needed = ENTRIES if holds_training(content) else {name: ENTRIES[name] for name in ENTRIES if name not in TRAINING}
    wrong = [name for name, kind in needed.items() if not isinstance(content.get(name), kind) or content[name] == []]
    if wrong:
        return f"is no checkpoint of evqa: it lacks {', '.join(wrong)}"
    odd = [name for name, tensor in content["state_dict"].items() if not _is_plain(tensor)]
    if odd:
        return f"is no checkpoint of evqa: {odd[0]} is not a plain tensor"
    return None


def _is_plain(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"
