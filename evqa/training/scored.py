"""The scores of a validation, joined over batches and processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import torch

from evqa.types import Failure


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores of some items in the labels' own scale, and the items without one."""

    ids: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    labels: tuple[float, ...] = ()
    failures: tuple[Failure, ...] = ()


def joined(parts: Iterable[Scored]) -> Scored:
    """Put scores one after the other, in time that grows with their number."""
    parts = list(parts)
    names = [field.name for field in fields(Scored)]
    return Scored(**{name: tuple(chain.from_iterable(getattr(part, name) for part in parts)) for name in names})


def gather(scored: Scored) -> Scored:
    """Join the scores of all ranks, each id once, ordered by id; the same on every rank."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return scored
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, scored)
    return _each_once(joined(parts))


def _each_once(scored: Scored) -> Scored:
    order = [index for _, index in sorted({id_: index for index, id_ in enumerate(scored.ids)}.items())]
    failures = {failure.id: failure for failure in scored.failures}
    return Scored(
        ids=tuple(scored.ids[index] for index in order),
        scores=tuple(scored.scores[index] for index in order),
        labels=tuple(scored.labels[index] for index in order),
        failures=tuple(failures[id_] for id_ in sorted(failures)),
    )
