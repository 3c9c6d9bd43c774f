"""Items that gave no score, joined over processes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch

from evqa.types import Failure


def of_all_ranks(failures: Sequence[Failure]) -> tuple[Failure, ...]:
    """Join the failures of all ranks, each id once, ordered by id; the same on every rank."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tuple(failures)
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, tuple(failures))
    by_id = {failure.id: failure for failure in chain.from_iterable(parts)}
    return tuple(by_id[id_] for id_ in sorted(by_id))
