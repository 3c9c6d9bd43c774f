"""Values as JSON has them, and JSON files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evqa.files.whole import write_whole


def plain(value: Any) -> Any:
    """Return a value with null for every number that is not finite, because JSON has no NaN; tuples become lists."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all; NaN becomes null. Raises FileError."""
    write_whole(path, json.dumps(plain(content), indent=2, allow_nan=False) + "\n")
