"""Claims: who is decoding which clip just now, so that no clip is decoded or stored twice.

A claim is a symbolic link whose target names its owner: making one succeeds for exactly one process and is whole or
not there, also on a network file system and under kill -9. Its owner removes it when it is done. The claim of a process
that died is taken over: at once where the process can be looked up, else when it has lasted for `patience_seconds`.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Claim:
    """The right to store one clip, given back at the end of a `with`."""

    path: Path
    owner: str

    def is_held(self) -> bool:
        """Return whether the claim is still ours (it may be taken over when we are very slow)."""
        return _owner(self.path) == self.owner

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_held():
            self.path.unlink(missing_ok=True)


def try_claim(path: Path, *, patience_seconds: float) -> Claim | None:
    """Create the claim `path`; None where a living process holds it. Raises OSError where nothing can be created."""
    if not _remove_abandoned(path, patience_seconds):
        return None
    owner = json.dumps([_place(), os.getpid(), _started(os.getpid()), secrets.token_hex(8)])
    try:
        path.symlink_to(owner)
    except FileExistsError:
        return None
    return Claim(path, owner)


def _remove_abandoned(path: Path, patience_seconds: float) -> bool:
    """Return whether the path is free, after removing a claim whose owner is gone."""
    owner = _owner(path)
    if owner is None:
        return True
    if not _is_abandoned(path, owner, patience_seconds):
        return False
    # Two may see the same abandoned claim. Renaming tells who removed it, and whether it was that claim indeed.
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.rename(aside)
        if _owner(aside) != owner:  # a new owner's claim: put it back
            path.symlink_to(_owner(aside) or "")
            return False
    except (FileNotFoundError, FileExistsError):
        return False
    finally:
        aside.unlink(missing_ok=True)
    return True


def _is_abandoned(path: Path, owner: str, patience_seconds: float) -> bool:
    try:
        place, process, started, _ = json.loads(owner)
    except (ValueError, TypeError):  # not written by us: its age decides
        place = None
    if place == _place():
        return bool(_started(process) != started)
    try:
        return time.time() - path.lstat().st_mtime > patience_seconds
    except FileNotFoundError:
        return False


def _owner(path: Path) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115 (the target is no path)
    except FileNotFoundError:
        return None


@functools.cache
def _place() -> str:
    """Name where process numbers mean the same: this boot of this machine, in this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {secrets.token_hex(8)}"  # cannot be looked up: patience decides


def _started(process: int) -> str | None:
    """Return the start time of a process (kernel ticks), None where there is no such process."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    state, *rest = status.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]
