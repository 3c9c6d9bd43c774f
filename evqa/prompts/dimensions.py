"""What is asked of every second of a video: one question a dimension of its quality."""

from __future__ import annotations

from dataclasses import dataclass

from evqa.errors import ConfigError
from evqa.prompts.templates import names_in, problems_of

DIMENSION = "quantity"  # the name by which a head's words know what they measure


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """Questions that are asked of every second, and where a level is read beside their answers.

    questions: a question a dimension, by its name. prefix: the start of an answer, `{quantity}` being the dimension;
        the level is read behind it.
    """

    questions: dict[str, str]
    prefix: str = "In terms of {quantity}, the quality of the video is"

    def __post_init__(self) -> None:
        empty = [name for name, text in self.questions.items() if not name.strip() or not text.strip()]
        problems = [f"prompt.dimensions.questions: {name!r} asks nothing; write a question." for name in empty]
        if not self.questions:
            problems = ["prompt.dimensions.questions: there is none; write a name and a question for each dimension."]
        unreadable = list(problems_of("prompt.dimensions.prefix", self.prefix))
        others = [] if unreadable else [name for name in names_in(self.prefix) if name != DIMENSION]
        problems += unreadable
        problems += [f"prompt.dimensions.prefix: there is no {{{name}}}; only {{{DIMENSION}}}." for name in others]
        if problems:
            raise ConfigError(problems)
