"""A report as a list of blocks, written as Markdown or as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from evqa.files.names import shown, shown_lines

BREAKS = re.compile(r"(?<=[A-Za-z][._=])")  # behind a part of a key, but not within a number
LONG_WORD = 14  # characters


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A section's title."""

    text: str
    level: int = 2


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Plain sentences."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TableBlock:
    """Rows of texts. left: how many columns are names, the others are numbers. folded: closed until asked for."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    left: int = 1
    folded: bool = False

    def parts(self, num_shown: int, *, what: str) -> list[TableBlock]:
        """The table; of a long one its first rows, and the others folded and counted: `40 more settings`."""
        left = len(self.rows) - num_shown
        if left <= 0:
            return [self]
        first = replace(self, rows=self.rows[:num_shown])
        return [first, replace(self, rows=self.rows[num_shown:], caption=f"{left} more {what}", folded=True)]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG file beside the report, and the same as SVG for the page."""

    file: str
    svg: str
    description: str
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Link:
    """A text that leads to a file. target: relative and percent-encoded (`evqa.reporting.item_media.file_link`)."""

    text: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small picture, in the page; file: the same beside the report, for Markdown."""

    file: str
    jpeg: bytes
    description: str


Cell = str | Link | Thumbnail


@dataclass(frozen=True, kw_only=True)
class ItemTable:
    """Rows of items, closed until asked for; left: as of `TableBlock`."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str
    left: int
    folded: bool = field(default=True, init=False)


Block = Heading | Paragraph | Bullets | TableBlock | ItemTable | Picture


def escape(text: str) -> str:
    """Text that HTML shows as it is."""
    return html.escape(shown_lines(text))


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """GitHub-flavoured Markdown; pictures are links to the PNG files."""
    return "\n\n".join([f"# {_inline(title)}", *(_markdown(block) for block in blocks)]) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text=text, level=level):
            return f"{'#' * level} {_inline(text)}"
        case Paragraph(text=text):
            return _inline(text)
        case Bullets(items=items):
            return "\n".join(f"- {_inline(item)}" for item in items)
        case Picture(file=file, description=description, caption=caption):
            return f"![{_inline(description)}]({file})" + (f"\n\n*{_inline(caption)}*" if caption else "")
        case TableBlock() | ItemTable():
            return _markdown_table(block)


def _markdown_table(table: TableBlock | ItemTable) -> str:
    rule = [":---" if place < table.left else "---:" for place in range(len(table.columns))]
    lines = [table.columns, rule, *table.rows]
    text = "\n".join("| " + " | ".join(_markdown_cell(cell) for cell in line) + " |" for line in lines)
    if table.folded:
        return f"<details><summary>{escape(table.caption)}</summary>\n\n{text}\n\n</details>"
    return (f"*{_inline(table.caption)}*\n\n" if table.caption else "") + text


def _markdown_cell(cell: Cell) -> str:
    match cell:
        case Link(text=text, target=target):
            return f"[{_bracketed(text)}]({target})"
        case Thumbnail(file=file, description=description):
            return f"![{_bracketed(description)}]({file})"
        case _:
            return _inline(cell)


def _bracketed(text: str) -> str:
    """Text that does not end the brackets that it stands in."""
    return _inline(text).replace("]", "\\]")


def _inline(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = shown(text.replace("\n", " "))
    for mark in "\\|*_`<[&~$":
        text = text.replace(mark, "\\" + mark)
    return text


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """One page: style and pictures inside, no script, and a policy that forbids any request."""
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text=text, level=level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text=text):
            return f"<p>{escape(text)}</p>"
        case Bullets(items=items):
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
        case Picture(svg=svg, description=description, caption=caption):
            below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
            return f'<figure><div role="img" aria-label="{escape(description)}">{svg}</div>{below}</figure>'
        case TableBlock() | ItemTable():
            return _html_table(block)


def _html_table(table: TableBlock | ItemTable) -> str:
    def cells(row: Sequence[Cell], tag: str) -> str:
        kinds = ["" if place < table.left else ' class="number"' for place in range(len(row))]
        return "".join(f"<{tag}{kind}>{_html_cell(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    head = f"<thead><tr>{cells(table.columns, 'th')}</tr></thead>"
    rows = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    text = f'<div class="scroll"><table>{head}<tbody>{rows}</tbody></table></div>'
    if table.folded:
        return f"<details><summary>{escape(table.caption)}</summary>{text}</details>"
    return (f'<p class="caption">{escape(table.caption)}</p>' if table.caption else "") + text


def _cell(text: str) -> str:
    """Text of a cell, whose long words may go on in a new line where a key does."""
    words = [BREAKS.split(word) if len(word) > LONG_WORD else [word] for word in text.split(" ")]
    return " ".join("<wbr>".join(map(escape, parts)) for parts in words)


def _html_cell(cell: Cell) -> str:
    match cell:
        case Link(text=text, target=target):
            return f'<a href="{html.escape(target)}">{_cell(text)}</a>'
        case Thumbnail(jpeg=jpeg, description=description):
            data = base64.b64encode(jpeg).decode("ascii")
            return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(description)}">'
        case _:
            return _cell(cell)
