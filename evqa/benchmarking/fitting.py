"""How many layers to compute again so that a training fits a card: as few as possible, because each costs time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

# Of a card's memory: for fragments, workspaces and batches of longer clips than usual, none of which is counted.
RESERVE = 0.1


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """count: layers to compute again, of num_layers. peak: bytes of a training step then. room: bytes to fit into."""

    count: int
    num_layers: int
    peak: float
    room: float

    def __str__(self) -> str:
        """Say what was chosen and why."""
        why = f"the fewest that fit {self.room / 1e9:.1f} GB" if self.peak <= self.room else "which is still too much"
        return (
            f"{self.count} of {self.num_layers} layers of the language model are computed again in the backward pass: "
            f"a training step takes {self.peak / 1e9:.1f} GB, {why}"
        )


def room_of(memory: float) -> float:
    """Return what a training step may take of a card's memory (bytes)."""
    return memory * (1 - RESERVE)


def fewest_recomputed(peak: Callable[[int], float], *, num_layers: int, room: float) -> Fitting:
    """Find the fewest layers that must be computed again; all of them where even that does not fit.

    peak: counts the bytes of a training step with so many recomputed layers. Layers are alike, so that each saves what
    the first one saves, until something else has the peak; what is answered is counted all the same.
    """
    count, needed = 0, peak(0)
    if needed > room and num_layers:
        count, saved = num_layers, needed - peak(1)
        kept, needed = needed, peak(num_layers)
        if needed <= room:
            count = math.ceil((kept - room) / saved)
            while (needed := peak(count)) > room:
                count += 1
    return Fitting(count=count, num_layers=num_layers, peak=needed, room=room)
