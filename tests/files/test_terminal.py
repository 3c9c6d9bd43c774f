import io
import os
import re
import sys
from pathlib import Path

import pytest
from rich.table import Table

from evqa.files.names import from_system, is_text
from evqa.files.streams import say
from evqa.files.terminal import Terminal, terminal

ODD = {
    "a[/b].mp4": "a[/b].mp4",
    "[red]x.mp4": "[red]x.mp4",
    ":smile:": ":smile:",
    "esc\x1b[31m": "esc\\x1b[31m",
    "bell\x07": "bell\\x07",
    "\u202eright to left": "\\u202eright to left",
    os.fsdecode(b"caf\xe9"): "caf\\xe9",
}


def printed(*things: object, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    console = Terminal(file=file, soft_wrap=True, markup=False, emoji=False, highlight=False)
    console.print(*things, sep="\n")
    file.flush()
    return file.buffer.getvalue().decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("text", "seen"), list(ODD.items()))
def test_text_of_the_user_is_neither_markup_nor_a_command(text: str, seen: str) -> None:
    table = Table(text, title=text)
    table.add_row(text)
    assert printed(text, table).count(seen) == 4
    assert "\x1b" not in printed(text, table)


def test_an_ascii_terminal_gets_escapes_and_no_error() -> None:
    table = Table("å")
    table.add_row("視頻 " * 60)
    assert printed("å 視頻", table, encoding="ascii").startswith("\\xe5 \\u8996\\u983b\n")


def test_standard_streams_accept_all_characters_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    terminal().print("é")
    say("é\x1b[2J", sys.stderr)
    for stream in streams:
        stream.flush()
    assert [stream.buffer.getvalue() for stream in streams] == [b"\\xe9\n", b"\\xe9\\x1b[2J\n"]  # type: ignore[attr-defined]


def test_names_of_the_system_become_utf8_text_and_go_back() -> None:
    assert from_system("é") == "é"
    name = os.fsdecode(b"caf\xe9")
    assert from_system(name) == name
    assert not is_text(name)
    assert is_text(name, or_bytes=True)
    assert not is_text("\ud83d", or_bytes=True)


def test_there_is_one_kind_of_console() -> None:
    root = Path(__file__).parents[2]
    files = [path for folder in ("evqa", "hydra_plugins") for path in (root / folder).rglob("*.py")]
    made = {path.name for path in files if re.search(r"\bConsole\(|from rich.markup", path.read_text())}
    assert not made
