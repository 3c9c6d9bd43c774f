"""A conversation with a model about one item."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from evqa.errors import ConfigError
from evqa.scoring.asking import question_turn
from evqa.types import Record, Turn


class Dialogue:
    """Every question is asked with all that was said before; `evqa.scoring.scorer.Scorer.chat` makes one.

    answer: streams the model's answer to a record's last turn.
    """

    def __init__(self, record: Record, *, answer: Callable[[Record], Iterator[str]]) -> None:
        self.record, self._answer = record, answer
        self.turns: tuple[Turn, ...] = ()

    def ask(self, question: str) -> Iterator[str]:
        """Yield the answer piece by piece. One that is not read to its end is not part of the conversation.

        Raises:
            ConfigError: the question is empty, or cannot be answered, with the reason.
        """
        if not question.strip():
            raise ConfigError([f"question={question!r}: there is nothing to ask."])
        turns, said = (*self.turns, question_turn(question)), list[str]()
        for piece in self._answer(replace(self.record, turns=turns)):
            said.append(piece)
            yield piece
        self.turns = (*turns, Turn(role="assistant", text="".join(said)))
