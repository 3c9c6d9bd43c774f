"""Help in as many columns as there are: lines are wrapped at words, a remark below the beginning of itself."""

from __future__ import annotations

import re
import shutil
import textwrap

FEWEST = 24  # columns of a remark, below which it begins a line of its own


def fitted(text: str) -> str:
    """A text whose lines fit into the terminal (80 columns where there is none); what is one word is never broken."""
    width = shutil.get_terminal_size().columns
    return "\n".join(line if len(line) <= width else _wrapped(line, width) for line in text.split("\n"))


def _wrapped(line: str, width: int) -> str:
    """Wrap at words; a remark behind two spaces or more stays in its column."""
    indent = " " * (len(line) - len(line.lstrip()))
    parts = re.fullmatch(r"( *\S.*?  +)(\S.*)", line)
    if parts is None:
        return _fill(line.strip(), width, first=indent, further=f"{indent}    " if indent else "")
    begin, remark = parts.groups()
    column = " " * len(begin)
    mark = "# " if remark.startswith("# ") else ""
    if width - len(begin) >= FEWEST:
        return _fill(remark, width, first=begin, further=column + mark)
    column = f"{indent}    "
    return f"{_wrapped(begin.rstrip(), width)}\n{_fill(remark, width, first=column, further=column + mark)}"


def _fill(text: str, width: int, *, first: str, further: str) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )
