"""What commands print: nothing of the user's steers the terminal or is markup, and no encoding stops a command."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from evqa.files.log import Level, is_told
from evqa.files.names import shown_lines
from evqa.files.streams import accept_all_characters


class Terminal(Console):
    """A console that shows every text as it is; style comes from `style=` and `rich.text.Text` alone."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a printable text of a string, without reading brackets or colons in it as commands."""
        return super().render_str(shown_lines(text), **(options | {"markup": False, "emoji": False}))


def terminal(
    *, stderr: bool = False, soft_wrap: bool = True, width: int | None = None, level: Level = "info"
) -> Terminal:
    """Make the console of a command. soft_wrap: leave long lines to the terminal, so that paths can be copied.

    level: of what is printed on the standard error stream.
    """
    accept_all_characters()
    quiet = stderr and not is_told(level)
    return Terminal(
        stderr=stderr, quiet=quiet, soft_wrap=soft_wrap, width=width, highlight=False, markup=False, emoji=False
    )


def warn(sentence: str) -> None:
    """Print a warning."""
    terminal(stderr=True, level="warning").print(Text("Warning:", "yellow"), sentence)
