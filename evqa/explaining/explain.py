"""Score a video again and again: cut short, and with its seconds, its picture, its sound and its texts hidden in turn.

Occlusion as by Zeiler and Fergus (Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2). Every
copy is scored as if it were a file of its own: what the scorer samples of a video that ends after three seconds it
samples here.

# S samples at 16 kHz
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from evqa.errors import ConfigError, MediaError
from evqa.explaining.explanation import Explanation, Hidden, Opening
from evqa.files.regular import why_unreadable
from evqa.media.altered import (
    is_within,
    pictures_of_opening,
    track_of,
    with_sound_of,
    without_pictures_of_second,
    without_sound_of_second,
)
from evqa.media.decoding import decode_isolated
from evqa.media.spec import ClipSpec
from evqa.scoring.items import Item, as_record
from evqa.scoring.scorer import Scorer
from evqa.training.batches import has_sound
from evqa.types import SAMPLE_RATE_HZ, Clip, Record

MOST_SECONDS = 8  # that are looked at one by one, unless more are asked for


@dataclass(frozen=True, kw_only=True)
class Altered:
    """A copy of the video. what: as in `Hidden`; `first 3 s` of one that is cut short."""

    kind: Literal["whole", "opening", "second", "modality"]
    what: str
    record: Record
    clip: Clip
    seconds: float = 0.0  # of an opening
    num_frames: int | None = None  # of a hidden second

    def hidden(self, score: float, *, whole: float) -> Hidden:
        """Say what hiding this did."""
        return Hidden(what=self.what, score=score, change=score - whole, num_frames=self.num_frames)


def explain(scorer: Scorer, item: Item, *, seconds: int = MOST_SECONDS) -> Explanation:
    """Score a video, its beginnings of 1, 2, ... seconds, and copies in which something is hidden.

    item: a path, or a record of one file. seconds: how many are looked at, from the first on.

    Raises:
        ConfigError: the scorer gives no scores, the record has several files, or the video has no score.
        MediaError: the file cannot be read.
    """
    explaining = Explaining(scorer, item, seconds=seconds)
    for _ in explaining.score():
        pass
    return explaining.explanation()


class Explaining:
    """A video and its altered copies, scored one after another; arguments and what is raised: as in `explain`.

    num_copies: the video itself among them.
    """

    def __init__(self, scorer: Scorer, item: Item, *, seconds: int = MOST_SECONDS) -> None:
        scorer.check_scores()
        self._scorer, self._record, self._most_seconds = scorer, as_record(item), seconds
        self._video = video = _Video.read(self._record, scorer)
        whole = Altered(kind="whole", what="the whole video", record=self._record, clip=video.clip)
        self._copies = [whole, *video.openings(seconds), *video.hidden_seconds(seconds), *video.hidden_modalities()]
        self._scores: list[float | str] = []  # or the reason why there is none
        self.num_copies = len(self._copies)

    def score(self) -> Iterator[None]:
        """Score all copies; yields behind each."""
        for score in self._scorer.score_read((copy.record, [copy.clip]) for copy in self._copies):
            missing = score.failure.reason if score.failure else "no score"
            self._scores.append(missing if score.value is None else score.value)
            yield

    def explanation(self) -> Explanation:
        """Say what was found, when all copies have been scored."""
        whole, video = self._scores[0], self._video
        if isinstance(whole, str):
            raise ConfigError([f"{self._record.id}: has no score to explain: {whole}"])
        pairs = list(zip(self._copies, self._scores, strict=True))[1:]
        scored = [(copy, score) for copy, score in pairs if not isinstance(score, str)]
        failed = [f"{copy.what}: {score}" for copy, score in pairs if isinstance(score, str)]
        return Explanation(
            id=self._record.id,
            scale=self._scorer.meaning.scale,
            modal=self._scorer.modal,
            score=whole,
            seconds=video.length,
            openings=[Opening(seconds=copy.seconds, score=score) for copy, score in scored if copy.kind == "opening"],
            hidden_seconds=[copy.hidden(score, whole=whole) for copy, score in scored if copy.kind == "second"],
            hidden_modalities=[copy.hidden(score, whole=whole) for copy, score in scored if copy.kind == "modality"],
            notes=[*video.clip.missing, *video.notes(self._most_seconds), *failed],
        )


@dataclass(frozen=True, kw_only=True)
class _Video:
    """One file, read once as the scorer reads it, with the whole track that its sound is cut from."""

    record: Record
    spec: ClipSpec
    clip: Clip
    track_S: Tensor | None

    @classmethod
    def read(cls, record: Record, scorer: Scorer) -> _Video:
        if len(record.paths) != 1:
            raise ConfigError([f"{record.id}: has {len(record.paths)} files; one video at a time can be explained."])
        (path,) = record.paths
        if reason := why_unreadable(path):
            raise MediaError(path, reason)
        spec = scorer.pipeline.preparer.clip
        clip, track = scorer.pipeline.read(path), track_of(spec)
        has_track = clip.waveform_S is not None or clip.fbank_RM is not None
        track_S = _read(path, track).waveform_S if track is not None and has_track else None
        return cls(record=record, spec=spec, clip=clip, track_S=track_S)

    @property
    def length(self) -> float:
        """Seconds of the video; of the sound, where no pictures are read. 0 of a still image."""
        return 0.0 if self.clip.image is not None else self.clip.seconds or 0.0

    def _num_seconds(self, most: int) -> int:
        return min(most, math.ceil(self.length - 1e-6))

    def openings(self, most: int) -> Iterator[Altered]:
        """Copies that end after 1, 2, ... seconds, each shorter than the video."""
        for seconds in range(1, most + 1):
            if seconds < self.length:
                clip = self.clip
                if self.spec.reads_pictures:
                    clip = _read(self.record.paths[0], pictures_of_opening(self.spec, seconds))
                opening_S = None if self.track_S is None else self.track_S[: seconds * SAMPLE_RATE_HZ]
                clip = with_sound_of(replace(clip, seconds=float(seconds)), opening_S, self.spec)
                what = f"the first {seconds} s"
                yield Altered(kind="opening", what=what, record=self.record, clip=clip, seconds=float(seconds))

    def hidden_seconds(self, most: int) -> Iterator[Altered]:
        """Copies in which one second is grey and silent."""
        for second in range(self._num_seconds(most)):
            clip = without_pictures_of_second(self.clip, second)
            if self.track_S is not None:
                clip = with_sound_of(clip, without_sound_of_second(self.track_S, second), self.spec)
            seen = self.clip.seconds_F
            yield Altered(
                kind="second",
                what=f"second {second}",
                record=self.record,
                clip=clip,
                num_frames=None if seen is None else int(is_within(seen, second).sum()),
            )

    def hidden_modalities(self) -> Iterator[Altered]:
        """Copies without picture, sound or texts, where there are others."""
        clip, record = self.clip, self.record
        if clip.frames_FHWC is not None and has_sound(clip):
            unseen = replace(clip, frames_FHWC=None, seconds_F=None, motion=None)
            yield Altered(kind="modality", what="picture", record=record, clip=unseen)
            unheard = replace(clip, waveform_S=None, fbank_RM=None)
            yield Altered(kind="modality", what="sound", record=record, clip=unheard)
        if any(text.strip() for text in record.texts.values()):
            yield Altered(kind="modality", what="text", record=replace(record, texts={}), clip=clip)

    def notes(self, most: int) -> Iterator[str]:
        """Say what was not altered."""
        if not self.length:
            yield "a still image has no seconds that could be hidden"
        elif most < self.length:
            yield f"the first {most} of {self.length:.1f} s were looked at one by one"
        horizon = self.spec.horizon_seconds if self.spec.reads_pictures else None
        if horizon is not None and horizon < self.length:
            yield f"this scorer reads no picture behind {horizon:g} s"


def _read(path: Path, spec: ClipSpec) -> Clip:
    """Read a file where it can do no harm. Raises MediaError."""
    clip = decode_isolated(path, spec)
    if isinstance(clip, str):
        raise MediaError(path, clip)
    return clip
