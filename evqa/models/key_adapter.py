"""The names of a model's weights: ours, and the keys under which its published checkpoints hold them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property

Prefixes = tuple[tuple[str, str], ...]
CONSTANTS = ("*rotary_emb.inv_freq", "*embeddings.position_ids")  # older files carry them; they are computed


@dataclass(frozen=True, kw_only=True)
class KeyAdapter:
    """Two functions that are inverses of each other, `key_of` and `name_of`, and what else a checkpoint may hold.

    prefixes: (ours, published), of modules or of single weights; of several that fit, the longest counts. Without any,
        names and keys are the same.
    modules: (ours, theirs) for the published class's own names, where they differ from the keys of its files.
    older: (prefix of a key, what stands for it today), applied one after the other.
    unused: patterns of keys that no model needs (`*` stands for anything).
    copies: (first key, others) of a tensor that files hold several times, or once under any of these keys.
    side_files: files that may hold what the main ones lack. head: prefix of a regression head's keys in the main files.
    """

    prefixes: Prefixes = ()
    modules: Prefixes = ()
    older: Prefixes = ()
    unused: tuple[str, ...] = ()
    copies: tuple[tuple[str, tuple[str, ...]], ...] = ()
    side_files: tuple[str, ...] = ()
    head: str | None = None

    def key_of(self, name: str) -> str:
        """Return the key of a weight in published files. Raises KeyError for a name that no prefix covers."""
        return _replaced(name, self.prefixes)

    def name_of(self, key: str) -> str | None:
        """Return our name of a stored key, in its published or older form; None where no prefix covers it."""
        for older, today in self.older:
            if key.startswith(older):
                key = today + key.removeprefix(older)
        key = self._first.get(key, key)
        try:
            return _replaced(key, [(theirs, ours) for ours, theirs in self.prefixes])
        except KeyError:
            return None

    def module_name_of(self, name: str) -> str:
        """Return the name of a weight below the published class."""
        return _replaced(name, self.modules or self.prefixes)

    def is_unused(self, key: str) -> bool:
        """Whether a key is known to be in published files and needed by no model."""
        return self._unused.fullmatch(key) is not None

    def is_copy(self, key: str) -> bool:
        """Whether a key holds the same tensor as another one of the same file."""
        return key in self._first

    @cached_property
    def _first(self) -> dict[str, str]:
        return {copy: first for first, others in self.copies for copy in others}

    @cached_property
    def _unused(self) -> re.Pattern[str]:
        head = () if self.head is None else (f"{self.head}*",)
        return re.compile("|".join(translate(pattern) for pattern in (*self.unused, *CONSTANTS, *head)))


def _replaced(name: str, prefixes: Iterable[tuple[str, str]]) -> str:
    """Replace the longest prefix that ends where a name ends."""
    prefixes = sorted(prefixes, key=lambda pair: -len(pair[0]))
    if not prefixes:
        return name
    for before, after in prefixes:
        if name == before or name.startswith(f"{before}."):
            return f"{after}{name.removeprefix(before)}"
    raise KeyError(name)
