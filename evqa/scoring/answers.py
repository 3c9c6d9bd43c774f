"""Questions put to a scorer one after the other, the answers kept as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from evqa.prompts.decoding import Decoding
from evqa.scoring.journal import LineJournal
from evqa.scoring.score import Answer
from evqa.scoring.scorer import Scorer
from evqa.types import Failure, Record

Watch = Callable[[Iterator[Answer]], Iterator[Answer]]


class AnswerJournal(LineJournal):
    """A line an answer, in the order of the questions."""

    what = "list of answers"

    def cut(self, *, batch_size: int, num_items: int) -> None:
        """Keep whole batches only, unless all answers are there."""
        ends = [end for _, end in self.objects()]
        kept = len(ends) if len(ends) == num_items else len(ends) - len(ends) % batch_size
        self.keep(kept, end=ends[kept - 1] if kept else self.begin)

    def answers(self) -> list[Answer]:
        """Read what is there."""
        return [_answer(content) for content, _ in self.objects()]


def answer_all(
    records: Sequence[Record],
    load: Callable[[], Scorer],
    *,
    decoding: Decoding,
    path: Path,
    identity: Mapping[str, Any],
    replace: bool,
    watch: Callable[[int], Watch],
) -> list[Answer]:
    """Answer what is not answered yet, and return all answers. path: of the journal, which stays.

    load: called only where something is left. watch: gives for the number of questions left what sees each answer.

    Raises:
        ConfigError, FileError: as `LineJournal`, and as the scorer.
    """
    with closing(AnswerJournal(path, identity, replace=replace)) as journal:
        if len(found := journal.answers()) == len(records):
            journal.cut(batch_size=1, num_items=len(records))
            return found
        scorer = load()
        journal.cut(batch_size=scorer.window, num_items=len(records))
        left = records[journal.num_items :]
        for answer in watch(len(left))(scorer.ask(left, decoding=decoding)):
            journal.add(_line(answer))
            journal.flush()
        return journal.answers()


def _line(answer: Answer) -> dict[str, Any]:
    reason = answer.failure.reason if answer.failure else ""
    return {"id": answer.id, "text": answer.text, "missing": list(answer.missing), "reason": reason}


def _answer(line: Mapping[str, Any]) -> Answer:
    failure = Failure(id=line["id"], reason=line["reason"]) if line["reason"] else None
    return Answer(id=line["id"], text=line["text"], missing=tuple(line["missing"]), failure=failure)
