"""Short ways to ask a model in a test: a record with texts, an answer's start and target, what a model writes."""

from dataclasses import dataclass
from pathlib import Path

from evqa.prompts.decoding import Decoding
from evqa.prompts.prompt import Prompt
from evqa.types import LabelScale, Record, Turn

PROMPT = Prompt().fitted(LabelScale())


@dataclass(frozen=True)
class Answer:
    prefix: str = ""
    target: str | None = None

    def turns(self):
        start = Turn(role="assistant", text=self.prefix)
        return (start,) if self.target is None else (start, Turn(role="assistant", text=self.target, learn=True))


def a_record(*, title=None, description=None, name="a", path="a.mp4"):
    texts = {key: text for key, text in (("title", title), ("description", description)) if text is not None}
    return Record(id=name, paths=(Path(path),), texts=texts)


def prepare(preparer, record, clip, answer, prompt=PROMPT):
    return preparer.prepare((*prompt.turns(record, [clip]), *answer.turns()), [clip])


def question(record, prompt=PROMPT):
    """The words behind the media."""
    (turn,) = prompt.turns(record, [])
    return turn.text.partition("\ufdd0")[2]


def answers(model, inputs, max_new_tokens):
    """What a model writes, greedily."""
    pieces = model.generate(inputs, Decoding(max_new_tokens=max_new_tokens))
    return ["".join(parts) for parts in zip(*pieces, strict=True)]
