"""Read command-line overrides one by one, and say in a sentence what is wrong with those that Hydra cannot read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from evqa.config.words import as_table

MOST_VALUES = 20  # of one axis that are checked one by one
SYNTAX = frozenset(",[]{}()'\"")


@dataclass
class ReadOverrides:
    """Overrides that can be read, and problems with the others."""

    overrides: list[Override] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_overrides(lines: Iterable[str], loader: ConfigLoader | None = None) -> ReadOverrides:
    """Parse each line on its own, so that one mistake does not hide the next."""
    parser = OverridesParser.create(config_loader=loader)
    reading = ReadOverrides()
    for line in lines:
        override = _read(parser, line) or _read(parser, as_text(line) or line)
        if override is None or not override.key_or_group:
            reading.problems.append(explain_grammar(line))
        else:
            override.config_loader = loader
            reading.overrides.append(override)
    return reading


def as_text(line: str) -> str | None:
    """The line with its value quoted, where it can be nothing but a text ('data.csv=/srv/vidéos/a=b.csv')."""
    key, equals, value = line.partition("=")
    if not equals or not value.strip() or SYNTAX & set(value):
        return None
    return f"{key}={quote(value)}"


def quote(value: str) -> str:
    """A value as Hydra's grammar wants a text: in double quotes, inner ones and backslashes before them escaped."""
    return '"' + re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + found[2].replace('"', '\\"'), value) + '"'


def explain_grammar(line: str) -> str:
    """Say why a line cannot be read, with the line as a shell would need it."""
    key, equals, value = line.partition("=")
    if not equals:
        return f"'{line}' is not of the form key=value.{as_table(line)}"
    if not key or any(part in key for part in (" ", "..")):
        return f"'{line}': '{key}' is no key. Write key=value without spaces around the equals sign."
    return (
        f"{key}: the value {value} cannot be read; commas, quotes and brackets have a meaning there. "
        f"A text needs two pairs of quotes: {shlex.quote(f'{key}={quote(value)}')}"
    )


def explain_sweep(override: Override, *, choice: bool) -> str:
    """Several values were given to a single run. choice: they are options of a group."""
    key, _, value = (override.input_line or "").partition("=")
    if choice:
        return f"{key}={value}: one run takes one {key}. To run each of them add -m."
    return (
        f"{key}: {value} is several values. To run each of them add -m; "
        f"for one text with commas write {shlex.quote(f'{key}={quote(value)}')}; for a list write {key}=[{value}]."
    )


def swept_values(override: Override) -> list[object]:
    """The values that a sweep can take; for intervals and long ranges only the ends."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        return [value.start, value.end]
    if isinstance(value, RangeSweep):
        values = list(value.range())
        return values if len(values) <= MOST_VALUES else [values[0], values[-1]]
    if isinstance(value, ChoiceSweep | Glob):
        return list(override.sweep_iterator(transformer=_as_given))
    return [value]


def swept_lines(override: Override) -> list[str]:
    """One line 'key=value' for each value of a sweep; of intervals and long ranges only the ends."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    key, value = override.get_key_element(), override.value()
    values = [value.start, value.end] if isinstance(value, IntervalSweep) else [*override.sweep_string_iterator()]
    return [f"{key}={one}" for one in (values if len(values) <= MOST_VALUES else [values[0], values[-1]])]


def _as_given(value: object) -> object:
    return Override._convert_value(value)  # type: ignore[arg-type]


def _read(parser: OverridesParser, line: str) -> Override | None:
    try:
        return parser.parse_override(line)
    except HydraException:
        return None
