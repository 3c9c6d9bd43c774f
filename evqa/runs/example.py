"""The conversation that a dry run shows: what the model is asked about the first record, and what it learns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from evqa.datasets.base import Dataset
from evqa.errors import AnnotationError
from evqa.models.base import Model
from evqa.prompts.prompt import OF_CLIP
from evqa.prompts.rendering import rendered
from evqa.prompts.stalling import STALLING
from evqa.training.build import BuiltModel
from evqa.training.conversations import check_conversations, conversation, places_in
from evqa.training.plan import RunPlan
from evqa.types import LabelScale, Record

KINDS = {
    "picture": "frames",
    "motion": "motion",
    "sound": "sound",
}  # media in `Cost.tokens`, and what they are called here


@dataclass(frozen=True, kw_only=True)
class Example:
    """text: the conversation. notes: sentences on what it is of, and on what was cut."""

    text: Text
    notes: tuple[str, ...]


def example_of(plan: RunPlan, built: BuiltModel, *, colours: bool) -> Example:
    """Write the first record's conversation as training has it. Tables are read, media are not.

    Raises:
        ConfigError, PromptError: the conversation does not fit the model.
    """
    scale = plan.label
    record, origin = _first_record(plan.data.dataset, built, scale)
    head, model, chat = built.head, built.model, built.model.preparer.chat
    unit = scale.to_unit(float("nan") if record.label is None else record.label)
    check_conversations({"train": [record]}, prompt=built.prompt, head=head, model=model)
    turns = conversation(record, (), prompt=built.prompt, wording=head.wording, unit=unit)
    places = places_in(turns, record, model)
    encoded = chat.encode(turns, places)
    notes = [origin, *built.prompt.notes(record), *encoded.notes]
    if unread := [f"{{{name}}}" for name in OF_CLIP if f"{{{name}" in (built.prompt.question or "")]:
        notes.append(f"{' and '.join(unread)} of a file that was not read: 0 here")
    if built.prompt.stalling is not None and "+" in record.texts.get(STALLING, ""):
        notes.append(f"{{{STALLING}}} of a file that was not read: as if it ended with its last stall")
    if chat.is_stand_in:
        notes.append("the checkpoint's tokenizer is not here: one byte is one token")
    media = _descriptions(model, is_split=len(places) > len(record.paths)) * len(record.paths)
    return Example(text=rendered(encoded, chat.spell, media, colours=colours), notes=tuple(notes))


def _first_record(dataset: Dataset, built: BuiltModel, scale: LabelScale) -> tuple[Record, str]:
    """Return the first usable record and a sentence on it, or a made-up one where there is none."""
    try:
        made = dataset.makes()
        annotations = None if made else dataset.read()
        reason = f"{made} is not made yet"
    except AnnotationError as error:
        annotations, reason = None, str(error)
    if annotations is not None:
        for split, records in annotations.splits.items():
            if records:
                return records[0], f"of {records[0].id}, the first record of {split}"
        reason = f"no record can be used ({annotations.rejects[0]})" if annotations.rejects else "the table has no rows"
    paths = getattr(dataset, "path_column", None)
    num_files = len(paths) if isinstance(paths, list) else 1
    record = Record(
        id="example",
        paths=(Path("example.mp4"),) * num_files,
        texts={name: "0110" if name == STALLING else f"({name})" for name in built.prompt.texts},
        label=scale.from_unit(0.5),
    )
    return record, f"of a made-up record: {reason}"


def _descriptions(model: Model, *, is_split: bool) -> list[str]:
    """Count a file's tokens, with `about` where the number depends on the file; split: frames, then motion."""
    counts, frames = model.tokens_per_sample(), model.preparer.clip.frames
    fixed = frames is not None and frames.has_fixed_size
    shown = {
        word: f"{word}: {'' if fixed and word == 'frames' else 'about '}{counts[kind]:,} tokens"
        for kind, word in KINDS.items()
        if counts.get(kind)
    }
    if is_split:
        return [shown.get(word, f"no {word}") for word in ("frames", "motion")]
    return [", ".join(shown.values()) or "media"]
