"""Items that belong together: near copies, videos of one creator. They are drawn, and kept on a side of a fold, as one.

# N items
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Groups = Sequence[str | None]  # the name of each item's group; None (or empty) for an item that has none


def numbered(groups: Groups) -> NDArray[np.intp]:
    """Number groups [N] from 0, in the order in which they appear; an item without a group is one of its own."""
    numbers: dict[tuple[str | None, int], int] = {}
    keys = [(name, 0) if name else (None, place) for place, name in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def count_groups(groups: Groups | None) -> int | None:
    """Count the groups, items without one included; None where no item has a group."""
    return len(set(numbered(groups).tolist())) if groups is not None and any(groups) else None
