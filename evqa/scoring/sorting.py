"""Batches of items of like length, which saves padding, and their results in the order of the items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from evqa.types import Record

Result = TypeVar("Result")
Numbered = Sequence[tuple[int, Record]]  # records with their numbers


def batches_of(
    records: Iterable[Record], *, batch_size: int, window: int, length: Callable[[Record], float] | None
) -> Iterator[Numbered]:
    """Cut records into batches; with a length, those of each `window` records are sorted by it before."""
    numbered = enumerate(records)
    while taken := list(islice(numbered, window)):
        if length is not None:
            lengths = {number: length(record) for number, record in taken}
            taken.sort(key=lambda one: lengths[one[0]])
        yield from (taken[at : at + batch_size] for at in range(0, len(taken), batch_size))


def in_order(results: Iterable[tuple[int, Result]]) -> Iterator[Result]:
    """Yield numbered results from 0 on, each as soon as those before it are there."""
    waiting, due = dict[int, Result](), 0
    for number, result in results:
        waiting[number] = result
        while due in waiting:
            yield waiting.pop(due)
            due += 1
