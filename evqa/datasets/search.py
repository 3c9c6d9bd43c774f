"""Find the videos below a folder, and give every input file an id of its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evqa.files.names import from_system
from evqa.files.regular import why, why_unreadable
from evqa.media.suffixes import VIDEO


@dataclass
class Found:
    """Videos below a folder in the order of their names, and what else lies there.

    unreadable: reasons why some of `files` (a pipe, a link to nothing) or a sub-folder cannot be read. passed_over:
    number of files by suffix, and of hidden ones; folders that are reached by another way are not among them.
    """

    files: list[Path] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)

    def sentence(self) -> str:
        """Say what was passed over: `3 .txt, 1 hidden`; empty where nothing was."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self.passed_over.items()))


def find_videos(folder: Path) -> Found:
    """Look through a folder and its sub-folders. Links to folders are followed, but no folder is entered twice."""
    found, todo, entered = Found(), [folder], set[str]()
    root = os.path.realpath(folder)
    while todo:
        place = todo.pop()
        real = os.path.realpath(place)
        is_link = place != folder and place.is_symlink()
        is_elsewhere = is_link and (Path(real).is_relative_to(root) or Path(root).is_relative_to(real))
        if real not in entered and not is_elsewhere:
            entered.add(real)
            todo += _look_into(place, found)
    found.files.sort(key=os.fspath)
    return found


def _look_into(folder: Path, found: Found) -> list[Path]:
    """Sort the entries of one folder; returns its sub-folders, the last first."""
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found.unreadable[folder] = why(error, "opened")
        return []
    below = []
    for entry in ordered:
        path = folder / entry.name
        suffix = path.suffix.lower()
        if entry.name.startswith("."):
            found.passed_over["hidden"] += 1
        elif os.path.isdir(path):  # noqa: PTH112 (pathlib's raises where a folder on the way is closed)
            below.append(path)
        elif suffix not in VIDEO:
            found.passed_over[suffix or "without suffix"] += 1
        else:
            found.files.append(path)
            found.unreadable |= {path: reason} if (reason := why_unreadable(path)) else {}
    return below[::-1]


def distinct_ids(files: Iterable[tuple[Path | None, Path]]) -> list[str]:
    """Name files, each with the folder that was searched (None: the file was given by itself).

    An id is the path below the folder without its suffix; where two would be the same, with it; where these are the
    same in two folders, the path as it was given, as for single files.
    """
    choices = [_names(folder, file) for folder, file in files]
    level = [0] * len(choices)
    while True:
        ids = [names[at] for names, at in zip(choices, level, strict=True)]
        counts, lowest = Counter(ids), dict[str, int]()
        raisable = [n for n, name in enumerate(ids) if counts[name] > 1 and level[n] + 1 < len(choices[n])]
        for n in raisable:
            lowest[ids[n]] = min(level[n], lowest.get(ids[n], level[n]))
        clashing = [n for n in raisable if level[n] == lowest[ids[n]]]
        if not clashing:
            return ids
        for n in clashing:
            level[n] += 1


def _names(folder: Path | None, file: Path) -> Sequence[str]:
    if folder is None:
        return (from_system(str(file)),)
    below = file.relative_to(folder)
    return tuple(from_system(os.fspath(name)) for name in (below.with_suffix(""), below, file))
