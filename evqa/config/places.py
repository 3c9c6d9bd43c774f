"""Which classes belong where in a configuration: a loss where a loss belongs, a model where a model belongs.

The bases are named as text and compared with the sources' own class statements; nothing is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from evqa.config.kinds import Component, Kind
from evqa.config.signature import Schema


@dataclass(frozen=True, kw_only=True)
class Place:
    """What may be built at a place: a class of our own, the base itself or derived from it.

    base: dotted path. given: positional arguments that the program adds. packages: where the class may come from.
    """

    base: str
    given: int = 0
    packages: tuple[str, ...] = ("evqa",)

    def misfit(self, target: str, schema: Schema) -> str | None:
        """Say why a class cannot stand here, or None where it can."""
        name = self.base.rpartition(".")[2]
        if not schema.paths or schema.paths[0].partition(".")[0] not in self.packages:
            return f"{target} is no class of {self.packages[0]}; only a {name} of {self.packages[0]} may be built here."
        if self.base not in schema.paths:
            return f"{target} is no {name}; only a {name} of {self.packages[0]} may be built here."
        if schema.abstract:
            return f"{target} is only the base of others; name one of them."
        if schema.paths[0].startswith("evqa.") and schema.positional > self.given:
            return f"{target} is built by the program itself, not from a configuration."
        return None


CALLBACK = "lightning.pytorch.callbacks.callback.Callback"
HYDRA_PACKAGES = ("evqa", "hydra_plugins", "hydra")

# By path; the first pattern that fits counts.
PLACES: Mapping[str, Place] = {
    "model": Place(base="evqa.models.base.Model", given=1),
    "frames": Place(base="evqa.media.sampling.FrameSampling"),
    "audio": Place(base="evqa.media.audio.AudioWindow"),
    "prompt": Place(base="evqa.prompts.prompt.Prompt"),
    "lora": Place(base="evqa.training.tuning.Tuning"),
    "head": Place(base="evqa.heads.base.Head", given=1),
    "loss": Place(base="evqa.training.losses.Loss"),
    "data": Place(base="evqa.datasets.base.Dataset"),
    "optimizer": Place(base="evqa.training.optimizer.AdamW"),
    "schedule": Place(base="evqa.training.optimizer.WarmupCosine"),
    "trainer": Place(base="evqa.runs.settings.TrainerSettings"),
    "logger": Place(base="evqa.runs.settings.TrackerSettings"),
    "callbacks.checkpoints": Place(base="evqa.training.callbacks.checkpoints.Checkpoints", given=1),
    "callbacks.*": Place(base=CALLBACK),
    "hydra.launcher": Place(base="hydra.plugins.launcher.Launcher", packages=HYDRA_PACKAGES),
    "hydra.sweeper": Place(base="hydra.plugins.sweeper.Sweeper", packages=HYDRA_PACKAGES),
}

# Nodes that every run needs.
NEEDED = (*(path for path in PLACES if "." not in path), "callbacks.checkpoints", "modal", "run")


def place_at(path: str) -> Place | None:
    """What belongs to a path of the configuration; None where nothing is built."""
    return next((place for pattern, place in PLACES.items() if _fits(path, pattern)), None)


def places_of(kinds: tuple[Kind, ...]) -> tuple[Place, ...]:
    """What an argument may be built of, by its annotation."""
    return tuple(Place(base=kind.path or kind.name) for kind in kinds if isinstance(kind, Component))


def _fits(path: str, pattern: str) -> bool:
    return path.count(".") == pattern.count(".") and fnmatchcase(path, pattern)
