"""Resamples of items by rank: how many drawn items have each score or label and all above, and which are wanted.

# R resamples, N items, G distinct values from the highest down
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evqa.metrics.correlation import Vector
from evqa.metrics.draws import Indices, Matrix


class Falling:
    """Items from the highest of their values down: their order; the distinct values; the first place of each."""

    def __init__(self, values_N: Vector) -> None:
        self.order_N = np.argsort(-values_N, kind="stable")
        sorted_N = values_N[self.order_N]
        self.starts_G = np.flatnonzero(np.r_[True, sorted_N[1:] != sorted_N[:-1]])
        self.values_G = sorted_N[self.starts_G]


@dataclass(frozen=True)
class Ranked:
    """Drawn items by one of their values, from the highest down.

    order_N: the items in that order. drawn_RN: their counts. starts_G: first place of each distinct value of values_G.
    sizes_RG: drawn items of each value; upto_RG: of it and all above.
    """

    order_N: Indices
    drawn_RN: Matrix
    starts_G: Indices
    values_G: Vector
    sizes_RG: Matrix
    upto_RG: Matrix

    @classmethod
    def of(cls, counts_RN: Matrix, falling: Falling) -> Ranked:
        """Rank the drawn items of each resample."""
        drawn_RN, starts_G = np.take(counts_RN, falling.order_N, axis=1), falling.starts_G
        has_ties = len(starts_G) < len(falling.order_N)
        sizes_RG = np.add.reduceat(drawn_RN, starts_G, axis=1) if has_ties else drawn_RN
        upto_RG = np.cumsum(sizes_RG.astype(np.intp), axis=1).astype(np.float64)  # faster than sums of floats
        return cls(falling.order_N, drawn_RN, starts_G, falling.values_G, sizes_RG, upto_RG)

    @property
    def num_R(self) -> Vector:
        """How many items each resample has; where groups are drawn it varies."""
        return self.upto_RG[:, -1]

    def reach(self, most_R: Vector) -> Indices:
        """The place among the values [R] of the item whose rank from above is `most_R`."""
        return np.asarray((self.upto_RG < most_R[:, None]).sum(axis=1))

    def num_items(self, end: int | None) -> int:
        """How many of the items have one of the first `end` values; None: of all."""
        return len(self.order_N) if end is None or end >= len(self.starts_G) else int(self.starts_G[end])

    def grouped(self, weight: Vector | NDArray[np.bool_], end: int | None = None) -> Matrix:
        """Sums [R, G] of the drawn items' weights for each of the first `end` values.

        weight: [N] or [R, N] in the order of the items, as many as have these values.
        """
        weighted_RN = self.drawn_RN[:, : weight.shape[-1]] * weight
        starts_G = self.starts_G[:end]
        return weighted_RN if len(starts_G) == weight.shape[-1] else np.add.reduceat(weighted_RN, starts_G, axis=1)

    def untied_pairs(self) -> Vector:
        """How many pairs [R] have different values."""
        return np.asarray((self.num_R**2 - np.einsum("rg,rg->r", self.sizes_RG, self.sizes_RG)) / 2)


@dataclass(frozen=True)
class Top:
    """The share of the items that have the highest labels.

    most_R: how many a share is, rounded, at least one. least_R: the lowest label of the wanted ones. wanted_R: how many
    are wanted, which is more where several have that label.
    """

    most_R: Vector
    least_R: Vector
    wanted_R: Vector


class Resamples:
    """Resamples given as counts [R, N] of items with labels [N]; what the labels alone decide is computed once."""

    def __init__(self, counts_RN: Matrix, labels_N: Vector, falling: Falling | None = None) -> None:
        self.counts_RN, self.labels_N = counts_RN, labels_N
        self.by_label = Ranked.of(counts_RN, falling or Falling(labels_N))
        self.num_R = self.by_label.num_R
        self.untied_R = self.by_label.untied_pairs()
        self.lowest_R = self.by_label.values_G[self.by_label.reach(self.num_R)]
        self._tops: dict[float, Top] = {}

    def top(self, share: float) -> Top:
        """The items of highest label."""
        if share not in self._tops:
            most_R, by_label = np.maximum(np.floor(share * self.num_R + 0.5), 1.0), self.by_label
            place_R = by_label.reach(most_R)
            upto_R = np.take_along_axis(by_label.upto_RG, place_R[:, None], axis=1)[:, 0]
            self._tops[share] = Top(most_R, by_label.values_G[place_R], upto_R)
        return self._tops[share]

    def wanted(self, by_score: Ranked, share: float, end: int | None = None) -> Matrix:
        """How many wanted items each of the first `end` distinct scores has [R, G]."""
        labels_N = self.labels_N[by_score.order_N[: by_score.num_items(end)]]
        return by_score.grouped(labels_N >= self.top(share).least_R[:, None], end)
