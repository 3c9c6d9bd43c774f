"""The scorers that the page offers, and one item scored by one of them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from evqa.errors import ConfigError
from evqa.media.altered import track_of
from evqa.media.decoding import decode_isolated
from evqa.models.base import RANDOM_WEIGHTS
from evqa.models.license import terms_of
from evqa.scoring.load import load
from evqa.scoring.score import Score
from evqa.scoring.scorer import Scorer
from evqa.scoring.settings import further_texts, own_columns
from evqa.scoring.sources import NamedColumns
from evqa.types import Clip, Record
from evqa.web.deadline import Deadline

MODALITIES = {"av": "picture and sound", "v": "picture alone", "a": "sound alone"}


@dataclass(frozen=True, kw_only=True)
class OfferedScorer:
    """A scorer under the name that the page shows.

    columns: of the table that it was trained on. further_texts: columns that its question names. max_seconds: that one
    request may take.
    """

    name: str
    scorer: Scorer
    columns: NamedColumns = field(default_factory=NamedColumns)
    further_texts: tuple[str, ...] = ()
    max_seconds: float = math.inf

    def deadline(self) -> Deadline:
        """When a request that begins now has taken its time."""
        return Deadline(self.max_seconds)

    @property
    def gives_scores(self) -> bool:
        """Whether it can be asked for scores."""
        return self.scorer.module.head.gives_scores

    @property
    def answers(self) -> bool:
        """Whether it can be asked in words."""
        return self.scorer.module.head.needs_logits

    @property
    def modalities(self) -> list[str]:
        """What it may be asked to read: all that it reads, or a part."""
        return ["av", "v", "a"] if self.scorer.modal == "av" else [self.scorer.modal]

    @property
    def about(self) -> str:
        """Its model's base, a folder by its name alone, and the terms of the weights."""
        model = self.scorer.module.model
        base = model.base_name()
        license = "" if base == RANDOM_WEIGHTS else f"; license of the weights: {terms_of(base, model.license)}"
        folder = Path(base).expanduser()
        shown = folder.resolve().name if folder.is_dir() else base  # visitors need not know where the server's lie
        return f"{type(model).__name__}, based on {shown}{license}"

    def score(self, record: Record, *, modal: str) -> ShownScore:
        """Read and score one item; what cannot be scored is the score's failure, what cannot be read a MediaError.

        Raises:
            ConfigError: the scorer does not read such a modality.
        """
        if modal not in self.modalities:
            raise ConfigError([f"modal={modal!r}: {self.name} reads {' or '.join(self.modalities)}."])
        began = time.monotonic()
        clips = [self.scorer.pipeline.read(path) for path in record.paths]
        read = [only(clip, modal) for clip in clips]
        (score,) = self.scorer.score_read([(record, read)])
        if modal != self.scorer.modal:  # a calibration holds for what it was fitted on
            score = replace(score, calibrated=None)
        seconds = time.monotonic() - began
        sounds = [self._sound(path, clip) for path, clip in zip(record.paths, read, strict=True)]
        return ShownScore(score=score, clips=read, sounds=sounds, modal=modal, seconds=seconds)

    def _sound(self, path: Path, clip: Clip) -> Tensor | None:
        """The samples that a model was given, also one that takes them as a filter bank."""
        spec = self.scorer.pipeline.preparer.clip
        track = track_of(spec)
        if clip.waveform_S is not None or clip.fbank_RM is None or track is None or spec.audio is None:
            return clip.waveform_S
        whole = decode_isolated(path, track)
        return None if isinstance(whole, str) or whole.waveform_S is None else spec.audio.cut(whole.waveform_S)


@dataclass(frozen=True, kw_only=True)
class ShownScore:
    """A score, what the model was given for it, and how long that took.

    clips, sounds: a file's each; sounds are float32 samples at 16 kHz, None where there are none.
    """

    score: Score
    clips: Sequence[Clip]
    sounds: Sequence[Tensor | None]
    modal: str
    seconds: float


def only(clip: Clip, modal: str) -> Clip:
    """Leave out what is not asked for."""
    if modal == "v":
        return replace(clip, waveform_S=None, fbank_RM=None)
    if modal == "a":
        return replace(clip, frames_FHWC=None, seconds_F=None, motion=None)
    return clip


def load_offered(
    places: Sequence[str], *, overrides: Sequence[str], device: str, max_seconds: float = math.inf
) -> Mapping[str, OfferedScorer]:
    """Load all scorers; equal names get numbers. Raises as `evqa.load` does."""
    offered: dict[str, OfferedScorer] = {}
    for place in places:
        stem = Path(place).name or place
        name, number = stem, 2
        while name in offered:
            name, number = f"{stem} ({number})", number + 1
        offered[name] = OfferedScorer(
            name=name,
            scorer=load(place, overrides=overrides, device=device),
            columns=own_columns(place, overrides),
            further_texts=further_texts(place, overrides),
            max_seconds=max_seconds,
        )
    return offered


def by_name(offered: Mapping[str, OfferedScorer], name: str) -> OfferedScorer:
    """Find a scorer, the first one where no name is given.

    Raises:
        ConfigError: there is none of this name.
    """
    if name and name not in offered:
        raise ConfigError([f"scorer={name!r}: there is none of this name. There is: {', '.join(offered)}."])
    return offered[name] if name else next(iter(offered.values()))
