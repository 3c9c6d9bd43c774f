"""A conversation with a model about one item."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

from evqa.scoring.asking import check_question, question_turn
from evqa.types import Record, Turn


@dataclass(frozen=True, kw_only=True)
class Answering:
    """An answer that has begun. missing: what the files lack, or what was cut, in sentences. pieces: of its text."""

    missing: tuple[str, ...]
    pieces: Iterator[str]


class Dialogue:
    """Every question is asked with all that was said before; `evqa.scoring.scorer.Scorer.chat` makes one.

    begin: reads a record and begins the model's answer to its last turn.
    """

    def __init__(self, record: Record, *, begin: Callable[[Record], Answering]) -> None:
        self.record, self._begin = record, begin
        self.turns: tuple[Turn, ...] = ()
        self.missing: tuple[str, ...] = ()  # as of the last question

    def ask(self, question: str) -> Generator[str, None, None]:
        """Yield the answer piece by piece. One that is not read to its end is not part of the conversation.

        Raises:
            ConfigError: the question is empty, or cannot be answered, with the reason.
        """
        check_question(question)
        turns, said = (*self.turns, question_turn(question)), list[str]()
        begun = self._begin(replace(self.record, turns=turns))
        self.missing = begun.missing
        for piece in begun.pieces:
            said.append(piece)
            yield piece
        self.turns = (*turns, Turn(role="assistant", text="".join(said)))
