"""The question that a model is asked about a record's media."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evqa.errors import ConfigError
from evqa.prompts.defaults import default_prompt
from evqa.prompts.stalling import STALLING, length_notes, read_stalling
from evqa.types import MEDIA, Clip, LabelScale, Record, Turn

PLACE = "<media>"  # in a template: where the record's media go
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
    """

    question: str | None = None
    answer: str | None = None
    missing: str | None = None
    quantity: str | None = None
    stalling: Literal["frames", "sums"] | None = None

    def __post_init__(self) -> None:
        problems = [*_problems("prompt.question", self.question), *_problems("prompt.answer", self.answer)]
        if self.question is not None and PLACE not in self.question:
            problems.append(f"prompt.question has no place for the media: write {PLACE} where they go.")
        if self.answer is not None and PLACE in self.answer:
            problems.append(f"prompt.answer: {PLACE} belongs into prompt.question.")
        elif not problems and self.answer is not None:
            check_words("prompt.answer", self.answer)
        if not problems and self.stalling is not None and STALLING not in _names(self.question or ""):
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
        return tuple(dict.fromkeys(name for name in _names(self.question or "") if name not in own))

    def notes(self, record: Record, clips: Sequence[Clip] = ()) -> tuple[str, ...]:
        """Say which texts a record lacks, or has of another length than its file, that a question of its own names.

        Empty titles are nothing odd.
        """
        asked = () if record.turns else self.texts
        lacking = [name for name in asked if name not in ("title", "description") and name not in record.texts]
        stalls = record.texts.get(STALLING) if self.stalling is not None and not record.turns else None
        odd = () if stalls is None or not clips else length_notes(stalls, clips[0])
        return (*(f"no {name}; the question says {self.missing!r} there" for name in lacking), *odd)

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
        values: dict[str, object] = texts | _words_of(self.quantity) | _of_clip(clips)
        return (Turn(role="user", text=filled(self.question, values)),)


def filled(template: str, values: dict[str, object]) -> str:
    """Fill a template; braces and places in a value stay plain text."""
    text = ""
    for literal, name, form, _ in string.Formatter().parse(template):
        text += literal.replace(PLACE, MEDIA)
        if name is not None:
            text += format(values[name], form or "").replace(MEDIA, "\N{REPLACEMENT CHARACTER}")
    return text


def with_quantity(template: str, prompt: Prompt) -> str:
    """Fill a head's words: only `{quantity}` may stand in them."""
    return filled(template, _words_of(prompt.quantity or ""))


def check_words(key: str, template: str) -> None:
    """Raise ConfigError where a head's words hold another name than `{quantity}`, or a stray brace."""
    problems = list(_problems(key, template))
    if not problems and (others := [name for name in _names(template) if name not in OF_LABEL]):
        problems = [f"{key}: there is no {{{others[0]}}}; only {{quantity}}, what the label measures, is known here."]
    if problems:
        raise ConfigError(problems)


def _words_of(quantity: str) -> dict[str, object]:
    return {"quantity": quantity, "Quantity": quantity[:1].upper() + quantity[1:]}


def _of_clip(clips: Sequence[Clip]) -> dict[str, object]:
    clip = clips[0] if clips else Clip()
    num_frames = 0 if clip.frames_FHWC is None else len(clip.frames_FHWC)
    num_motion_frames = 0 if clip.motion is None else clip.motion.num_frames
    return {"seconds": clip.seconds or 0.0, "num_frames": num_frames, "num_motion_frames": num_motion_frames}


def _names(template: str) -> Iterator[str]:
    return (name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


def _problems(key: str, template: str | None) -> Iterator[str]:
    if template is None:
        return
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        yield f"{key}={template!r}: a brace that belongs to no name ({error}); write {{{{ or }}}} for a brace."
        return
    for _, name, form, conversion in parsed:
        if name is None:
            continue
        if not name or conversion:
            yield f"{key}={template!r}: write a name between braces, as in {{title}}; {{{{ for a brace."
        elif form and (name not in OF_CLIP or not _is_format(form, whole=name != "seconds")):
            yield f"{key}={template!r}: {{{name}:{form}}} is no format of it; {{seconds:.1f}} is one."


def _is_format(form: str, *, whole: bool) -> bool:
    try:
        return bool(format(8 if whole else 8.0, form)) and len(form) < 8
    except ValueError:
        return False
