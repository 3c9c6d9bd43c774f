"""What `evqa predict` is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evqa.scoring.settings import further_texts
from evqa.scoring.sources import NamedColumns


@dataclass(frozen=True, kw_only=True)
class Request:
    """The flags of `evqa predict`."""

    inputs: list[Path]
    scorer: str | Path
    title: str | None = None
    description: str | None = None
    videos: Path | None = None
    id_column: str | None = None
    path_column: Sequence[str] = ()
    title_column: str | None = None
    description_column: str | None = None
    modal: str | None = None
    ckpt: str = "best"
    out: Path | None = None
    overwrite: bool = False
    fill: float | None = None
    json: bool = False
    strict: bool = False
    override: Sequence[str] = ()

    @property
    def columns(self) -> NamedColumns:
        """The columns that the user has named, and those that the run's question names."""
        first, *others = self.path_column or (None,)
        return NamedColumns(
            id=self.id_column,
            path=first,
            title=self.title_column,
            description=self.description_column,
            files=tuple(filter(None, others)),
            texts=further_texts(self.scorer, self.override),
        )
