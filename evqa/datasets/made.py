"""Data sets that the project makes itself: once, into a folder whose name says exactly which clips it holds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Protocol, TypeVar

from evqa.datasets.base import Annotations, Dataset
from evqa.errors import AnnotationError, ConfigError, FileError
from evqa.files.progress import counted
from evqa.files.whole import whole_folder
from evqa.machine.cores import num_cores
from evqa.machine.isolated import map_isolated


class Named(Protocol):
    """A description of one clip."""

    @property
    def id(self) -> str:
        """Name of the clip's file, without extension."""


Described = TypeVar("Described", bound=Named)


@dataclass(frozen=True, kw_only=True)
class MadeClips(Dataset):
    """Made once below `folder`: train.csv, val.csv and videos/.

    num_train / num_val: clips of each table. seed: of the clips. version: part of the folder's name, raised when the
    clips change. made_range: the only scale that the labels have.
    """

    version: ClassVar[int]
    made_range: ClassVar[tuple[float, float]]

    folder: str
    num_train: Annotated[int, "16 <= num_train"] = 512
    num_val: Annotated[int, "16 <= num_val"] = 512
    seed: Annotated[int, "0 <= seed"] = 0

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Make clips and tables in an empty folder."""

    @abstractmethod
    def read_made(self, folder: Path) -> Annotations:
        """Read the tables that `write` wrote."""

    def home(self) -> Path:
        """The folder of exactly these clips."""
        return Path(self.folder) / f"v{self.version}-seed{self.seed}-{self.num_train}-{self.num_val}"

    def makes(self) -> Path | None:
        """The folder with the clips, where it is not there yet."""
        return None if self.home().is_dir() else self.home()

    def sources(self) -> tuple[str, ...]:
        """The folder with the clips."""
        return (str(self.home()),)

    def problems(self) -> Iterable[str]:
        """The tables need some clips to be balanced."""
        yield from super().problems()
        for name, number in (("num_train", self.num_train), ("num_val", self.num_val)):
            if number < 16:
                yield f"data.{name}={number}: give at least 16."

    def read(self) -> Annotations:
        """Make the clips where they are not there yet, and read their tables.

        Raises:
            ConfigError: another scale than that of the labels. A scorer, which reads no tables, may have any.
        """
        if self.label.range != self.made_range:
            low, high = (f"{end:g}" for end in self.made_range)
            rule = f"synthetic labels lie in {low}-{high}; leave it at [{low},{high}]."
            raise ConfigError([f"data.label.range={list(self.label.range)}: {rule}"])
        home = self.home()
        if not home.is_dir():
            self._make(home)
        return self.read_made(home)

    def _make(self, home: Path) -> None:
        try:
            with whole_folder(home) as draft:
                self.write(draft)
        except FileError:
            if not home.is_dir():  # else another maker was first; its clips are the same
                raise

    def numbers(self) -> dict[str, range]:
        """Numbers of the clips of each table; no number is in both."""
        return {"train": range(self.num_train), "val": range(self.num_train, self.num_train + self.num_val)}


def write_clips(write: Callable[..., None], described: Sequence[Described], *, folder: Path) -> None:
    """Call `write(one, folder=folder)` for every description, several at a time.

    write: importable by name. Raises AnnotationError where a clip cannot be made.
    """
    workers = min(8, num_cores())
    outcomes = map_isolated(partial(write, folder=folder), described, num_workers=workers, seconds=60.0)
    again = "the same command makes all of them again"
    with counted("making synthetic clips", len(described), then=again) as counting:
        for outcome in counting.watch(outcomes):
            if outcome.error:
                name = described[outcome.index].id
                raise AnnotationError(f"{folder}: synthetic clip {name} not made: {outcome.error}.")
