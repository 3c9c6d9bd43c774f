"""What a scorer is given: paths of files, or records."""

from __future__ import annotations

from pathlib import Path

from evqa.files.regular import why_unreadable
from evqa.training.batches import Sample
from evqa.types import Failure, Record

Item = Path | str | Record  # the path of a file, or a record with an id and texts of its own


def as_record(item: Item) -> Record:
    """Name a file by its path as it was given, in letters that can be written; a record stays as it is.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(item, Record):
        return item
    if not isinstance(item, str | Path):
        raise TypeError(f"{item!r} ({type(item).__name__}) cannot be scored: give a path, or an evqa.types.Record.")
    return Record(id=str(item), paths=(Path(item),))


def unreadable(record: Record) -> Sample | None:
    """What paths that name no files give; opening a pipe would wait for ever."""
    reasons = ((path, why_unreadable(path)) for path in record.paths)
    path, reason = next(((path, reason) for path, reason in reasons if reason), (None, None))
    if path is None:
        return None
    named = f"{path.name}: {reason}" if len(record.paths) > 1 else str(reason)
    return Sample(id=record.id, failure=Failure(id=record.id, reason=named))
