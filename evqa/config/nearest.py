"""The word that a user probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most similar to `word`, or None where none is close."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """A sentence: the nearest known word, or all of them where none is near."""
    names = sorted(known)
    match = nearest(word, names)
    if match is not None:
        return f"Did you mean '{match}'?"
    return f"Known: {', '.join(names)}." if names else "It has none."
