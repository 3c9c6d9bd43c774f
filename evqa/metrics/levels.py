"""Levels of a label: equal bins over its range, from best to worst.

VQA2's second stage bins a MOS so (Jia et al., arXiv 2411.03795). Its paper does not say which bin an edge belongs to;
its published rating lists, which hold labels beside levels, do: the upper one.
"""

from __future__ import annotations

import math

ROUNDING = 1e-9  # a label that rounding has put so much below an edge is on it


def level_of(label: float, *, num_levels: int) -> int:
    """Return the level of a label in 0-1, 0 for the best: equal bins, whose lower edge belongs to them.

    As in VQA2's second stage (80 of 100 is the best of five). A label that rounding has put just below an edge is on
    it; labels outside 0-1 are of the outermost levels.
    """
    from_worst = math.floor(label * num_levels + ROUNDING)
    return num_levels - 1 - min(max(from_worst, 0), num_levels - 1)


def is_on_edge(label: float, *, num_levels: int) -> bool:
    """Whether a label in 0-1 lies between two levels, so that another rule for edges would put it elsewhere."""
    place = label * num_levels
    return 0 < round(place) < num_levels and abs(place - round(place)) <= ROUNDING
