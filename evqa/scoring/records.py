"""Reading the records of scored splits, `predictions/NAME.json`, without importing what scores."""

from __future__ import annotations

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
