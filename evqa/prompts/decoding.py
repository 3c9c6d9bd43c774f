"""How a model continues a conversation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evqa.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How a model continues a text.

    temperature: 0 takes the likeliest token; otherwise tokens are drawn, from the `top_k` likeliest (0: all) and of
    these from the likeliest that make up `top_p`. repetition_penalty: divides the logits of tokens that were written
    already (1: none), also where nothing is drawn. stop: texts that end an answer; they are not part of it. seed: of
    the drawing; an answer depends on it and not on what is answered beside it. Raises ConfigError for values outside
    these ranges.
    """

    max_new_tokens: int = 12
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.stop, list):  # YAML gives a list
            object.__setattr__(self, "stop", tuple(self.stop))
        is_texts = isinstance(self.stop, tuple) and all(isinstance(text, str) and text for text in self.stop)
        checks = (
            ("max_new_tokens", self.max_new_tokens >= 1, "give 1 or more"),
            ("temperature", 0 <= self.temperature < math.inf, "give 0 (the likeliest token) or a positive number"),
            ("top_p", 0 < self.top_p <= 1, "give a number above 0 and up to 1 (1: all)"),
            ("top_k", self.top_k >= 0, "give 0 (all) or a positive number"),
            ("repetition_penalty", 0 < self.repetition_penalty < math.inf, "give a positive number (1: none)"),
            ("stop", is_texts, "give a list of texts, none of them empty"),
            ("seed", 0 <= self.seed < 2**63, "give a number from 0 to 2^63 - 1"),
        )
        problems = [f"decoding.{name}={getattr(self, name)!r}: {rule}." for name, holds, rule in checks if not holds]
        if problems:
            raise ConfigError(problems)
