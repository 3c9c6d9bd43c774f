"""What the tables of a run say of its items: titles and files. Nothing is made, and no video is opened."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from evqa.config.saved import checked_saved
from evqa.errors import RunError
from evqa.training.plan import read_dataset
from evqa.types import Failure, Record


class ItemRecords(NamedTuple):
    """Records by id, and why there is none of others that the tables name. others: labelled ones of no such id."""

    records: Mapping[str, Record] = MappingProxyType({})
    rejects: Mapping[str, Failure] = MappingProxyType({})
    others: tuple[Record, ...] = ()


def item_records(run: Path, ids: Collection[str], *, split: str) -> ItemRecords:
    """Read the tables that a run's configuration names, for these items; of an id in several, the split's own.

    The configuration may come from anybody: it is checked, and chooses only what is read. Relative places are those of
    the working directory, as for `evqa.eval`.

    Raises:
        EvqaError, OSError: the configuration or the tables cannot be used.
    """
    dataset = read_dataset(checked_saved(run / "config.yaml"))
    if (made := dataset.makes()) is not None:
        raise RunError(f"the run's clips are not at {made} (a relative place is one of the working directory)")
    given = dataset.read()
    wanted = frozenset(ids)
    ordered = sorted(given.splits.items(), key=lambda one: one[0] == split.partition("-")[0])
    every = [record for _, records in ordered for record in records]
    return ItemRecords(
        records={record.id: record for record in every if record.id in wanted},
        rejects={reject.id: reject for reject in given.rejects if reject.id in wanted},
        others=tuple(record for record in every if record.id not in wanted and record.label is not None),
    )
