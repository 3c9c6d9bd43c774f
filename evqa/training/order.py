"""The order of records, which depends on (seed, epoch) alone."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

Place = tuple[int, int]  # (epoch, index of the record)


def seed_of(*words: object) -> int:
    """Derive a 63-bit seed from what it shall depend on."""
    text = "/".join(str(word) for word in words)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "little") >> 1


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which records form which batch.

    shuffle: a permutation from (seed, epoch); otherwise the records' own order. rank / world: every rank takes each
    world-th record; in training the tail that does not fill all ranks is left out. files: of each record. Those of the
    same files follow one another within a permutation, and each rank takes a stretch of it, so that they need be read
    only once. costs: with them (one number a record), batches are made of records of like cost inside windows of 50
    batches, which saves padding.
    """

    num_records: int
    batch_size: int
    shuffle: bool
    seed: int = 0
    rank: int = 0
    world: int = 1
    files: tuple[tuple[Path, ...], ...] | None = None
    costs: tuple[float, ...] | None = None

    def __len__(self) -> int:
        mine = self.num_records // self.world if self.shuffle else len(range(self.rank, self.num_records, self.world))
        return -(-mine // self.batch_size)

    def batches(self, epoch: int) -> list[list[Place]]:
        """Return this rank's batches of one epoch."""
        if not self.shuffle:
            mine = list(range(self.rank, self.num_records, self.world))
            return [[(epoch, index) for index in chunk] for chunk in self._chunks(mine)]
        draw = random.Random(seed_of("order", self.seed, epoch))
        mine = self._permuted(draw)
        chunks = self._chunks(mine) if self.costs is None else self._alike(mine, draw)
        return [[(epoch, index) for index in chunk] for chunk in chunks]

    def _permuted(self, draw: random.Random) -> list[int]:
        num_mine = self.num_records // self.world
        together = defaultdict[object, list[int]](list)
        for index in range(self.num_records):
            together[index if self.files is None else self.files[index]].append(index)
        units = draw.sample(list(together.values()), len(together))
        order = [index for unit in units for index in (draw.sample(unit, len(unit)) if len(unit) > 1 else unit)]
        if len(units) == self.num_records:
            return order[self.rank :: self.world][:num_mine]
        return order[self.rank * num_mine :][:num_mine]

    def _chunks(self, indices: list[int]) -> list[list[int]]:
        return [indices[at : at + self.batch_size] for at in range(0, len(indices), self.batch_size)]

    def _alike(self, indices: list[int], draw: random.Random) -> list[list[int]]:
        assert self.costs is not None
        costs, window, chunks = self.costs, 50 * self.batch_size, list[list[int]]()
        for at in range(0, len(indices), window):
            chunks += self._chunks(sorted(indices[at : at + window], key=lambda index: (costs[index], index)))
        last = [chunks.pop()] if len(chunks[-1]) < self.batch_size else []
        draw.shuffle(chunks)
        return chunks + last
