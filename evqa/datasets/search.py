"""Find the media files below a folder, and give every input file an id of its own.

Paths are plain texts here: a million `Path` objects need a gigabyte.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from evqa.files.names import from_system
from evqa.files.regular import why, why_unreadable
from evqa.media.suffixes import VIDEO


@dataclass
class Found:
    """Media files below a folder in the order of their names, and what else lies there.

    unreadable: reasons why some of `files` (a pipe, a link to nothing) or a sub-folder cannot be read. passed_over:
    number of files by suffix, and of hidden ones; folders that are reached by another way are not among them.
    """

    files: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)

    def sentence(self) -> str:
        """Say what was passed over: `3 .txt, 1 hidden`; empty where nothing was."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self.passed_over.items()))


def find_media(folder: str, *, suffixes: Iterable[str] = VIDEO) -> Found:
    """Search a folder and its sub-folders. Links to folders are followed, but no folder is entered twice."""
    found, todo, entered, wanted = Found(), [(folder, False)], set[str](), frozenset(suffixes)
    root = Path(os.path.realpath(folder))
    while todo:
        place, is_link = todo.pop()
        real = os.path.realpath(place)
        is_elsewhere = is_link and (Path(real).is_relative_to(root) or root.is_relative_to(real))
        if real not in entered and not is_elsewhere:
            entered.add(real)
            todo += _sort_entries(place, found, wanted)
    found.files.sort()
    return found


def _sort_entries(folder: str, found: Found, wanted: frozenset[str]) -> list[tuple[str, bool]]:
    """Sort the entries of one folder; returns its sub-folders, the last first, and whether each is a link."""
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found.unreadable[folder] = why(error, "opened")
        return []
    below = list[tuple[str, bool]]()
    for entry in ordered:
        name, path = entry.name, os.path.join(folder, entry.name)  # noqa: PTH118
        is_file = entry.is_file(follow_symlinks=False)
        if name.startswith("."):
            found.passed_over["hidden"] += 1
        elif not is_file and os.path.isdir(path):  # noqa: PTH112 (pathlib's raises where a folder on the way is closed)
            below.append((path, entry.is_symlink()))
        elif (suffix := os.path.splitext(name)[1].lower()) not in wanted:  # noqa: PTH122
            found.passed_over[suffix or "without suffix"] += 1
        else:
            found.files.append(path)
            if not is_file and (reason := why_unreadable(Path(path))):
                found.unreadable[path] = reason
    return below[::-1]


def distinct_ids(files: Iterable[tuple[str | None, str]]) -> list[str]:
    """Name files, each with the folder that was searched (None: the file was given by itself).

    An id is the path below the folder without its suffix; where two would be the same, with it; where these are the
    same in two folders, the path as it was given, as for single files.
    """
    given = list(files)
    ids = [_name(folder, file, 0) for folder, file in given]
    level = bytearray(len(ids))
    clashing = _clashing(ids, level, given)
    while clashing:
        for n in clashing:
            level[n] += 1
            ids[n] = _name(*given[n], level[n])
        clashing = _clashing(ids, level, given)
    return ids


def _clashing(ids: list[str], level: bytearray, given: list[tuple[str | None, str]]) -> list[int]:
    """Places of ids that stand twice and can be made longer; of those with the same id, the shortest forms alone."""
    counts = Counter(ids)
    if len(counts) == len(ids):
        return []
    raisable = [n for n in range(len(ids)) if counts[ids[n]] > 1 and given[n][0] is not None and level[n] < 2]
    lowest = dict[str, int]()
    for n in raisable:
        lowest[ids[n]] = min(level[n], lowest.get(ids[n], level[n]))
    return [n for n in raisable if level[n] == lowest[ids[n]]]


def _name(folder: str | None, file: str, level: int) -> str:
    """The id of a file: below its folder without suffix (0), with it (1), as it was given (2)."""
    if folder is None or level == 2:
        return _decoded(file)
    below = file[len(folder) :].lstrip("/")
    return _decoded(below if level else os.path.splitext(below)[0])  # noqa: PTH122


def _decoded(name: str) -> str:
    return name if name.isascii() else from_system(name)
