"""Q-Bench-Video (Zhang et al., CVPR 2025, arXiv 2409.20063): questions on the quality of videos and pairs of videos.

As published (`zhangzicheng/Q-Bench-Video`): ROOT/Q_Bench_Video_dev.json and Q_Bench_Video_test.json, lists of
questions, and ROOT/video/, the unpacked video.zip. The test list has no answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evqa.datasets.folder import MediaFolder
from evqa.errors import AnnotationError, MediaError
from evqa.files.stored import read_text
from evqa.prompts.choices import LETTERS, choice_message, open_message
from evqa.types import Failure

TYPES = {"yes-or-no": "Yes-or-No", "what/how": "What-How", "open_ended": "Open-ended"}  # question_type: its name
OPEN_ENDED = "Open-ended"
OF_PAIRS = ("Compare", "Joint")  # in an item's context
BETWEEN = "_cat_"  # the names of a pair
# Where an open-ended question's reference answer may stand: the published lists could not be looked into.
REFERENCES = ("correct_answer", "correct_ans", "answers", "correct_choice")


@dataclass(frozen=True, kw_only=True)
class QuestionItem:
    """A question of the list.

    number: its row, from 1. paths: one video, or two of a pair. options: none of an open-ended one. concerns: what it
    is about, as the list says. correct: the right letter, or a reference answer; None where the list has none.
    """

    number: int
    video_name: str
    paths: tuple[Path, ...]
    kind: str
    question: str
    options: tuple[str, ...] = ()
    concerns: tuple[str, ...] = ()
    correct: str | None = None

    @property
    def id(self) -> str:
        """A name of its own: several questions are about one video."""
        return f"{self.number} {self.video_name}"

    @property
    def message(self) -> str:
        """What is asked, without the media."""
        return choice_message(self.question, self.options) if self.options else open_message(self.question)


@dataclass(frozen=True, kw_only=True)
class QuestionList:
    """A split. rows: as they stand in the file, all of them. rejects: rows that cannot be asked, with reasons."""

    rows: tuple[Mapping[str, Any], ...]
    items: tuple[QuestionItem, ...]
    rejects: tuple[Failure, ...]


def list_file(root: Path, split: str) -> Path:
    """Where the list of a split lies."""
    return root / f"Q_Bench_Video_{split}.json"


def read_questions(root: Path, split: str) -> QuestionList:
    """Read a split. Raises AnnotationError, FileError where nothing of it can be asked."""
    path = list_file(root, split)
    if not path.exists():
        raise AnnotationError(
            f"{path}: is not there. --root names the folder of Q-Bench-Video as published (zhangzicheng/Q-Bench-Video "
            "on Hugging Face), with its lists and video.zip unpacked to video/."
        )
    try:
        rows = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: is no JSON ({error}); fetch it again.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise AnnotationError(f"{path}: must be a list of objects, one a question.")
    folder, items, rejects = MediaFolder(root / "video"), list[QuestionItem](), list[Failure]()
    for number, row in enumerate(rows, 1):
        try:
            items.append(_item(number, row, folder))
        except (AnnotationError, MediaError) as error:
            reason = error.reason if isinstance(error, MediaError) else str(error)
            name = row.get("video_name")
            rejects.append(Failure(id=f"{number} {name if isinstance(name, str) else ''}", reason=reason))
    if not items:
        first = f"; the first: {rejects[0]}" if rejects else ""
        raise AnnotationError(f"{path}: none of its {len(rows)} questions can be asked{first}.")
    return QuestionList(rows=tuple(rows), items=tuple(items), rejects=tuple(rejects))


def _item(number: int, row: Mapping[str, Any], folder: MediaFolder) -> QuestionItem:
    kind = TYPES.get(_text(row, "question_type"))
    if kind is None:
        raise AnnotationError(f"question_type={row['question_type']!r}: must be one of {', '.join(TYPES)}")
    options = () if kind == OPEN_ENDED else _options(row)
    return QuestionItem(
        number=number,
        video_name=_text(row, "video_name"),
        paths=_paths(_text(row, "video_name"), folder, is_pair=any(word in _text(row, "context") for word in OF_PAIRS)),
        kind=kind,
        question=_text(row, "question"),
        options=options,
        concerns=_concerns(row.get("quality_concern")),
        correct=_letter(row, options) if options else _reference(row),
    )


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise AnnotationError(f"{key}={value!r}: must be a text that is not empty")
    return value


def _options(row: Mapping[str, Any]) -> tuple[str, ...]:
    options = row.get("answers")
    if (
        not isinstance(options, list)
        or not 2 <= len(options) <= len(LETTERS)
        or not all(isinstance(option, str) for option in options)
    ):
        raise AnnotationError(f"answers={options!r}: must be a list of 2 to {len(LETTERS)} texts")
    return tuple(options)


def _letter(row: Mapping[str, Any], options: tuple[str, ...]) -> str | None:
    letter = row.get("correct_choice")
    if letter in (None, ""):
        return None
    letters = LETTERS[: len(options)]
    if not isinstance(letter, str) or letter.strip().rstrip(".") not in tuple(letters):
        raise AnnotationError(f"correct_choice={letter!r}: must be one of {', '.join(letters)}")
    return letter.strip().rstrip(".")


def _reference(row: Mapping[str, Any]) -> str | None:
    for value in map(row.get, REFERENCES):
        text = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(text, str) and text.strip():
            return text
    return None


def _concerns(value: object) -> tuple[str, ...]:
    """Read one concern, several between separators, or a list."""
    if isinstance(value, str):
        value = re.split(r"[,;/&|]", value)
    texts = [text.strip() for text in value if isinstance(text, str)] if isinstance(value, list) else []
    return tuple(dict.fromkeys(text for text in texts if text))


def _paths(name: str, folder: MediaFolder, *, is_pair: bool) -> tuple[Path, ...]:
    """Find the video, or both of `FIRST_cat_SECOND.mp4`, each by its own name with or without its suffix."""
    if not is_pair:
        return (folder.find(name),)
    names = name.split(BETWEEN)
    if len(names) != 2 or not name.endswith(".mp4"):
        raise AnnotationError(f"video_name={name!r}: a pair must be named FIRST{BETWEEN}SECOND.mp4")
    return folder.find(names[0]), folder.find(names[1][: -len(".mp4")])
