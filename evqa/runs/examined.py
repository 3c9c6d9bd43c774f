"""A study with what the tables of its best run say of the items: titles, files, thumbnails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evqa.config.environment import hidden
from evqa.errors import EvqaError
from evqa.reporting.further import Further, examine
from evqa.reporting.item_media import ItemMedia, item_media
from evqa.reporting.single_items import single_items
from evqa.reporting.study import Study
from evqa.reporting.text_ridge import text_scores
from evqa.runs.item_records import ItemRecords, item_records


def examine_with_items(
    study: Study, *, folder: Path, margin: float | None = None, difference: float | None = None
) -> tuple[Study, Further]:
    """Look at a study from further sides; returns it with notes on what could not be read.

    folder: of the report, which links begin at. margin, difference: see `examine`.
    """
    tables, unread = _tables(study)
    media = _media(study, tables, folder=folder)
    texts = text_scores(study.ids, tables.records, tables.others)
    study = replace(study, notes=(*study.notes, *unread, *media.notes))
    return study, examine(study, margin=margin, difference=difference, media=media, texts=texts)


def _tables(study: Study) -> tuple[ItemRecords, list[str]]:
    """What the tables of the best setting's first run say of the items, or why nothing is known of them."""
    if not study.ids:
        return ItemRecords(), []
    run = study.best.runs[0]
    try:
        return item_records(run.path, study.ids, split=study.split), []
    except (EvqaError, OSError) as error:
        said = f"{run.name}'s data cannot be read: {hidden(error).splitlines()[0]}"
        return ItemRecords(), [f"No titles, links and thumbnails of items, and no baseline of texts: {said}"]


def _media(study: Study, tables: ItemRecords, *, folder: Path) -> ItemMedia:
    """Titles, links and thumbnails of single items."""
    shown = single_items(study)
    if not (tables.records or tables.rejects):
        return ItemMedia()
    records = {id_: tables.records[id_] for id_ in shown.ids if id_ in tables.records}
    return item_media(records, tables.rejects, pictured=shown.pictured, folder=folder)
