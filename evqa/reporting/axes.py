"""Which settings tell runs apart: the axes of a study, in the words of the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from evqa.config.identity import IRRELEVANT
from evqa.files.names import shown
from evqa.reporting.runs import Run

# Pooled (seed), or not a setting of the result (where a run lies, how it was launched).
NOT_AN_AXIS = (*IRRELEVANT, "seed", "sweep", "hydra", "hydra/*")
ABSENT = "-"

Values = dict[str, str]  # axis -> value


def axes(runs: Sequence[Run]) -> list[Values]:
    """For each run its value on every axis that differs, for instance {'modal': 'av', 'lora': 'r16'}.

    Axes are overrides first ('modal=av' is one axis, however many keys it sets), then single configuration keys where
    runs that agree on these still differ (a changed default, another experiment file).
    """
    given = [dict(_overrides(run)) for run in runs]
    leaves = [dict(_leaves(run.config)) for run in runs]
    keys = sorted({key for chosen in given for key in chosen})
    columns = {key: _column(key, runs, given) for key in keys}
    differing = {key: column for key, column in columns.items() if len(set(column)) > 1}
    values = [{key: column[place] for key, column in differing.items()} for place in range(len(runs))]
    for key in _left_over(values, leaves):
        for run_values, run_leaves in zip(values, leaves, strict=True):
            run_values[key] = _text(run_leaves.get(key, ABSENT))
    return [{shown(key): shown(value) for key, value in run_values.items()} for run_values in values]


def setting_name(values: Values) -> str:
    """`modal=av, lora=r16`; 'all runs' where nothing differs."""
    return ", ".join(f"{key}={value}" for key, value in values.items()) or "all runs"


def _overrides(run: Run) -> Iterator[tuple[str, str]]:
    for override in run.overrides:
        key, separator, value = override.lstrip("+").partition("=")
        key, removed = key.lstrip("~").partition("@")[0], key.startswith("~")
        if not _is_irrelevant(key):
            yield key, "removed" if removed or not separator else value.strip("'\"")


def _column(key: str, runs: Sequence[Run], given: Sequence[Values]) -> list[str]:
    """The key's value in each run. Runs whose part of the configuration is equal have equal values."""
    parts = [_select(run.config, key) for run in runs]
    named = [(part, chosen[key]) for part, chosen in zip(parts, given, strict=True) if key in chosen]
    column = []
    for part, chosen in zip(parts, given, strict=True):
        alike = [name for other, name in named if part is not None and other == part]
        column.append(alike[0] if alike else chosen.get(key) or _word(part))
    return column


def _word(part: Any) -> str:
    """A short name for a part of a configuration that no override named."""
    if isinstance(part, Mapping):
        return str(part.get("name") or str(part.get("_target_", "default")).rpartition(".")[2])
    return ABSENT if part is None else _text(part)


def _left_over(values: Sequence[Values], leaves: Sequence[Mapping[str, Any]]) -> list[str]:
    """Configuration keys that differ between runs whose axes agree."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for run_values, run_leaves in zip(values, leaves, strict=True):
        groups.setdefault(tuple(run_values.values()), []).append(run_leaves)
    found = set()
    for members in groups.values():
        for key in {key for member in members for key in member}:
            if len({_text(member.get(key, ABSENT)) for member in members}) > 1:
                found.add(key)
    return sorted(found)


def _leaves(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    elif not _is_irrelevant(path):
        yield path, value


def _select(config: Mapping[str, Any], key: str) -> Any:
    part: Any = config
    for name in key.replace("/", ".").split("."):
        part = part.get(name) if isinstance(part, Mapping) else None
    return part


def _is_irrelevant(key: str) -> bool:
    return any(fnmatchcase(key, pattern) or fnmatchcase(key, f"{pattern}.*") for pattern in NOT_AN_AXIS)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
