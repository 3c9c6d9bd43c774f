"""Generated tokens as text that is handed out while it grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what the first bytes of a character are decoded to


class TextStream:
    """One answer. Its pieces joined are the text of all its tokens, up to the first stop text.

    to_text: decodes a list of tokens. stop: texts that end the answer and are not part of it.
    What may still change is held back: a character of which only the first bytes are there, and the beginning of a
    stop text.
    """

    def __init__(self, to_text: Callable[[Sequence[int]], str], *, stop: Sequence[str] = ()) -> None:
        self._to_text, self._stop = to_text, tuple(stop)
        self._ids: list[int] = []
        self._num_sent = 0
        self.has_ended = False

    def push(self, token: int) -> str:
        """Add a token; returns the text that is certain now. A stop text ends the answer."""
        self._ids.append(token)
        text = self._to_text(self._ids).rstrip(UNFINISHED)
        end = first_stop(text, self._stop)
        self.has_ended = end is not None
        return self._send(text, len(text) - num_held(text, self._stop) if end is None else end)

    def finish(self) -> str:
        """End the answer; returns what was held back."""
        self.has_ended = True
        text = self._to_text(self._ids)
        end = first_stop(text, self._stop)
        return self._send(text, len(text) if end is None else end)

    def _send(self, text: str, end: int) -> str:
        piece = text[self._num_sent : end]
        self._num_sent += len(piece)
        return piece


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Return where the first stop text begins; None where there is none."""
    return min((place for stop in stops if (place := text.find(stop)) >= 0), default=None)


def num_held(text: str, stops: Sequence[str]) -> int:
    """Count the characters at the end of a text that may be the beginning of a stop text."""
    lengths = (length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length]))
    return max(lengths, default=0)
