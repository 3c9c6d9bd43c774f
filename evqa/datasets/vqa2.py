"""The lists that VQA2 publishes (Jia et al., arXiv 2411.03795): ratings of quality, and videos that stall."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from evqa.datasets.rows import scale_reader
from evqa.datasets.stalls import has_sums, stalling_of
from evqa.datasets.table import Table
from evqa.datasets.tables import FileTable, format_of, read_table
from evqa.datasets.turns import read_turns
from evqa.metrics.levels import level_of
from evqa.types import MEDIA, LabelScale

WORDS = ("high", "good", "fair", "poor", "low")
NUMBERS = ("5", "4", "3", "2", "1")
BEYOND = "6"  # what the published lists say at the very top of the scale, where their bins end
_ANSWER = re.compile(rf"The quality of this video is ({'|'.join(WORDS)})\.")


class _Rated(NamedTuple):
    """A row that has a level beside its label."""

    id: str
    label: str
    level: str


@dataclass(frozen=True, kw_only=True)
class RatingList(Table):
    """A list of `{"img_path" or "video_path", "mos" or "gt_score", "level"}` in JSON; see `Table`.

    Where there is a level (1 worst to 5 best), it is compared with that of the label; the label is what counts.
    """

    def _read_table(self, path: Path) -> FileTable:
        table = super()._read_table(path)
        cells = [
            [row.values.get(name, "") for name in (self.id_column, self.label.name, "level")] for row in table.rows
        ]
        rated = [_Rated(*values) for values in cells if values[-1]]
        return replace(table, notes=(*table.notes, *_level_notes(path.name, rated, self.label, names=NUMBERS)))


@dataclass(frozen=True, kw_only=True)
class StreamingList(Table):
    """Lists in JSON of streamed videos, `{"image", "gt_score", "frames per sec", "conversations"}`; see `Table`.

    An id is `<name of the list>/<image>`: several lists name the same video. What the words of a list say of stalls is
    the record's text `stalling` (see `evqa.datasets.stalls`); a list with texts `stalling` of its own keeps them.
    turns_column=conversations asks in the list's own words, without its answer, which is left to the head.
    """

    def _read_table(self, path: Path) -> FileTable:
        table = read_table(path, format=format_of(path), id_column="image", nested=("conversations",))
        table.require("image")
        rows, rated, silent = [], list[_Rated](), dict[str, str]()
        for row in table.rows:
            image, question, answer = row.values["image"], *_said(row.values.get("conversations", ""))
            stalling = row.values.get("stalling") or stalling_of(question)
            if stalling is None:
                silent[image] = question
            if level := _ANSWER.search(answer):
                rated.append(_Rated(image, row.values.get(self.label.name, ""), level[1]))
            turns = json.dumps([{"role": "user", "content": question}]) if question else ""
            own = {self.id_column: f"{path.stem}/{image}", "stalling": stalling or "", "conversations": turns}
            rows.append(replace(row, values=row.values | own))
        columns = tuple(dict.fromkeys([*table.columns, self.id_column, "stalling", "conversations"]))
        notes = [*_level_notes(path.name, rated, self.label, names=WORDS), *_silent_notes(path.name, silent)]
        return replace(table, columns=columns, rows=tuple(rows), notes=(*table.notes, *notes))


def _said(cell: str) -> tuple[str, str]:
    """The words of the user and of the assistant; empty where the cell holds no conversation."""
    try:
        turns = read_turns(cell)
    except ValueError:
        return "", ""
    said = {role: "".join(turn.text for turn in turns if turn.role == role) for role in ("user", "assistant")}
    return said["user"].replace(MEDIA, "<media>"), said["assistant"]


def _level_notes(name: str, rated: Sequence[_Rated], scale: LabelScale, *, names: Sequence[str]) -> Iterable[str]:
    """Tell levels that are not those of their labels; names: of the levels, from best to worst."""
    read, wrong, num_beyond = scale_reader(scale), list[str](), 0
    for row in rated:
        try:
            unit = scale.to_unit(read(row.label))
        except ValueError:
            continue  # the row is rejected, with this reason
        own = names[level_of(unit, num_levels=len(names))]
        if row.level == BEYOND and unit == 1.0:
            num_beyond += 1
        elif row.level != own:
            wrong.append(f"{row.id} with {scale.name}={row.label} is of level {own}, not {row.level}")
    if wrong:
        yield (
            f"{name}: {len(wrong)} of {len(rated)} levels are not those of their labels (the first: {wrong[0]}). The "
            f"labels count; is data.label.range={[scale.low, scale.high]} right?"
        )
    if num_beyond:
        yield f"{name}: {num_beyond} rows at the very top of the scale say level {BEYOND}; it is read as {names[0]}."


def _silent_notes(name: str, silent: dict[str, str]) -> Iterable[str]:
    """Tell rows from whose words no place of a stall can be read, by their question."""
    summed = [image for image, question in silent.items() if has_sums(question)]
    if summed:
        yield (
            f"{name}: {len(summed)} rows give sums of several stalls, not their places (the first: {summed[0]}); they "
            "have no text {stalling}. Take version 1 of the list, or its own words: data.turns_column=conversations."
        )
    if others := [image for image in silent if image not in summed]:
        yield f"{name}: {len(others)} rows say nothing of stalls (the first: {others[0]}); no text {{stalling}}."
