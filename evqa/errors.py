"""Mistakes that a user can make and mend.

A message says which file or key, which value, which rule, and what to do.
The commands print it without a traceback and exit with its status.
"""

from collections.abc import Iterable
from pathlib import Path


class EvqaError(ValueError):
    """Base of every error whose message is meant for the user. exit_status: of a command that ends with it."""

    exit_status = 2


class ConfigError(EvqaError):
    """Everything that is wrong with one configuration, reported together."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class AnnotationError(EvqaError):
    """A table of videos, labels or predictions that cannot be used."""


class FileError(EvqaError):
    """A file or folder that cannot be read or written; `reason` is a sentence without the path."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"{path} {reason}")

    def __reduce__(self) -> tuple[type, tuple[Path, str]]:
        return type(self), (self.path, self.reason)


class MediaError(EvqaError):
    """One media file that cannot be read; `reason` is a sentence without the path."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"{path}: {reason}")

    def __reduce__(self) -> tuple[type, tuple[Path, str]]:
        return type(self), (self.path, self.reason)


class PromptError(EvqaError):
    """A conversation that does not fit the media or the model's length."""


class CheckpointError(EvqaError):
    """Weights that are missing, damaged, or do not fit the model."""


class RunError(EvqaError):
    """A run folder that is missing, unfinished, or belongs to other settings."""


class IncompleteError(EvqaError):
    """A part of the work could not be done, and a complete result was asked for; what could be done was."""

    exit_status = 3


class MissingDependencyError(EvqaError):
    """An optional package is needed; the message names the extra that installs it."""
