"""Clips with picture, sound and text that the project makes itself, whose label is a known function of all three.

The label of a clip is `Phi(z)`, z = sqrt(.31) visual + sqrt(.31) acoustic + sqrt(.25) textual + sqrt(.13) noise, where
the four factors have mean 0 and variance 1 and are uncorrelated *exactly* within each split. So the label is close to
uniform on 0-1, like the challenge's normalised rank, and the highest possible correlation with z is known: .75 for text
with picture or with sound, .93 for all three, in every split and not only on average.

`evqa.datasets.scenes` renders the factors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from evqa.datasets.base import Annotations, Dataset
from evqa.datasets.scenes import GRADED_WORDS, Scene, choose_words, write_scene
from evqa.datasets.snapugc import SnapUGC
from evqa.errors import AnnotationError, FileError
from evqa.files.terminal import terminal
from evqa.files.whole import whole_folder, write_table
from evqa.machine.cores import num_cores
from evqa.machine.isolated import map_isolated

VERSION = 1  # part of the folder's name: raise it when the clips change
SHARES = {"visual": 0.31, "acoustic": 0.31, "textual": 0.25, "noise": 0.13}
_TEXTUAL = list(SHARES).index("textual")


@dataclass(frozen=True, kw_only=True)
class Synthetic(Dataset):
    """Made once below `folder`, in SnapUGC's form (train.csv, val.csv, videos/), with factors.csv beside it.

    num_train / num_val: clips of each table. seed: of the clips.
    """

    folder: str = "cache/synthetic"
    num_train: Annotated[int, "16 <= num_train"] = 512
    num_val: Annotated[int, "16 <= num_val"] = 512
    seed: Annotated[int, "0 <= seed"] = 0

    def home(self) -> Path:
        """The folder of exactly these clips."""
        return Path(self.folder) / f"v{VERSION}-seed{self.seed}-{self.num_train}-{self.num_val}"

    def makes(self) -> Path | None:
        """The folder with the clips, where it is not there yet."""
        return None if self.home().is_dir() else self.home()

    def sources(self) -> tuple[str, ...]:
        """The folder with the clips."""
        return (str(self.home()),)

    def problems(self) -> Iterable[str]:
        """The factors need some clips to be uncorrelated, and their label has one scale."""
        yield from super().problems()
        for name, number in (("num_train", self.num_train), ("num_val", self.num_val)):
            if number < 16:
                yield f"data.{name}={number}: give at least 16."
        if self.label.range != (0.0, 1.0):
            yield f"data.label.range={list(self.label.range)}: synthetic labels lie in 0-1; leave it at [0,1]."

    def read(self) -> Annotations:
        """Make the clips where they are not there yet, and read their tables."""
        home = self.home()
        if not home.is_dir():
            self._make(home)
        videos, train, val = (str(home / name) for name in ("videos", "train.csv", "val.csv"))
        return SnapUGC(csv=train, val_csv=val, videos=videos).asking(self.asked).read()

    def _make(self, home: Path) -> None:
        try:
            with whole_folder(home) as draft:
                self._write(draft)
        except FileError:
            if not home.is_dir():  # else another maker was first; its clips are the same
                raise

    def _write(self, folder: Path) -> None:
        (folder / "videos").mkdir()
        numbers = {"train": range(self.num_train), "val": range(self.num_train, self.num_train + self.num_val)}
        factors = {split: draw_factors(len(of), seed=(self.seed, of.start)) for split, of in numbers.items()}
        scenes = {split: scenes_of(factors[split], of, seed=self.seed) for split, of in numbers.items()}
        _render([scene for of in scenes.values() for scene in of], folder / "videos")
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


def _render(scenes: Sequence[Scene], folder: Path) -> None:
    workers = min(8, num_cores())
    outcomes = map_isolated(partial(write_scene, folder=folder), scenes, num_workers=workers, seconds=60.0)
    console = terminal(stderr=True)
    quiet = not console.is_terminal
    for outcome in track(outcomes, "Making synthetic clips", total=len(scenes), console=console, disable=quiet):
        if outcome.error:
            raise AnnotationError(f"{folder}: synthetic clip {scenes[outcome.index].id} not made: {outcome.error}.")


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
