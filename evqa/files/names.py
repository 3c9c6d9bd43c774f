"""Names and texts that came from outside, as they may be shown: nothing in them steers a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable

NUM_SHOWN = 5


def shown(text: object) -> str:
    r"""Return a text for a terminal: control characters and bytes that are no UTF-8 as escapes (\x1b, \xe9).

    Letters of every script stay. Rich would read brackets as markup: print with `markup=False`, or as `rich.text.Text`.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def shown_lines(text: object) -> str:
    """Return a text of several lines for a terminal; each line is `shown`."""
    return "\n".join(shown(line) for line in str(text).split("\n"))


def from_system(name: str) -> str:
    """Return a name or argument that the system gave as UTF-8 text, whatever the locale; other bytes stay escaped."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def is_text(text: str, *, or_bytes: bool = False) -> bool:
    """Tell whether a text is Unicode; or_bytes: or bytes of a file name (surrogate escapes)."""
    try:
        text.encode("utf-8", "surrogateescape" if or_bytes else "strict")
    except UnicodeEncodeError:
        return False
    return True


def listed(names: Iterable[str], *, shown: int = NUM_SHOWN) -> str:
    """Return the first few of many names: `a, b, c and 12 more`."""
    names = list(names)
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8 (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
