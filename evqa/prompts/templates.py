"""Templates of prompts: plain text with names between braces, and places for media.

`{{` and `}}` are braces; what is filled in stays plain text, whatever it holds.
"""

from __future__ import annotations

import string
from collections.abc import Collection, Iterator, Mapping

from evqa.types import MEDIA

PLACE = "<media>"  # in a template: where the record's media go


def filled(template: str, values: Mapping[str, object]) -> str:
    """Fill a template; braces and places in a value stay plain text."""
    text = ""
    for literal, name, form, _ in string.Formatter().parse(template):
        text += literal.replace(PLACE, MEDIA)
        if name is not None:
            text += format(values[name], form or "").replace(MEDIA, "\N{REPLACEMENT CHARACTER}")
    return text


def names_in(template: str) -> Iterator[str]:
    """Yield the names that stand in a template."""
    return (name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


def problems_of(key: str, template: str | None, *, numbers: Collection[str] = ()) -> Iterator[str]:
    """Say what makes a template unusable; numbers: names that may have a format."""
    if template is None:
        return
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        yield f"{key}={template!r}: a brace that belongs to no name ({error}); write {{{{ or }}}} for a brace."
        return
    for _, name, form, conversion in parsed:
        if name is None:
            continue
        if not name or conversion:
            yield f"{key}={template!r}: write a name between braces, as in {{title}}; {{{{ for a brace."
        elif form and (name not in numbers or not _is_format(form, whole="seconds" not in name)):
            yield f"{key}={template!r}: {{{name}:{form}}} is no format of it; {{seconds:.1f}} is one."


def _is_format(form: str, *, whole: bool) -> bool:
    try:
        return bool(format(8 if whole else 8.0, form)) and len(form) < 8
    except ValueError:
        return False
