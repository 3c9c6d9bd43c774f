"""The five metrics as torchmetrics modules, for Lightning and any other loop: each id once, over all processes.

They keep scores and labels and give them to the functions of `evqa.metrics` at the end, because a rank correlation of
parts says nothing about the whole. Not imported by `evqa.metrics` itself, which needs no torch.

# N items
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torchmetrics
from torch import Tensor

from evqa.metrics.correlation import METRICS

ID_BYTES = 6  # of each half of a hash: 48 bits are whole numbers in float64


def gather_objects(tensor: Tensor, group: Any = None) -> list[Tensor]:
    """Gather tensors of any length from all ranks, wherever the backend computes; they stay on the CPU."""
    parts: list[Any] = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(parts, tensor, group)
    return parts


class ScoreMetric(torchmetrics.Metric):
    """A metric of scores against labels over everything that `update` was given, on the CPU in float64.

    After `compute`, `reason` says why there is no value (NaN): too few items, or all alike; None where there is one.
    """

    of: ClassVar[str]  # which of `evqa.metrics.METRICS`
    full_state_update = False
    items: list[Tensor]

    def __init__(self, **options: Any) -> None:
        super().__init__(dist_sync_fn=gather_objects, **options)
        self.add_state("items", default=[], dist_reduce_fx="cat")
        self.reason: str | None = None

    def update(
        self, scores: Tensor | Sequence[float], labels: Tensor | Sequence[float], ids: Sequence[str] | None = None
    ) -> None:
        """Add scores [N] and labels [N]. ids: of the items, each of which then counts once, also over processes.

        Without ids every item counts. Raises ValueError where the lengths differ.
        """
        columns = [torch.as_tensor(values, dtype=torch.float64).detach().cpu() for values in (scores, labels)]
        hashes = [(math.nan, math.nan)] * len(columns[0]) if ids is None else [_hashed(id_) for id_ in ids]
        if not len(columns[0]) == len(columns[1]) == len(hashes):
            raise ValueError(f"{len(columns[0])} scores, {len(columns[1])} labels, {len(hashes)} ids: one of each.")
        keys_N2 = torch.tensor(hashes, dtype=torch.float64).reshape(-1, 2)
        self.items.append(torch.cat([torch.stack(columns, dim=1), keys_N2], dim=1))

    def compute(self) -> Tensor:
        """The value as float64, or NaN; see `reason`."""
        items_N4 = self.distinct()
        measure = METRICS[self.of](items_N4[:, 0].numpy(), items_N4[:, 1].numpy())
        self.reason = measure.reason
        return torch.tensor(measure.value, dtype=torch.float64)

    def distinct(self) -> Tensor:
        """Score, label and key [N, 4] of each item once, in an order that no number of processes changes."""
        parts = self.items if isinstance(self.items, list) else [self.items]
        items_N4 = torch.cat([part.reshape(-1, 4) for part in parts] or [torch.empty(0, 4)])
        named_N = ~items_N4[:, 2].isnan()
        by_key = {tuple(item[2:]): item for item in items_N4[named_N].tolist()}
        named = [by_key[key] for key in sorted(by_key)]
        return torch.tensor(items_N4[~named_N].tolist() + named, dtype=torch.float64).reshape(-1, 4)


class SroccMetric(ScoreMetric):
    """Spearman's rank correlation, see `evqa.metrics.srocc`."""

    of = "srocc"
    higher_is_better = True


class PlccMetric(ScoreMetric):
    """Pearson's correlation of raw scores, see `evqa.metrics.plcc`."""

    of = "plcc"
    higher_is_better = True


class KroccMetric(ScoreMetric):
    """Kendall's tau-b, see `evqa.metrics.krocc`."""

    of = "krocc"
    higher_is_better = True


class RmseMetric(ScoreMetric):
    """Root mean squared error, see `evqa.metrics.rmse`."""

    of = "rmse"
    higher_is_better = False


class ChallengeMetric(ScoreMetric):
    """0.6 SROCC + 0.4 PLCC, see `evqa.metrics.challenge`."""

    of = "challenge"
    higher_is_better = True


class NumItems(ScoreMetric):
    """How many items there are, each once."""

    def compute(self) -> Tensor:
        """The number as float64."""
        return torch.tensor(len(self.distinct()), dtype=torch.float64)


def all_metrics() -> torchmetrics.MetricCollection:
    """The five by their names in `evqa.metrics.METRICS`, and `n`, with one list of items for all."""
    modules = (SroccMetric(), PlccMetric(), KroccMetric(), RmseMetric(), ChallengeMetric(), NumItems())
    names = [*METRICS, "n"]
    return torchmetrics.MetricCollection(dict(zip(names, modules, strict=True)), compute_groups=[names])


def _hashed(id_: str) -> tuple[float, float]:
    digest = hashlib.blake2b(id_.encode("utf-8", "surrogateescape"), digest_size=2 * ID_BYTES).digest()
    low, high = int.from_bytes(digest[:ID_BYTES], "big"), int.from_bytes(digest[ID_BYTES:], "big")
    return float(low), float(high)
