"""A video second by second: what a model says of every dimension of its quality, and at which level it puts it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evqa.errors import ConfigError
from evqa.heads.base import Wording
from evqa.heads.levels import LevelsHead
from evqa.media.seconds import VideoSecond, read_seconds
from evqa.prompts.decoding import Decoding
from evqa.prompts.prompt import Prompt
from evqa.scoring.asking import Asking, Unanswered, question_turn
from evqa.scoring.scorer import Scorer
from evqa.training.batches import Sample, Samples
from evqa.types import Clip, Record


@dataclass(frozen=True, kw_only=True)
class AnnotatedSecond:
    """What a model says of the second [number, number + 1) of a video that has `of` seconds.

    answers, levels: one a dimension; a level is 0 (worst) to 1 (best). Both are empty where `reason` says why the
    second was not asked about. missing: sentences on what the file lacks, or what was cut.
    """

    number: int
    of: int
    answers: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    reason: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AnnotatedVideo:
    """What has been said of a video so far. dimensions: names, in the order of each second's answers and levels."""

    id: str
    dimensions: tuple[str, ...]
    seconds: list[AnnotatedSecond] = field(default_factory=list)

    @property
    def answers(self) -> dict[str, list[str | None]]:
        """Answers along the seconds, by dimension; None where a second was not asked about."""
        answers = [second.answers or (None,) * len(self.dimensions) for second in self.seconds]
        return {name: [one[at] for one in answers] for at, name in enumerate(self.dimensions)}

    @property
    def levels(self) -> dict[str, list[float | None]]:
        """Levels, likewise."""
        levels = [second.levels or (None,) * len(self.dimensions) for second in self.seconds]
        return {name: [one[at] for one in levels] for at, name in enumerate(self.dimensions)}

    @property
    def not_asked(self) -> dict[int, str]:
        """Why seconds were not asked about, by their numbers."""
        return {second.number: second.reason for second in self.seconds if second.reason}

    @property
    def missing(self) -> list[str]:
        """What the file lacks, or what was cut, each once."""
        return list(dict.fromkeys(note for second in self.seconds for note in second.missing))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values; a list has one entry a second."""
        return {
            "id": self.id,
            "seconds": [second.number for second in self.seconds],
            "dimensions": list(self.dimensions),
            "levels": self.levels,
            "answers": self.answers,
            "not_asked": {str(number): reason for number, reason in self.not_asked.items()},
            "missing": self.missing,
        }


class Annotator:
    """Asks a scorer's model about every second of a video.

    prompt: its `dimensions` say what is asked, its `framing` what stands around a question where the model sees motion;
    where it sees key frames alone, that is the scorer's own.

    A second is read once for all dimensions, and its questions are one batch: for the answers, and once more for the
    levels, which `LevelsHead` reads behind the start of an answer.

    Raises:
        ConfigError: the prompt has no dimensions, or the scorer cannot be asked, or reads no frames.
    """

    def __init__(self, scorer: Scorer, prompt: Prompt, *, decoding: Decoding) -> None:
        scorer.check_answers()
        self._spec = scorer.pipeline.preparer.clip
        if prompt.dimensions is None:
            raise ConfigError(
                ["prompt.dimensions=null: this prompt asks nothing of every second. Choose --override "
                 "prompt=vqa2_assistant_seconds, or one with dimensions of your own."]
            )  # fmt: skip
        if self._spec.frames is None:
            raise ConfigError(["This scorer reads no frames (modal=a): a second has nothing to be asked about."])
        self._questions = prompt.dimensions.questions
        self._head = LevelsHead(scorer.module.model.width, prefix=prompt.dimensions.prefix)
        framing = scorer.prompt.framing if self._spec.motion is None else prompt.framing
        self._prompt = replace(Asking(**vars(scorer.prompt)), framing=framing)
        self._scorer, self._decoding = scorer, decoding

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names, in the order of answers and levels."""
        return tuple(self._questions)

    @property
    def leaves_out_sound(self) -> bool:
        """Whether the scorer reads sound, which no second has."""
        return self._spec.audio is not None

    def annotate(self, path: Path) -> Iterator[AnnotatedSecond]:
        """Yield what is said of every second, in order.

        Raises:
            MediaError: the file cannot be read as a video.
        """
        return (self._annotated(path, second) for second in read_seconds(path, self._spec))

    def _annotated(self, path: Path, second: VideoSecond) -> AnnotatedSecond:
        about = AnnotatedSecond(number=second.number, of=second.of, missing=second.missing)
        if second.clip is None:
            return replace(about, reason=second.reason)
        asked, begun = (self._samples(path, second.clip, wording) for wording in (Unanswered(), self._head.wording))
        notes = (note for sample in (*asked, *begun) for note in sample.missing)
        about = replace(about, missing=tuple(dict.fromkeys((*about.missing, *notes))))
        if failures := [sample.failure.reason for sample in (*asked, *begun) if sample.failure is not None]:
            return replace(about, reason=failures[0])
        levels = tuple(self._scorer.scored_by(self._head, begun))
        if not all(map(math.isfinite, levels)):
            return replace(about, reason=f"the model computed {levels}, which are no levels")
        return replace(about, answers=tuple(self._scorer.continued(asked, decoding=self._decoding)), levels=levels)

    def _samples(self, path: Path, clip: Clip, wording: Wording) -> Sequence[Sample]:
        """Prepare all questions about one second. They hold the same frames, which a model may encode once."""
        prepared = []
        for name, question in self._questions.items():
            record = Record(id=name, paths=(path,), turns=(question_turn(question),))
            prompt = replace(self._prompt, quantity=name)
            pipeline = replace(self._scorer.pipeline, read=lambda _: clip, wording=wording, prompt=prompt)
            prepared.append(Samples(records=(record,), **vars(pipeline))[0, 0])
        return prepared
