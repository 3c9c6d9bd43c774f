"""Remove runs, or what finished runs no longer need. Nothing outside a run folder is touched, no link followed.

A run is first renamed to a hidden name beside its place, so that a removal that is killed leaves no half of a run.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evqa.config.paths import finished_mark, lock_file, run_folders, surplus_checkpoints
from evqa.config.reading import read_yaml
from evqa.errors import EvqaError, RunError
from evqa.files.lock import held
from evqa.files.refusals import placed
from evqa.runs.kept import count_bytes, is_running

WRITTEN = ("config.yaml", "overrides.yaml", "environment.json")  # by every run before it begins
REMOVED = ".removed"


@dataclass(frozen=True, kw_only=True)
class Surplus:
    """What `prune` removes: files of a finished run, or a whole folder (`files` is empty)."""

    folder: Path
    files: tuple[Path, ...] = ()
    reason: str

    @property
    def num_bytes(self) -> int:
        """Bytes that become free."""
        return count_bytes(*self.files) if self.files else count_bytes(self.folder)


@dataclass(frozen=True, kw_only=True)
class FoundSurplus:
    """What is to go, and how many runs are left alone, by the reason ("is running")."""

    surplus: list[Surplus] = field(default_factory=list)
    left_alone: dict[str, int] = field(default_factory=dict)

    def leave(self, reason: str) -> None:
        """Count a run that is left alone."""
        self.left_alone[reason] = self.left_alone.get(reason, 0) + 1


def check_removable(folder: Path) -> None:
    """Refuse what is no run folder of evqa's own, or is in use.

    Raises:
        RunError: as said.
    """
    if folder.is_symlink():
        raise RunError(f"{folder}: is a link. Remove the link itself, or name the folder that it leads to.")
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such folder. Give run folders (runs/<experiment>/<name>).")
    lacking = [name for name in WRITTEN if not (folder / name).is_file() or (folder / name).is_symlink()]
    if lacking:
        raise RunError(f"{folder}: not a run folder (it has no {lacking[0]}). A run is runs/<experiment>/<name>.")
    here, place = Path.cwd().resolve(), folder.resolve()
    if place in (here, *here.parents):
        raise RunError(f"{folder}: you are in this folder. Change to another one first.")
    inner = [child for child in folder.iterdir() if child.is_dir() and not child.is_symlink() and child.name != "wandb"]
    if other := next((found for child in inner for found in run_folders(child)), None):
        raise RunError(f"{folder}: holds another run, {other}. Remove that one first.")
    if is_running(folder):
        raise RunError(f"{folder}: is running just now. Stop it first (Ctrl-C, or scancel), or wait for its end.")


def remove(folder: Path) -> None:
    """Remove a run folder that `check_removable` has passed.

    Raises:
        RunError: it is running after all.
        FileError: the system refuses.
    """
    check_removable(folder)
    with _alone(folder):
        aside = folder.with_name(f".{folder.name[:100]}.{secrets.token_hex(4)}{REMOVED}")
        folder.rename(aside)
        shutil.rmtree(aside)


def find_surplus(places: Sequence[Path], *, unfinished: bool) -> FoundSurplus:
    """List what can go. unfinished: also whole runs that have stopped before their end.

    Raises:
        RunError: a place is no folder, or a run that is running.
    """
    found = FoundSurplus()
    for place in places:
        if not place.is_dir():
            raise RunError(f"{place}: not a folder. Give folders of runs (runs/<experiment>).")
        runs = list(run_folders(place))
        if runs == [place] and is_running(place):
            check_removable(place)
        for run in runs:
            _look_at(run, found, unfinished=unfinished)
        found.surplus.extend(_leftovers(place))
    return found


def prune(surplus: Surplus) -> None:
    """Remove what was found, unless it has changed since.

    Raises:
        RunError: the run is running by now.
        FileError: the system refuses.
    """
    if not surplus.files and surplus.folder.name.endswith(REMOVED):
        with placed(surplus.folder):
            shutil.rmtree(surplus.folder)
    elif not surplus.files:
        remove(surplus.folder)
    else:
        with _alone(surplus.folder):
            for file in surplus.files:
                file.unlink(missing_ok=True)


def _look_at(run: Path, found: FoundSurplus, *, unfinished: bool) -> None:
    if is_running(run):
        found.leave("is running")
    elif finished_mark(run).exists():
        checkpoints = run / "checkpoints"
        files = [] if checkpoints.is_symlink() else [*surplus_checkpoints(run), *checkpoints.glob(".*.tmp")]
        if files and _keeps_all(run):
            found.leave("was trained with callbacks.checkpoints.keep=all")
        elif files:
            found.surplus.append(Surplus(folder=run, files=tuple(files), reason="checkpoints of a finished run"))
    elif not unfinished:
        found.leave("is not finished and can be continued (--unfinished removes such)")
    else:
        try:
            check_removable(run)
        except RunError as error:
            found.leave(f"cannot be removed: {error}")
        else:
            found.surplus.append(Surplus(folder=run, reason="a run that was not finished"))


def _keeps_all(run: Path) -> bool:
    try:
        part: Any = read_yaml(run / "config.yaml", kind=dict)
    except EvqaError:
        return False
    for name in ("callbacks", "checkpoints", "keep"):
        part = part.get(name) if isinstance(part, dict) else None
    return bool(part == "all")


def _leftovers(place: Path) -> Iterator[Surplus]:
    """Find what a removal that was killed has left."""
    for folder in (place, *(child for child in place.iterdir() if child.is_dir() and not child.is_symlink())):
        for one in folder.glob(f".*{REMOVED}"):
            if one.is_dir() and not one.is_symlink() and (one / "overrides.yaml").exists():
                yield Surplus(folder=one, reason="left by a removal that was stopped")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder. Raises RunError where it is running."""
    with placed(folder), held(lock_file(folder)) as is_ours:
        if not is_ours:
            raise RunError(f"{folder}: is running just now. Stop it first (Ctrl-C, or scancel), or wait for its end.")
        yield
