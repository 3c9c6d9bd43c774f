"""The plain keys of a configuration: those that build nothing themselves.

These classes are read like every other schema, as text; no instances are made of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True, kw_only=True)
class RunPlace:
    """Where a run lies: `<root>/<experiment>/<name>`; null means what follows from the configuration."""

    root: str
    experiment: str | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Modal:
    """Which streams a model reads: a(udio), v(ideo) or both. dropout: how often training leaves out one of the two."""

    name: Literal["a", "v", "av"]
    dropout: Annotated[float, "0 <= dropout < 1"] = 0.0


@dataclass(frozen=True, kw_only=True)
class Root:
    """The keys beside the groups. resume: auto continues a run of the same settings, never starts anew."""

    seed: Annotated[int, "0 <= seed <= 4294967295"] = 0
    resume: Literal["auto", "never"] = "auto"
    dry_run: bool = False
    run: RunPlace
    modal: Modal | None = None


# Nodes without `_target_` that have a schema all the same.
PLAIN_NODES = {"": f"{__name__}.Root", "run": f"{__name__}.RunPlace", "modal": f"{__name__}.Modal"}

# Nodes that carry the keyword arguments of a second class beside their own.
COMPANIONS = {"data": "evqa.training.batch_settings.BatchSettings"}
