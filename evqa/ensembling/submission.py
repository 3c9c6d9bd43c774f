"""Write a prediction as a submission and check the written file, not the numbers in memory."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

from evqa.ensembling.members import Vector
from evqa.errors import AnnotationError
from evqa.files.names import listed
from evqa.metrics.score_table import read_scores, write_scores


def write_submission(path: Path, ids: Sequence[str], scores_N: Vector, *, label: str, zipped: bool) -> list[Path]:
    """Write `Id,<label>` (and a zip of it), read it back and check it; returns what was written.

    Raises AnnotationError where a score is not finite or the file does not hold exactly these ids.
    """
    bad = [id_ for id_, score in zip(ids, scores_N, strict=True) if not math.isfinite(score)]
    if bad:
        raise AnnotationError(
            f"{len(bad)} of {len(ids)} combined scores are not finite: {listed(bad)}. Nothing is written."
        )
    write_scores(path, dict(zip(ids, map(float, scores_N), strict=True)), label=label)
    check_submission(path, ids, label=label)
    if not zipped:
        return [path]
    archive = path.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(path, path.name)
    return [path, archive]


def check_submission(path: Path, ids: Sequence[str], *, label: str) -> None:
    """Raise AnnotationError unless the file is `Id,<label>` with exactly these ids, each once, all numbers finite."""
    table = read_scores(path)
    if table.label != label:
        raise AnnotationError(f"{path}: the scores are called '{table.label}', '{label}' is expected.")
    wanted = set(ids)
    missing, extra = wanted - table.values.keys(), table.values.keys() - wanted
    if missing or extra:
        raise AnnotationError(
            f"{path}: {len(missing)} ids are missing ({listed(sorted(missing)) or 'none'}), "
            f"{len(extra)} are too many ({listed(sorted(extra)) or 'none'})."
        )
