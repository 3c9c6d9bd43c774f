"""The script that a shell reads: the words as a table, and the lines that look them up."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from evqa.completion.words import Vocabulary

Shell = Literal["bash", "zsh", "fish"]


def script(words: Vocabulary, shell: Shell) -> str:
    """The text for a shell to read; in that of fish the table and its look-up are a text for sh."""
    rows = [
        f"        {shlex.quote(key)}) printf '%s\\n' {shlex.join(found)} ;;" for key, found in words.items() if found
    ]
    table = "\n".join(["_evqa_words() {", '    case "$1" in', *rows, "    esac", "}"])
    lookup = table + _lines("candidates.sh")
    if shell == "fish":
        quoted = lookup.replace("\\", "\\\\").replace("'", "\\'")
        lookup = f"set -g _evqa_script '{quoted}'"
    head = f"# Tab completion of evqa for {shell}, made by 'evqa completion {shell}'. Make it again after an update."
    return "\n".join([*(["#compdef evqa"] if shell == "zsh" else []), head, lookup, _lines(f"evqa.{shell}")])


def _lines(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
