"""Clips with picture, sound and text that the project makes itself, whose label is a known function of all three.

The label of a clip is `Phi(z)`, z = sqrt(.31) visual + sqrt(.31) acoustic + sqrt(.25) textual + sqrt(.13) noise, where
the four factors have mean 0 and variance 1 and are uncorrelated *exactly* within each split. So the label is close to
uniform on 0-1, like the challenge's normalised rank, and the highest possible correlation with z is known: .75 for text
with picture or with sound, .93 for all three, in every split and not only on average.

`evqa.datasets.scenes` renders the factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evqa.datasets.base import Annotations
from evqa.datasets.made import MadeClips, write_clips
from evqa.datasets.scenes import GRADED_WORDS, Scene, choose_words, write_scene
from evqa.datasets.snapugc import SnapUGC
from evqa.files.whole import write_table

SHARES = {"visual": 0.31, "acoustic": 0.31, "textual": 0.25, "noise": 0.13}
_TEXTUAL = list(SHARES).index("textual")


@dataclass(frozen=True, kw_only=True)
class Synthetic(MadeClips):
    """In SnapUGC's form, with factors.csv beside the tables."""

    version: ClassVar[int] = 1
    made_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    folder: str = "cache/synthetic"

    def read_made(self, folder: Path) -> Annotations:
        """Read the tables as SnapUGC's."""
        videos, train, val = (str(folder / name) for name in ("videos", "train.csv", "val.csv"))
        return SnapUGC(csv=train, val_csv=val, videos=videos).asking(self.asked).read()

    def write(self, folder: Path) -> None:
        """Draw factors, and make clips and tables of them."""
        (folder / "videos").mkdir()
        numbers = self.numbers()
        factors = {split: draw_factors(len(of), seed=(self.seed, of.start)) for split, of in numbers.items()}
        scenes = {split: scenes_of(factors[split], of, seed=self.seed) for split, of in numbers.items()}
        write_clips(write_scene, [scene for of in scenes.values() for scene in of], folder=folder / "videos")
        for split, of in scenes.items():
            _write_table(folder / f"{split}.csv", of, mix_label(factors[split]))
        _write_factors(folder / "factors.csv", scenes, factors)


def draw_factors(number: int, *, seed: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw factors [number, 4] in the order of SHARES: mean 0, variance 1, uncorrelated exactly.

    The textual one has as many values as there are graded words, all (nearly) equally often.
    """
    draw = np.random.default_rng(seed)
    grades = draw.permutation(np.arange(number) % len(GRADED_WORDS))
    textual = np.array([NormalDist().inv_cdf((grade + 0.5) / len(GRADED_WORDS)) for grade in grades])
    others = draw.normal(size=(number, len(SHARES) - 1))
    # Orthogonalised one after the other; the first columns, constant and textual, keep their directions.
    basis, triangle = np.linalg.qr(np.column_stack([np.ones(number), textual, others]))
    whitened = basis[:, 1:] * np.sign(np.diag(triangle)[1:]) * np.sqrt(number)
    return np.insert(whitened[:, 1:], _TEXTUAL, whitened[:, 0], axis=1)


def mix_label(factors: NDArray[np.float64]) -> list[float]:
    """Labels in 0-1 of factors [number, 4]."""
    return [NormalDist().cdf(z) for z in factors @ np.sqrt(list(SHARES.values()))]


def scenes_of(factors: NDArray[np.float64], numbers: range, *, seed: int) -> list[Scene]:
    """Name the clips with these numbers and hand each its factors."""
    _, grades = np.unique(factors[:, _TEXTUAL].round(9), return_inverse=True)
    return [
        Scene(
            id=f"clip_{number:05d}",
            visual=float(row[0]),
            acoustic=float(row[1]),
            grade=int(grade),
            seed=(seed, number),
        )
        for number, row, grade in zip(numbers, factors, grades, strict=True)
    ]


def _write_table(path: Path, scenes: Sequence[Scene], labels: Sequence[float]) -> None:
    rows = ([scene.id, *choose_words(scene), "", f"{label:.6f}"] for scene, label in zip(scenes, labels, strict=True))
    write_table(path, ["Id", "Title", "Description", "Download_link", "ECR"], rows)


def _write_factors(
    path: Path, scenes: Mapping[str, Sequence[Scene]], factors: Mapping[str, NDArray[np.float64]]
) -> None:
    rows = (
        [scene.id, split, *(f"{value:.6f}" for value in row)]
        for split, of in scenes.items()
        for scene, row in zip(of, factors[split], strict=True)
    )
    write_table(path, ["Id", "split", *SHARES], rows)
