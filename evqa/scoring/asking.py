"""Asking a model a question of one's own about media, in place of the one that it scores by."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evqa.errors import ConfigError
from evqa.heads.base import Wording
from evqa.prompts.prompt import PLACE, Prompt
from evqa.training.datamodule import Pipeline
from evqa.types import Turn


@dataclass(frozen=True)
class Unanswered(Wording):
    """The assistant's side is left to the model."""

    def turns(self, label: float | None, prompt: Prompt) -> tuple[Turn, ...]:
        """Return nothing: the model begins the answer."""
        del label, prompt
        return ()


def asking(pipeline: Pipeline, question: str | None) -> Pipeline:
    """Put another question into a pipeline, and leave the answer to the model; None keeps the scorer's own question.

    question: plain text, braces included; the media come before it, or where `<media>` stands in it.

    Raises:
        ConfigError: the question is empty.
    """
    if question is None:
        return replace(pipeline, wording=Unanswered())
    if not question.replace(PLACE, "").strip():
        raise ConfigError([f"question={question!r}: there is nothing to ask."])
    template = question.replace("{", "{{").replace("}", "}}")
    template = template if PLACE in template else f"{PLACE}{template}"
    prompt = replace(pipeline.prompt, question=template, stalling=None)
    return replace(pipeline, wording=Unanswered(), prompt=prompt)
