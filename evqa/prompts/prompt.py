"""The question that a model is asked about a record's media."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evqa.errors import ConfigError
from evqa.prompts.defaults import default_prompt
from evqa.prompts.dimensions import Dimensions
from evqa.prompts.framing import Framing, of_clip
from evqa.prompts.stalling import STALLING, length_notes, read_stalling
from evqa.prompts.templates import PLACE, filled, names_in, problems_of
from evqa.types import MEDIA, Clip, LabelScale, Record, Turn

OF_CLIP = ("seconds", "num_frames", "num_motion_frames")
OF_LABEL = ("quantity", "Quantity")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A question about media and texts, and the answer sentence that belongs to the input.

    question: a template. `<media>` is the place of the record's media (one a stream); `{title}` or any other text of
        the record, `{seconds}` (length of the first file), `{num_frames}` (frames shown of it) and
        `{num_motion_frames}` (frames of its motion stream, 0 without one) are filled in literally, with a format where
        one is given (`{seconds:.1f}`); `{quantity}` is what the label measures; `{{` is a brace. null: the question
        follows the label.
    answer: the assistant's words that a regression head pools over, also a template; null: as the question.
    missing: the word for a text that a record lacks; null: as the question.
    quantity: what the label measures; null: what the label says (`data.label`).
    stalling: how `{stalling}` words the record's text of this name, stalls of the first file as 0 or 1 a frame or as
        events in frames (`120+45;300+10`): `frames` as one flag a frame, `sums` as durations and counts; null: as any
        other text.
    framing: what stands around a question of one's own; null: nothing but the media before it.
    dimensions: what is asked of every second of a video (`evqa ask --each-second`).
    """

    question: str | None = None
    answer: str | None = None
    missing: str | None = None
    quantity: str | None = None
    stalling: Literal["frames", "sums"] | None = None
    framing: Framing | None = None
    dimensions: Dimensions | None = None

    def __post_init__(self) -> None:
        problems = [*_problems("prompt.question", self.question), *_problems("prompt.answer", self.answer)]
        if self.question is not None and PLACE not in self.question:
            problems.append(f"prompt.question has no place for the media: write {PLACE} where they go.")
        if self.answer is not None and PLACE in self.answer:
            problems.append(f"prompt.answer: {PLACE} belongs into prompt.question.")
        elif not problems and self.answer is not None:
            check_words("prompt.answer", self.answer)
        if not problems and self.stalling is not None and STALLING not in names_in(self.question or ""):
            problems.append(
                f"prompt.stalling={self.stalling}: the question names no {{{STALLING}}}. Write it in prompt.question, "
                "or prompt.stalling=null."
            )
        if problems:
            raise ConfigError(problems)

    def fitted(self, scale: LabelScale, *, short: bool = False) -> Prompt:
        """Fill in what was left to the label; short: for models that cannot read a question."""
        quantity = self.quantity or scale.measures
        default = default_prompt(quantity, short=short)
        return replace(
            self,
            question=default.question if self.question is None else self.question,
            answer=default.answer if self.answer is None else self.answer,
            missing=default.missing if self.missing is None else self.missing,
            quantity=quantity,
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the record's texts that the question asks for."""
        own = (*OF_CLIP, *OF_LABEL)
        return tuple(dict.fromkeys(name for name in names_in(self.question or "") if name not in own))

    def notes(self, record: Record, clips: Sequence[Clip] = ()) -> tuple[str, ...]:
        """Say which texts a record lacks, or has of another length than its file, that a question of its own names.

        Empty titles are nothing odd.
        """
        asked = () if record.turns else self.texts
        lacking = [name for name in asked if name not in ("title", "description") and name not in record.texts]
        stalls = record.texts.get(STALLING) if self.stalling is not None and not record.turns else None
        odd = () if stalls is None or not clips else length_notes(stalls, clips[0])
        return (*(f"no {name}; the question says {self.missing!r} there" for name in lacking), *odd)

    def given(self, record: Record, clips: Sequence[Clip]) -> tuple[Turn, ...]:
        """Return the record's own conversation, with places for its files; empty where the question is asked."""
        return self.framed(record.turns, clips, num_files=len(record.paths))

    def framed(self, turns: Sequence[Turn], clips: Sequence[Clip], *, num_files: int) -> tuple[Turn, ...]:
        """Give a conversation that keeps no place for its files the places that questions have, in its first question.

        clips: empty where the files are not read yet.
        """
        at = next((at for at, turn in enumerate(turns) if turn.role == "user"), None)
        if at is None or not num_files or any(MEDIA in turn.text for turn in turns):
            return tuple(turns)
        framing = self.framing or Framing()
        text = framing.around(turns[at].text, clips, num_files=num_files)
        return (*turns[:at], replace(turns[at], text=text), *turns[at + 1 :])

    def turns(self, record: Record, clips: Sequence[Clip]) -> tuple[Turn, ...]:
        """Write the user's side for a record; call it on a fitted prompt.

        Raises:
            PromptError: the record's text on stalling cannot be read.
        """
        assert self.question is not None
        assert self.quantity is not None
        texts = {name: record.texts.get(name, self.missing or "") for name in self.texts}
        if self.stalling is not None and STALLING in record.texts:
            stalling = read_stalling(record.texts[STALLING], clips[0] if clips else None)
            texts[STALLING] = stalling.worded(self.stalling)
        values: dict[str, object] = texts | _words_of(self.quantity) | of_clip(clips[0] if clips else Clip())
        return (Turn(role="user", text=filled(self.question, values)),)


def with_quantity(template: str, prompt: Prompt) -> str:
    """Fill a head's words: only `{quantity}` may stand in them."""
    return filled(template, _words_of(prompt.quantity or ""))


def check_words(key: str, template: str) -> None:
    """Raise ConfigError where a head's words hold another name than `{quantity}`, or a stray brace."""
    problems = list(_problems(key, template))
    if not problems and (others := [name for name in names_in(template) if name not in OF_LABEL]):
        problems = [f"{key}: there is no {{{others[0]}}}; only {{quantity}}, what the label measures, is known here."]
    if problems:
        raise ConfigError(problems)


def _problems(key: str, template: str | None) -> Iterator[str]:
    return problems_of(key, template, numbers=OF_CLIP)


def _words_of(quantity: str) -> dict[str, object]:
    return {"quantity": quantity, "Quantity": quantity[:1].upper() + quantity[1:]}
