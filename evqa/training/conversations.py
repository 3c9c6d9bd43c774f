"""What a model is asked about a record, and whether it can be asked at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from evqa.errors import ConfigError, PromptError
from evqa.heads.base import Head, Wording
from evqa.models.base import Model
from evqa.models.splice import PLACEHOLDER
from evqa.prompts.prompt import Prompt
from evqa.prompts.templates import PLACE
from evqa.types import MEDIA, Clip, Record, Turn

TIMES = {1: "once", 2: "twice"}


def conversation(
    record: Record, clips: Sequence[Clip], *, prompt: Prompt, wording: Wording, unit: float | None
) -> tuple[Turn, ...]:
    """Write a record's own turns, or the prompt's, and the head's words behind them.

    unit: the label in 0-1 (NaN where the record has none), for training. None is for scoring: then nothing is learned,
    and the record's last answers are left out, because they are what is to be predicted (unless the head is validated
    by them).
    """
    turns = prompt.given(record, clips) or prompt.turns(record, clips)
    if unit is None and not wording.keeps_answers:
        asked = max((place for place, turn in enumerate(turns, 1) if not turn.learn), default=0)
        turns = tuple(replace(turn, learn=False) for turn in turns[:asked])
    return (*turns, *wording.turns(unit, prompt))


def check_conversations(splits: Mapping[str, Sequence[Record]], *, prompt: Prompt, head: Head, model: Model) -> None:
    """Refuse, before the run, questions that would fail for every record, and records that cannot be used.

    Raises:
        ConfigError: more files than the model takes, another number of places than of files, no label for a head that
            learns labels, or a question that does not fit into the model's length even without a text of a record.
    """
    problems = list[str]()
    for name, records in splits.items():
        problems += [*_file_problems(name, records, prompt, model), *_label_problems(name, records, head)]
    asked = next((record for records in splits.values() for record in records if not record.turns), None)
    if asked is not None and not problems:
        problems += _length_problems(replace(asked, texts={}), prompt, head.wording, model)
    if problems:
        raise ConfigError(dict.fromkeys(problems))


def _file_problems(split: str, records: Sequence[Record], prompt: Prompt, model: Model) -> Iterator[str]:
    most, places = model.max_files, (prompt.question or "").count(PLACE)
    crowded = [record for record in records if len(record.paths) > most]
    wrong = [record for record in records if not record.turns and places not in _numbers_of_places(record, model)]
    if crowded:
        yield (
            f"data: {type(model).__name__} takes {_counted(most, 'file')} a record, and {len(crowded)} of {split} have "
            f"more (the first: {crowded[0].id} with {len(crowded[0].paths)}). Choose another model, or name fewer "
            "columns in data.path_column."
        )
    elif wrong:
        count = len(wrong[0].paths)
        times = " or ".join(TIMES[number] for number in model.places_per_file)
        yield (
            f"prompt.question has {_counted(places, 'place')} for media ({PLACE}), and records of {split} have "
            f"{_counted(count, 'file')} (the first: {wrong[0].id}). Write {PLACE} {times} for every file."
        )


def places_in(turns: Sequence[Turn], record: Record, model: Model) -> list[list[int]]:
    """One placeholder for every place of a conversation, as `Chat.encode` takes them; too few or many are its error."""
    places = sum(turn.text.count(MEDIA) for turn in turns)
    return [[PLACEHOLDER]] * (places if places in _numbers_of_places(record, model) else len(record.paths))


def _numbers_of_places(record: Record, model: Model) -> list[int]:
    return [number * len(record.paths) for number in model.places_per_file]


def _label_problems(split: str, records: Sequence[Record], head: Head) -> Iterator[str]:
    unlabelled = [record for record in records if record.label is None]
    if unlabelled and split in ("train", "val") and head.gives_scores:
        yield (
            f"data.label.name: {len(unlabelled)} records of {split} have no label (the first: {unlabelled[0].id}), and "
            f"{type(head).__name__} learns labels. Name their column, or learn the conversations: head=conversation."
        )


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _length_problems(record: Record, prompt: Prompt, wording: Wording, model: Model) -> Iterator[str]:
    turns = conversation(record, (), prompt=prompt, wording=wording, unit=0.5)
    try:
        notes = model.preparer.chat.encode(turns, places_in(turns, record, model)).notes
    except PromptError as error:
        yield str(error)
        return
    yield from (
        f"prompt.question is too long for the model, even without a record's texts: {note}. Shorten it, or raise the "
        "model's limit (model.max_text_tokens, model.max_bytes)."
        for note in notes
    )


def text_length(record: Record, prompt: Prompt) -> float:
    """Estimate a record's cost before anything is read: the length in bytes of the texts that the model reads.

    Pictures and sound of a recipe have nearly the same number of tokens in every video. Bytes stand for tokens better
    than characters do: an English token has about four of them, a Chinese one three or more.
    """
    asked = [record.texts.get(name, "") for name in prompt.texts]
    texts = [turn.text for turn in record.turns] or asked
    return float(sum(len(text.encode(errors="replace")) for text in texts))
