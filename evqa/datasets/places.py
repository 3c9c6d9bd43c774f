"""Whether the files of a published data set are where they are looked for, and where to get them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from evqa.errors import AnnotationError
from evqa.types import Failure


def listed(paths: str | list[str] | None) -> list[str]:
    """Return a setting that names one file, several, or none as a list."""
    return [paths] if isinstance(paths, str) else list(paths or ())


def require_places(root: str, tables: Sequence[str], *, videos: Path, origin: str) -> None:
    """Name every table that is missing and the folder of the videos, in one sentence.

    root: what data.root says. videos: the folder below it. origin: where the data set comes from, and how it must lie.

    Raises:
        AnnotationError: something is missing.
    """
    lacking = [f"table {file}" for file in tables if not os.path.lexists(file)]
    lacking += [] if videos.is_dir() else [f"folder of videos {videos}"]
    if lacking:
        raise AnnotationError(f"There is no {', and no '.join(lacking)} (data.root={root}). {origin}")


def missing_videos(rejects: Iterable[Failure], *, origin: str) -> tuple[str, ...]:
    """Say how many rows have no video, and where to get them; nothing where none is missing."""
    missing = [reject for reject in rejects if "no video " in reject.reason]
    return (f"{len(missing)} videos of the table are missing (the first: {missing[0]}). {origin}",) if missing else ()
