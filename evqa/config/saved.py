"""The configuration in a run folder: data that may come from anybody, read and checked before anything is built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evqa.config import environment
from evqa.config.check import HYDRA, check, quoted_choices
from evqa.config.composer import CompositionError, open_configuration
from evqa.config.examine import explain_failure
from evqa.config.keys import must_be_added, renamed
from evqa.config.nearest import suggestion
from evqa.config.older import rename_settings, why_too_old
from evqa.config.overrides import read_overrides
from evqa.config.places import NEEDED
from evqa.config.reading import one_line, read_yaml
from evqa.config.rules import Design, broken_rules
from evqa.errors import ConfigError, RunError

DEEPEST = 20  # levels; a real one has 5
RETIRED = (("data", "kind"),)  # settings of older runs that changed no result and mean nothing any more
_OTHER_INTERPOLATION = re.compile(r"(?<!\\)(?:\\\\)*\$\{(?!oc\.(?:env|decode):)")  # an even number of backslashes


def read_saved(path: Path) -> DictConfig:
    """Read a run's configuration as it is, unchecked.

    Raises:
        FileError, RunError: as `read_yaml`, or values that no configuration can hold.
    """
    return _as_config(read_yaml(path, kind=dict), path)


def _as_config(values: dict[str, Any], path: Path) -> DictConfig:
    """Make a configuration of a file's values; `read_saved` says what is raised."""
    for group, key in RETIRED:
        if isinstance(values.get(group), dict):
            values[group].pop(key, None)
    rename_settings(values)
    for key, text in _texts(values, path):
        if _OTHER_INTERPOLATION.search(text):
            raise RunError(
                f"{path}: {key} holds '{text[:80]}'; a run's file has plain values, and ${{oc.env:NAME}} for what came "
                "from the environment."
            )
    environment.register_resolvers()
    try:
        config: DictConfig = OmegaConf.create(values)
    except (OmegaConfBaseException, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be used ({one_line(error)}). Restore the run's file.") from error
    _no_nodes_from_text(config, path)
    return config


def _no_nodes_from_text(config: DictConfig, path: Path) -> None:
    """`oc.decode` could put a node where the checks expect a value."""
    for name, node, key in environment.interpolations(config):
        try:
            value = node[key]
        except OmegaConfBaseException:
            continue  # the check reports it
        if isinstance(value, Mapping | list) or OmegaConf.is_config(value):
            raise RunError(f"{path}: {name} must be a single value where it comes from the environment.")


def checked_saved(path: Path, overrides: Sequence[str] = (), *, movable: Sequence[str] = ()) -> DictConfig:
    """Read a run's configuration, set what may change, and check it like a command line's.

    overrides: KEY=VALUE. movable: beginnings of the keys that may change.

    Raises:
        FileError, RunError, ConfigError: everything that is wrong, the keys of `overrides` named as such.
    """
    return _checked(read_saved(path), path, overrides, movable)


def checked_values(
    values: dict[str, Any], path: Path, overrides: Sequence[str] = (), *, movable: Sequence[str] = ()
) -> DictConfig:
    """Do as `checked_saved` with a configuration whose values stand in a file of another kind."""
    return _checked(_as_config(values, path), path, overrides, movable)


def _checked(config: DictConfig, path: Path, overrides: Sequence[str], movable: Sequence[str]) -> DictConfig:
    if too_old := why_too_old(config, path):
        raise RunError(too_old)
    given = _override(config, overrides, movable)
    for key, text in quoted_choices(config):
        OmegaConf.update(config, key, text)
    problems = [_where(problem, given, path) for problem in _problems(config)]
    if problems:
        raise ConfigError(problems)
    OmegaConf.set_struct(config, True)
    return config


def _override(config: DictConfig, lines: Sequence[str], movable: Sequence[str]) -> tuple[str, ...]:
    """Set overrides in place, read as on any command line; returns their keys."""
    problems, keys = [], []
    for line in lines:
        reading = read_overrides([line])
        if reading.problems:
            problems.append(f"--override {line}: {reading.problems[0]}")
            continue
        problem = _set(config, reading.overrides[0], movable)
        problems += [f"--override {line}: {problem}"] if problem else []
        keys.append(reading.overrides[0].key_or_group)
    if problems:
        raise ConfigError(problems)
    return tuple(keys)


def _set(config: DictConfig, override: Override, movable: Sequence[str]) -> str | None:
    key = override.key_or_group
    if not key.startswith(tuple(movable)):
        return f"only places may change, not what was trained: {', '.join(movable)}."
    if override.is_sweep_override() or override.is_delete() or override.package:
        return "give one value for one key, as KEY=VALUE."
    try:
        known = OmegaConf.select(config, key, default=config, throw_on_missing=False) is not config
        if not known and not must_be_added(config, override):
            other = renamed(config, key)
            hint = f"Did you mean '{other}'?" if other else suggestion(key, _keys(config))
            return f"the run has no key '{key}'. {hint}"
        OmegaConf.update(config, key, override.value(), force_add=True)
    except CompositionError as error:
        return explain_failure(error)
    return None


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for name in config:
        child = config._get_node(name)
        path = f"{prefix}{name!s}"
        keys += _keys(child, f"{path}.") if isinstance(child, DictConfig) and not child._is_none() else [path]
    return keys


def _problems(config: DictConfig) -> list[str]:
    missing = [
        f"{path}: it is not there, and every run has it."
        for path in NEEDED
        if not isinstance(_selected(config, path), Mapping | DictConfig)
    ]
    missing += [f"{HYDRA}: a run's configuration has no such key. Restore the run's file."] if HYDRA in config else []
    findings = check(config, groups=tuple(path.partition(".")[0] for path in NEEDED), placed=True)
    if missing or findings.problems:
        return [*missing, *findings.problems]
    composer = open_configuration("train")
    return broken_rules(
        Design(cfg=config, schemas=findings.schemas, alternatives=composer.alternatives), training=False
    )


def _selected(config: DictConfig, path: str) -> Any:
    try:
        return OmegaConf.select(config, path, throw_on_missing=False)
    except OmegaConfBaseException:
        return {}  # the check reports what cannot be resolved


def _where(problem: str, given: Sequence[str], path: Path) -> str:
    key = re.split(r"[:=]", problem, maxsplit=1)[0]
    mine = any(key == one or key.startswith(f"{one}.") for one in given)
    return f"--override {problem}" if mine else f"{path}: {problem}"


def _texts(value: Any, path: Path, key: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if depth > DEEPEST:
        raise RunError(f"{path}: {key[:80]} is nested too deeply.")
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, child in pairs:
            if isinstance(value, Mapping) and (not isinstance(name, str) or "${" in name):
                raise RunError(f"{path}: {key}: {str(name)[:80]!r} is no name of a setting.")
            yield from _texts(child, path, f"{key}.{name}" if key else str(name), depth + 1)
