"""The report page of some runs, made in a folder of its own: the folder of the runs stays as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

METRIC = "challenge"


def report_page(folders: Sequence[Path], *, notes: Sequence[str], split: str, told: Callable[[int], None]) -> str:
    """Return the page that `evqa report` writes.

    notes: to stand in it before others. told: called with the number of resamples that are done.

    Raises:
        EvqaError: the runs cannot be compared.
    """
    from evqa.reporting.comparing import compare
    from evqa.reporting.folds import join_folds
    from evqa.reporting.provenance import provenance
    from evqa.reporting.runs import Targets, read_run
    from evqa.reporting.study import pool
    from evqa.reporting.writing import write_report
    from evqa.runs.examined import examine_with_items

    targets: Targets = {}
    joined = join_folds([read_run(path, split=split, known=targets) for path in folders])
    study = compare(pool(joined.runs, split=split, metric=METRIC, told=told), baseline=None, family=None)
    study = replace(study, notes=(*notes, *joined.notes, *study.notes))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        study, further = examine_with_items(study, folder=place)
        further = replace(further, media=replace(further.media, links={}))  # a browser has no way to the server's files
        scored = [run for run in joined.runs if run.scores is not None]
        origin = provenance(scored, command=[str(path) for path in folders], split=split, metric=METRIC)
        write_report(study, place, title=f"Report on {len(folders)} runs", further=further, origin=origin)
        return (place / "report.html").read_text(encoding="utf-8")
