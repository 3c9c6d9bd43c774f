"""A way to combine members, as it is applied and kept in a file.

# N items, M members
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from scipy import stats

from evqa.ensembling.members import Matrix, Vector
from evqa.errors import AnnotationError
from evqa.files.stored import read_object
from evqa.files.whole import write_whole

Equal = Literal["mean", "rank_mean"]
Fitted = Literal["weights", "greedy", "stack"]
Method = Equal | Fitted
FITTED: tuple[Fitted, ...] = get_args(Fitted)
METHODS: tuple[Method, ...] = (*get_args(Equal), *FITTED)


@dataclass(frozen=True, kw_only=True)
class Combination:
    """Weights of named members, ready for a set without labels.

    mean: of the scores as they are. rank_mean: of the ranks within the set that is combined, mapped to 0-1. Both are
    of the members whose weight is not 0. weights, greedy, stack: offset + sum of weight x (score - centre) / spread,
    with centres and spreads of the set that the weights were fitted on, so that members of any scale join and the
    result is in the label's scale.
    """

    method: Method
    members: tuple[str, ...]
    weights: tuple[float, ...]
    centres: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()
    offset: float = 0.0

    def check(self) -> None:
        """Raise ValueError or TypeError unless the parts fit together."""
        if self.method not in METHODS:
            raise ValueError(f"method {self.method!r}")
        fitted = (self.centres, self.spreads) if self.method in FITTED else ()
        if any(len(values) != len(self.members) for values in (self.weights, *fitted)):
            raise ValueError(f"not one number for each of {len(self.members)} members")
        numbers = (*self.weights, *self.centres, *self.spreads, self.offset)
        if not all(math.isfinite(number) for number in numbers) or not all(self.spreads):
            raise ValueError("a number that is none, or a spread of 0")

    def apply(self, scores_NM: Matrix) -> Vector:
        """Combined scores [N]."""
        if self.method == "mean":
            return np.asarray(scores_NM[:, np.flatnonzero(self.weights)].mean(axis=1))
        if self.method == "rank_mean":
            ranks_NM = stats.rankdata(scores_NM[:, np.flatnonzero(self.weights)], axis=0)
            return np.asarray((ranks_NM.mean(axis=1) - 0.5) / len(scores_NM))
        standard_NM = (scores_NM - np.array(self.centres)) / np.array(self.spreads)
        return np.asarray(self.offset + standard_NM @ np.array(self.weights))

    def shares(self) -> tuple[float, ...]:
        """Weights as parts of 1 (of their absolute sum, where some are negative)."""
        total = sum(abs(weight) for weight in self.weights) or 1.0
        return tuple(weight / total for weight in self.weights)

    def in_order_of(self, names: Sequence[str]) -> tuple[Combination, bool]:
        """The same for members in another order, and whether names decided (else: the order they were given in).

        Raises AnnotationError where the number of members differs.
        """
        if len(names) != len(self.members):
            raise AnnotationError(
                f"The weights are for {len(self.members)} members ({', '.join(self.members)}), {len(names)} are given."
            )
        if set(names) != set(self.members):
            return replace(self, members=tuple(names)), False
        places = [self.members.index(name) for name in names]

        def picked(values: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(values[place] for place in places) if values else ()

        weights, centres, spreads = map(picked, (self.weights, self.centres, self.spreads))
        return replace(self, members=tuple(names), weights=weights, centres=centres, spreads=spreads), True

    def retired(self) -> tuple[str, ...]:
        """The members that add nothing: those of weight 0."""
        return tuple(name for name, weight in zip(self.members, self.weights, strict=True) if weight == 0)


def equal(method: Equal, names: Sequence[str], *, without: Sequence[str] = ()) -> Combination:
    """The combination that needs no labels: all members alike, but for those of weight 0 (`without`)."""
    alive = [name not in without for name in names]
    if not any(alive):
        alive = [True] * len(names)
    return Combination(method=method, members=tuple(names), weights=tuple(one / sum(alive) for one in alive))


def save(path: Path, combination: Combination, *, about: dict[str, Any]) -> None:
    """Write the weights and what is known about them (`about`) as JSON."""
    text = json.dumps({"combination": asdict(combination), **about}, indent=2, allow_nan=False)
    write_whole(path, text + "\n")


def load(path: Path) -> tuple[Combination, dict[str, Any]]:
    """Read what `save` wrote. Raises AnnotationError."""
    try:
        content = read_object(path)
        fields = content.pop("combination")
        lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
        combination = Combination(**{**fields, **lists})
        combination.check()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(f"{path}: not a file of weights that evqa.ensemble wrote ({error}).") from error
    return combination, content
