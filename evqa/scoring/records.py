"""Reading the records of scored splits, `predictions/NAME.json`, without importing what scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evqa.errors import FileError
from evqa.files.stored import read_object


def read_record(path: Path) -> dict[str, Any]:
    """Read NAME.json. Raises FileError where it is damaged or not such a record."""
    record = read_object(path)
    kinds = {"n": int, "num_failed": int, "failures": list, "metrics": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(record.get(name), kind)]
    if wrong:
        raise FileError(path, f"is damaged: {', '.join(wrong)} are missing or of another kind")
    return record


def own_records(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the splits that a run's training has scored, and their records; what was scored later is left out."""
    for path in sorted((folder / "predictions").glob("*.json")):
        record = read_record(path)
        if record.get("split") == path.stem:
            yield path.stem, record
