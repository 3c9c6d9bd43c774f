"""What `benchmark gpu` has found so far: one JSON file, written whole after each row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from evqa.errors import RunError
from evqa.files.plain import write_json

State = Literal["measured", "out of memory", "failed", "left out"]
FINAL = ("measured", "out of memory")  # not tried again


@dataclass(frozen=True, kw_only=True)
class Result:
    """A row and what became of it. why: where it has no figures. seconds: that it took, building the model included."""

    part: str
    name: str
    settings: list[str]
    state: State
    why: str = ""
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)


class Results:
    """The rows of a folder; machine: where the first ones were measured."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gpu.json"
        self.machine: dict[str, Any] = {}
        self.rows: list[Result] = []
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            self.machine, rows = content["machine"], content["rows"]
            self.rows = [Result(**row) for row in rows]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self.path}: not what 'benchmark gpu' writes ({error}); choose another folder by --out"
            ) from error

    def begin(self, machine: dict[str, Any]) -> None:
        """Note where this goes on.

        Raises:
            RunError: what is there was measured on another card, or a model of another size.
        """
        for name, value in self.machine.items():
            if name in ("device", "size") and machine[name] != value:
                raise RunError(
                    f"{self.path} holds figures of {name} '{value}', and this is '{machine[name]}': choose another "
                    "folder by --out."
                )
        self.machine = machine

    def drop(self, parts: Sequence[str]) -> None:
        """Forget the rows of some parts."""
        self.rows = [row for row in self.rows if row.part not in parts]

    def is_final(self, part: str, name: str) -> bool:
        """Whether a row need not be run again."""
        return any(row.state in FINAL for row in self.of(part) if row.name == name)

    def of(self, part: str) -> list[Result]:
        """The rows of a part."""
        return [row for row in self.rows if row.part == part]

    def figures(self, part: str, name: str) -> dict[str, Any] | None:
        """A row's figures; None where it has none."""
        return next((row.figures for row in self.of(part) if row.name == name and row.figures), None)

    def add(self, result: Result) -> None:
        """Put a row in the place of its last try, and write everything. Raises FileError."""
        places = [place for place, row in enumerate(self.rows) if (row.part, row.name) == (result.part, result.name)]
        if places:
            self.rows[places[0]] = result
        else:
            self.rows.append(result)
        write_json(self.path, {"machine": self.machine, "rows": [asdict(row) for row in self.rows]})
