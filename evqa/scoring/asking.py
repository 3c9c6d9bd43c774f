"""Asking a model a question of one's own about media, in place of the one that it scores by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evqa.errors import ConfigError
from evqa.heads.base import Wording
from evqa.prompts.prompt import Prompt
from evqa.prompts.templates import PLACE
from evqa.training.batches import Pipeline
from evqa.types import MEDIA, Clip, Record, Turn


@dataclass(frozen=True)
class Unanswered(Wording):
    """The assistant's side is left to the model."""

    def turns(self, label: float | None, prompt: Prompt) -> tuple[Turn, ...]:
        """Return nothing: the model begins the answer."""
        del label, prompt
        return ()


@dataclass(frozen=True, kw_only=True)
class Asking(Prompt):
    """Puts files into questions that name no place for them. words: a question for every record; None: the prompt's."""

    words: str | None = None

    def notes(self, record: Record, clips: Sequence[Clip] = ()) -> tuple[str, ...]:
        """Say what the prompt's own question lacks; other words name nothing of a record."""
        return super().notes(record, clips) if self.words is None else ()

    def turns(self, record: Record, clips: Sequence[Clip]) -> tuple[Turn, ...]:
        """Write the user's side."""
        if self.words is None:
            return super().turns(record, clips)
        return self.framed((question_turn(self.words),), clips, num_files=len(record.paths))


def question_turn(question: str) -> Turn:
    """Write a question as a turn: plain text, but for `<media>`, a place."""
    return Turn(role="user", text=question.replace(MEDIA, "\N{REPLACEMENT CHARACTER}").replace(PLACE, MEDIA))


def check_question(question: str) -> None:
    """Raise ConfigError where a question asks nothing."""
    if not question.replace(PLACE, "").strip():
        raise ConfigError([f"question={question!r}: there is nothing to ask."])


def asking(pipeline: Pipeline, question: str | None) -> Pipeline:
    """Put another question into a pipeline, and leave the answer to the model; None keeps the scorer's own question.

    question: plain text, braces included; without `<media>` in it, the media stand where the prompt's `framing` has
    them, else before it.

    Raises:
        ConfigError: the question is empty.
    """
    if question is not None:
        check_question(question)
    return replace(pipeline, wording=Unanswered(), prompt=Asking(**vars(pipeline.prompt), words=question))
