"""Single items: the largest and smallest errors of the best setting, and those on which two settings disagree most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evqa.reporting.comparing import compared_pairs
from evqa.reporting.document import Block, Cell, Heading, ItemTable, Link, Paragraph, Thumbnail
from evqa.reporting.item_media import ItemMedia
from evqa.reporting.runs import Item
from evqa.reporting.sentences import fact
from evqa.reporting.slices import ScoredItem, by_error
from evqa.reporting.study import Setting, Study

NUM_ITEMS_SHOWN = 20
FACTS = ("duration (s)", "sound", "title (chars)", "description (chars)")


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One item with the scores of two settings, means over their seeds."""

    id: str
    item: Item
    first: float
    second: float


@dataclass(frozen=True, kw_only=True)
class SingleItems:
    """The items that a report shows. pair: the settings of the first comparison, where there is one."""

    worst: Sequence[ScoredItem]
    best: Sequence[ScoredItem]
    pair: tuple[Setting, Setting] | None
    apart: Sequence[Disagreement]

    @property
    def pictured(self) -> list[str]:
        """Ids of those with a thumbnail, each once."""
        return list(dict.fromkeys([*(one.id for one in self.worst), *(one.id for one in self.apart)]))

    @property
    def ids(self) -> list[str]:
        """All ids, each once."""
        return list(dict.fromkeys([*self.pictured, *(one.id for one in self.best)]))


def single_items(study: Study) -> SingleItems:
    """Choose the items; none where no labels are known."""
    if not study.ids:
        return SingleItems(worst=(), best=(), pair=None, apart=())
    scored = by_error(study, study.best)
    pairs = compared_pairs(study) if study.comparisons else []
    return SingleItems(
        worst=scored[:NUM_ITEMS_SHOWN],
        best=scored[::-1][:NUM_ITEMS_SHOWN],
        pair=pairs[0] if pairs else None,
        apart=disagreements(study, *pairs[0])[:NUM_ITEMS_SHOWN] if pairs else [],
    )


def disagreements(study: Study, first: Setting, second: Setting) -> list[Disagreement]:
    """The items whose scores differ, those that differ most first."""
    means = zip(*(one.scores_SN.mean(axis=0).tolist() for one in (first, second)), strict=True)
    found = [
        Disagreement(id=id_, item=item, first=one, second=other)
        for id_, item, (one, other) in zip(study.ids, study.items, means, strict=True)
        if one != other
    ]
    return sorted(found, key=lambda one: (-abs(one.first - one.second), one.id))


def item_blocks(study: Study, shown: SingleItems, media: ItemMedia) -> list[Block]:
    """The section of the report; the largest errors and disagreements have thumbnails, as far as there are any."""
    if not study.ids:
        return []
    blocks: list[Block] = [
        Heading(text="Single items"),
        Paragraph(text=f"Of {study.best.name}, scores are means over its seeds. All items: items.csv."),
        _error_table(f"The {len(shown.worst)} largest errors", shown.worst, media),
        _error_table(f"The {len(shown.best)} smallest errors", shown.best, replace(media, thumbnails={})),
    ]
    if shown.pair is not None:
        first, second = shown.pair
        pair = f"{first.name} and {second.name}"
        blocks.append(
            _disagreement_table(f"The {len(shown.apart)} items on which {pair} disagree most", shown.apart, media)
            if shown.apart
            else Paragraph(text=f"{pair} give every item the same score.")
        )
    return blocks


def _error_table(caption: str, scored: Sequence[ScoredItem], media: ItemMedia) -> ItemTable:
    numbers = [(f"{one.item.label:.4g}", f"{one.score:.4g}", f"{one.error:+.4g}") for one in scored]
    items = [(one.id, one.item) for one in scored]
    return _table(caption, ("label", "score", "error"), items, numbers, media)


def _disagreement_table(caption: str, found: Sequence[Disagreement], media: ItemMedia) -> ItemTable:
    numbers = [
        (
            f"{one.item.label:.4g}",
            f"{one.first:.4g}",
            f"{one.second:.4g}",
            f"{one.first - one.second:+.4g}",
            f"{one.first - one.item.label:+.4g}",
            f"{one.second - one.item.label:+.4g}",
        )
        for one in found
    ]
    columns = ("label", "first score", "second score", "first less second", "first error", "second error")
    return _table(caption, columns, [(one.id, one.item) for one in found], numbers, media)


def _table(
    caption: str,
    columns: Sequence[str],
    items: Sequence[tuple[str, Item]],
    numbers: Sequence[Sequence[str]],
    media: ItemMedia,
) -> ItemTable:
    """Rows of items: their names and, where any is known, thumbnails and titles; numbers; facts."""
    has_picture, has_title = (any(id_ in of for id_, _ in items) for of in (media.thumbnails, media.titles))
    names = ["Id", *(["picture"] if has_picture else []), *(["title"] if has_title else [])]
    known = [name for name in FACTS if not (has_title and name == "title (chars)")]
    rows = []
    for (id_, item), own in zip(items, numbers, strict=True):
        row: list[Cell] = [Link(text=id_, target=media.links[id_]) if id_ in media.links else id_]
        row += [_thumbnail(id_, media)] if has_picture else []
        row += [media.titles.get(id_, "-")] if has_title else []
        facts = _facts(item)
        rows.append((*row, *own, *(facts[name] for name in known)))
    return ItemTable(
        columns=(*names, *columns, *known),
        rows=tuple(rows),
        left=len(names),
        caption=caption,
    )


def _thumbnail(id_: str, media: ItemMedia) -> Cell:
    if id_ not in media.thumbnails:
        return "-"
    return Thumbnail(file=media.file(id_), jpeg=media.thumbnails[id_], description=f"Middle frame of {id_}")


def _facts(item: Item) -> dict[str, str]:
    sound = {True: "yes", False: "no", None: "-"}[item.has_audio]
    values = (fact(item.duration), sound, fact(item.title_chars), fact(item.description_chars))
    return dict(zip(FACTS, values, strict=True))
