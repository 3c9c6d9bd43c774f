"""Clips that the project makes itself, whose quality is a known function of four impairments.

Each clip has a grade of 0 (none) to 4 for blur, block artefacts, noise and frame drops. Grades are drawn independently,
each value equally often within each split. The label is a MOS on 1-5: `5 - 4 Phi((s - 8) / sqrt(8))`, where s is the
sum of the grades, 8 its mean and 8 its variance: every impairment counts the same and lowers the MOS, which is close to
uniform over the scale. Nothing else is in it: with all four known, SROCC is 1; without one of them (frame drops, for
who sees only key frames), about .86.

`evqa.datasets.impairments` renders the grades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import ClassVar

import numpy as np

from evqa.datasets.base import Annotations
from evqa.datasets.impairments import GRADES, IMPAIRMENTS, ImpairedScene, write_impaired
from evqa.datasets.made import MadeClips, write_clips
from evqa.datasets.table import Table
from evqa.files.whole import write_table
from evqa.types import LabelScale

_MEAN = len(IMPAIRMENTS) * (GRADES - 1) / 2
_VARIANCE = len(IMPAIRMENTS) * (GRADES**2 - 1) / 12


@dataclass(frozen=True, kw_only=True)
class SyntheticQuality(MadeClips):
    """Tables with the MOS and the four grades, which are tags: a report slices by them."""

    version: ClassVar[int] = 1
    made_range: ClassVar[tuple[float, float]] = (1.0, 5.0)

    label: LabelScale = field(default_factory=lambda: LabelScale(name="mos", range=(1, 5)))
    folder: str = "cache/synthetic_quality"

    def read_made(self, folder: Path) -> Annotations:
        """Read the tables."""
        videos, train, val = (str(folder / name) for name in ("videos", "train.csv", "val.csv"))
        table = Table(path=train, val_path=val, root=videos, label=self.label, tag_columns=list(IMPAIRMENTS))
        return table.asking(self.asked).read()

    def write(self, folder: Path) -> None:
        """Draw grades, and make clips and tables of them."""
        (folder / "videos").mkdir()
        scenes = {split: draw_scenes(of, seed=self.seed) for split, of in self.numbers().items()}
        write_clips(write_impaired, [scene for of in scenes.values() for scene in of], folder=folder / "videos")
        for split, of in scenes.items():
            rows = ([scene.id, f"{mos_of(scene):.6f}", *scene.grades.values()] for scene in of)
            write_table(folder / f"{split}.csv", ["id", "mos", *IMPAIRMENTS], rows)


def draw_scenes(numbers: range, *, seed: int) -> Sequence[ImpairedScene]:
    """Draw the grades of the clips with these numbers, each value of each impairment (nearly) equally often."""
    draw = np.random.default_rng((seed, numbers.start))
    even = np.arange(len(numbers)) % GRADES
    grades = [draw.permutation(even).tolist() for _ in IMPAIRMENTS]
    return [
        ImpairedScene(id=f"clip_{number:05d}", grades=dict(zip(IMPAIRMENTS, of, strict=True)), seed=(seed, number))
        for number, *of in zip(numbers, *grades, strict=True)
    ]


def mos_of(scene: ImpairedScene) -> float:
    """Mean opinion score in 1-5."""
    worse = NormalDist(_MEAN, _VARIANCE**0.5).cdf(sum(scene.grades.values()))
    return 5 - 4 * worse
