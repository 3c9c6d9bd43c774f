"""Which files hold the same bytes: by size, then by both ends, then by the whole content."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from evqa.files.content import content_hash

_END = 1 << 16  # bytes compared at the beginning and at the end before a file is read as a whole


def same_content(paths: Iterable[Path]) -> dict[Path, str]:
    """Name the content of every file that shares it with another of `paths` or stands there twice; no other appears.

    Files are read only where another one has the same size, and as a whole only where both ends agree too. The name
    is the SHA-256, or the path of a file that merely stands there twice.
    """
    counts = Counter(paths)
    repeated = {path: str(path) for path, count in counts.items() if count > 1}
    suspects = list(counts)
    for key in (_size, _ends):
        groups = _group(suspects, key)
        suspects = [path for paths_of_key in groups.values() if len(paths_of_key) > 1 for path in paths_of_key]
    twins = _group(suspects, content_hash)
    return repeated | {path: content for content, found in twins.items() if len(found) > 1 for path in found}


def _group(paths: Iterable[Path], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    groups = defaultdict[str, list[Path]](list)
    for path in paths:
        groups[key(path)].append(path)
    return groups


def _size(path: Path) -> str:
    return str(path.stat().st_size)


def _ends(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_END)
        file.seek(max(size - _END, 0))
        return hashlib.sha256(f"{size}/".encode() + head + file.read(_END)).hexdigest()
