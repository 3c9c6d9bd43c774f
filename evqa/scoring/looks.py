"""How often the test split of a run was looked at: what is chosen after a look is chosen on these items as well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from evqa.files.stored import read_objects
from evqa.files.whole import write_whole
from evqa.training.folder import RunFolder

TEST = "test"


def count_looks(folder: RunFolder, record: Mapping[str, Any]) -> int | None:
    """Note this score of labelled test items in predictions/test.looks.jsonl; returns which look it is.

    The same checkpoint, modality and overrides again are the same look. None for other splits, and without labels.
    """
    if record.get("split") != TEST or not record["n"]:
        return None
    path = folder.prediction(TEST, "looks.jsonl")
    rows = read_objects(path) if path.exists() else []
    what = {
        "checkpoint_sha256": record["checkpoint_sha256"],
        "modal": record["modal"],
        "overrides": record.get("overrides") or [],
    }
    for number, row in enumerate(rows, start=1):
        if what.items() <= row.items():
            return number
    rows.append({"time": datetime.now(UTC).isoformat(timespec="seconds"), **what})
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))
    return len(rows)
