"""Read the YAML files of a run folder, which may come from anybody: values only, in bounded time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf._utils import get_yaml_loader

from evqa.errors import FileError, RunError
from evqa.files.regular import check_readable, why

LARGEST = 1 << 18  # bytes; a real one has 5,000
Values = TypeVar("Values", dict[str, Any], list[Any])


class _Loader(get_yaml_loader()):  # type: ignore[misc]
    """OmegaConf's loader without references, by which a few lines stand for endless ones."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "references (*name) are not used in a run's file", mark)
        return super().compose_node(parent, index)


def read_yaml(path: Path, *, kind: type[Values]) -> Values:
    """Read a run's YAML file as plain values. kind: dict, with texts as names, or list.

    Raises:
        FileError, RunError: it is no file, too large, no YAML, or of another kind.
    """
    check_readable(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise FileError(path, why(error, "read")) from error
    if len(content) > LARGEST:
        raise RunError(f"{path}: has more than {LARGEST:,} bytes, so it is not what a run has written.")
    try:
        values = yaml.load(content.decode("utf-8"), _Loader)
    except RecursionError:
        raise RunError(f"{path}: is nested too deeply.") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:  # PyYAML's constructors raise all of them
        raise RunError(f"{path}: cannot be read as YAML ({one_line(error)}). Restore the run's file.") from error
    if not isinstance(values, kind):
        expected = "names and values are" if kind is dict else "a list is"
        raise RunError(f"{path}: {expected} expected, it holds {_kind(values)}. Restore the run's file.")
    if odd := [key for key in values if kind is dict and not isinstance(key, str)]:
        raise RunError(f"{path}: {odd[0]!r} is no name of a setting. Restore the run's file.")
    return values


def one_line(error: Exception) -> str:
    """Return an error's text on one line, shortened."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _kind(values: object) -> str:
    return "nothing" if values is None else f"a {type(values).__name__}"
