"""Pure functions that divide records: held-out fraction, folds, smoke subsets; guards against leaks.

Chance comes from a hash of (seed, id or group), so that a division depends neither on the order of the rows nor on
the version of a random number generator.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evqa.errors import AnnotationError
from evqa.types import Record

Records = tuple[Record, ...]
CONTENT = "content:"  # begins the name of a group of equal files


@dataclass(frozen=True)
class _Unit:
    """Records that stay together."""

    records: Records
    label: float
    key: str

    def __len__(self) -> int:
        return len(self.records)


def hold_out(records: Records, *, fraction: float, seed: int) -> tuple[Records, Records]:
    """Divide into (rest, held out), stratified by label, groups kept together, at least one record on each side.

    Sorted by label, the records are cut into as many blocks as shall be held out, and one is drawn from each.

    Raises:
        AnnotationError: fewer than two records or groups.
    """
    units = _units(records, seed)
    if len(units) < 2:
        kind = "group" if len(records) > 1 else "row"
        raise AnnotationError(f"1 usable {kind} cannot be divided; give data.val_csv, or set data.val_fraction=0.")
    held, num_wanted = list[_Unit](), 0.0
    for block in _blocks(units, max(1, round(fraction * len(units)))):
        num_wanted += fraction * sum(map(len, block))
        drawn = [unit for unit in sorted(block, key=_key) if abs(len(unit) - num_wanted) < abs(num_wanted)]
        held += drawn[:1]
        num_wanted -= sum(map(len, drawn[:1]))
    held = held or [min(units, key=lambda unit: (len(unit), unit.key))]
    if len(held) == len(units):
        held.pop()
    return _divide(records, held)


def split_folds(records: Records, *, num_folds: int, fold: int, seed: int) -> tuple[Records, Records]:
    """Divide into (other folds, this fold), stratified by label; every record lies in exactly one fold.

    Raises:
        AnnotationError: fewer records or groups than folds.
    """
    units = _units(records, seed)
    if len(units) < num_folds:
        raise AnnotationError(f"data.folds={num_folds}, but there are only {len(units)} rows or groups to divide.")
    held, sizes = list[_Unit](), [0] * num_folds
    for at in range(0, len(units), num_folds):
        # One unit of each block to each fold: the largest unit to the lightest fold, ties by chance.
        free = sorted(range(num_folds), key=lambda k: (sizes[k], _digest(seed, at, k)))
        block = sorted(units[at : at + num_folds], key=lambda unit: (-len(unit), unit.key))
        for unit, k in zip(block, free, strict=False):
            sizes[k] += len(unit)
            held += [unit] if k == fold else []
    return _divide(records, held)


def draw_subset(records: Records, *, size: int, seed: int) -> Records:
    """Keep `size` records, stratified by label, in their order."""
    if size >= len(records):
        return records
    singles = [_Unit((record,), _label(record), _digest(seed, record.id)) for record in records]
    singles.sort(key=lambda unit: (unit.label, unit.key))
    kept = {min(block, key=_key).records[0].id for block in _blocks(singles, size)}
    return tuple(record for record in records if record.id in kept)


def limit_splits(splits: Mapping[str, Records], *, limit: int, seed: int) -> dict[str, Records]:
    """Keep about `limit` records of train and val together; all splits shrink in the same proportion."""
    num_labelled = sum(len(splits.get(name, ())) for name in ("train", "val"))
    share = min(1.0, limit / max(1, num_labelled))
    sizes = {name: max(1, round(share * len(records))) for name, records in splits.items()}
    return {name: draw_subset(records, size=sizes[name], seed=seed) for name, records in splits.items()}


def join_groups(records: Records, contents: Mapping[Path, str]) -> Records:
    """Put records into one group where they share a group (a creator) or the content of their file."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    names = [_bonds(record, contents) for record in records]
    for bonds in names:
        for bond in bonds[1:]:
            parent[root(bond)] = root(bonds[0])
    return tuple(
        replace(record, group=root(bonds[0])) if bonds else record for record, bonds in zip(records, names, strict=True)
    )


def group_names(records: Sequence[Record]) -> list[str | None]:
    """Name each record's group as it may be written beside scores: equal files by the first id, not by their place."""
    first: dict[str, str] = {}
    for record in records:
        if record.group and record.group.startswith(CONTENT):
            first.setdefault(record.group, f"copies of {record.id}")
    return [record.group and first.get(record.group, record.group) for record in records]


def check_ids(split: str, records: Records) -> None:
    """Refuse an id that stands in several tables of a split; those of one table were looked at row by row.

    Raises:
        AnnotationError: with the first such id.
    """
    twice = [name for name, count in Counter(record.id for record in records).items() if count > 1]
    if twice:
        raise AnnotationError(
            f"{len(twice)} ids stand in more than one {split} table (the first: {twice[0]}); take them out of one."
        )


def find_leaks(splits: Mapping[str, Records], contents: Mapping[Path, str]) -> Iterator[tuple[str, Record, str]]:
    """Yield (split, record, sentence) for every record that another, earlier split holds too, by id or by content.

    Order the splits from the one to be kept whole (test) to the one that may lose records (train).
    """
    ids, files = dict[str, str](), dict[str, tuple[str, str]]()
    for name, records in splits.items():
        for record in records:
            same = next((files[content] for content in _contents(record, contents) if content in files), None)
            if record.id in ids:
                yield name, record, f"the Id is in the {ids[record.id]} table too"
            elif same is not None:
                other_id, other = same
                yield name, record, f"its file is the same as that of {other_id} in the {other} table"
        ids |= {record.id: name for record in records}
        files |= {content: (record.id, name) for record in records for content in _contents(record, contents)}


def _bonds(record: Record, contents: Mapping[Path, str]) -> list[str]:
    shared = [f"{CONTENT}{contents[path]}" for path in record.paths if path in contents]
    return [*([record.group] if record.group else []), *shared]


def _contents(record: Record, contents: Mapping[Path, str]) -> list[str]:
    return [contents.get(path, str(path)) for path in record.paths]


def _units(records: Records, seed: int) -> list[_Unit]:
    groups = defaultdict[tuple[str, str], list[Record]](list)
    for record in records:
        groups[("group", record.group) if record.group else ("id", record.id)].append(record)
    units = [
        _Unit(tuple(members), sum(map(_label, members)) / len(members), _digest(seed, *name))
        for name, members in groups.items()
    ]
    return sorted(units, key=lambda unit: (unit.label, unit.key))


def _divide(records: Records, held: Sequence[_Unit]) -> tuple[Records, Records]:
    ids = {record.id for unit in held for record in unit.records}
    return tuple(r for r in records if r.id not in ids), tuple(r for r in records if r.id in ids)


def _blocks(units: Sequence[_Unit], num_blocks: int) -> Iterator[Sequence[_Unit]]:
    ends = [round(block * len(units) / num_blocks) for block in range(num_blocks + 1)]
    return (units[start:end] for start, end in itertools.pairwise(ends))


def _label(record: Record) -> float:
    return 0.0 if record.label is None else record.label


def _key(unit: _Unit) -> str:
    return unit.key


def _digest(*words: object) -> str:
    return hashlib.sha256("/".join(map(str, words)).encode("utf-8", "surrogateescape")).hexdigest()
