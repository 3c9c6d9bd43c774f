"""The few objects that travel between the floors.

# B batch, F frames, H height, W width, C channels, S audio samples, M mel bins, R filter-bank rows,
# T tokens, D width, V vocabulary
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from evqa.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SAMPLE_RATE_HZ = 16_000
MEDIA = "\ufdd0"  # in a turn's text: the place of the next media stream; no text that came from outside holds it
# One sample's tensors and plain values, made by a Preparer and read only by its `collate`; `notes`: what was cut.
Prepared = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LabelScale:
    """A label column and its range; the only place where scores change their scale.

    range: the ends of the annotation's scale, declared and never guessed (ECR: 0 and 1, or 0 and 100 where the column
        holds percent; a MOS: 1 and 5). Heads work on 0-1. quantity: what the label measures, in words that a prompt can
        use; null: engagement for an ECR, quality for a MOS, otherwise the column's name.
    """

    name: str = "ECR"
    range: tuple[float, float] = (0.0, 1.0)
    quantity: str | None = None

    def __post_init__(self) -> None:
        ends = tuple(float(end) for end in self.range)  # YAML gives a list
        if len(ends) != 2 or not all(map(math.isfinite, ends)) or ends[0] >= ends[1]:
            raise ConfigError([f"data.label.range={list(self.range)}: give two numbers, the lower one first."])
        object.__setattr__(self, "range", ends)

    @property
    def low(self) -> float:
        """Lower end of the annotation's scale."""
        return self.range[0]

    @property
    def high(self) -> float:
        """Upper end of the annotation's scale."""
        return self.range[1]

    @property
    def measures(self) -> str:
        """What the label measures, in words."""
        if self.quantity is not None:
            return self.quantity
        words = re.split(r"[\W_]+", self.name.lower())
        known = (("engagement", {"ecr", "engagement"}), ("quality", {"mos", "dmos", "quality"}))
        found = next((quantity for quantity, names in known if names & set(words)), None)
        return found or " ".join(filter(None, words)) or "score"

    def to_unit(self, label: float) -> float:
        """Map a label in the annotation's scale to 0-1."""
        return (label - self.low) / (self.high - self.low)

    def from_unit(self, score: float) -> float:
        """Map a score of a head (0-1, not clipped) to the annotation's scale."""
        return self.low + score * (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One side's words in a conversation; turns of one role in a row are one message.

    text: `MEDIA` in it is the place of the record's next media stream. learn: these words are targets.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    learn: bool = False


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row of a data set: media files, texts and, where known, a label in the annotation's own scale.

    paths: files in order (a pair of videos has two). texts: what a prompt may name (`title`, `description`, any column
    that was asked for); an empty cell is no text. turns: a given conversation; without one the prompt writes it.
    Records with the same `group` (near-duplicates, the same creator) stay on one side of every split. tags: what
    reports slice by.
    """

    id: str
    paths: tuple[Path, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    turns: tuple[Turn, ...] = ()
    label: float | None = None
    group: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An item that could not be used, and why (a sentence without id and row; `str()` puts them in front)."""

    id: str
    reason: str
    row: int | None = None  # 1-based data row of the table, where the failure is the row's
    table: str | None = None  # file name of that table

    @property
    def kind(self) -> str:
        """The reason without the values of one item, so that like reasons count together."""
        text = self.reason.replace(self.id, "<Id>") if self.id else self.reason
        return re.sub(r"'[^']*'|(?<![\w.])-?\d[\w.]*", "...", text.partition(";")[0].partition(" (line ")[0])

    def __str__(self) -> str:
        place = " ".join(filter(None, (self.table, f"row {self.row}" if self.row else "")))
        return f"{place + ', ' if place else ''}Id {self.id or '(empty)'}: {self.reason}"


class FrameChunks(Protocol):
    """A motion stream: frames that are too many to be held at once. seconds_N: float64 presentation times."""

    num_frames: int
    seconds_N: Tensor
    height: int
    width: int

    def chunks(self, size: int, *, overlap: int = 0) -> Iterator[Tensor]:
        """Yield uint8 RGB [n, H, W, C], `size` frames at a time, of which `overlap` were in the chunk before."""

    def close(self) -> None:
        """Free what it occupies; otherwise that is done when it is no longer used."""


@dataclass(frozen=True, kw_only=True)
class ImageGrid:
    """How a still image was cut into tiles: rows and columns; height and width of the image itself, upright."""

    rows: int
    columns: int
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What was read from one media file.

    frames_FHWC: uint8 RGB, already resized as the request asked; None where no picture was asked for. Of a still image
        that was cut: an overview of all of it, then the tiles row by row (`image`).
    seconds_F: float64 presentation times of the frames.
    motion: a second stream of frames, where the request asked for one.
    waveform_S: float32 in [-1, 1], mono, 16 kHz, only real sound (no padding); None where none was asked for or
        the file has no sound.
    fbank_RM: float32 log-mel filter bank of the waveform, where the request asked for one.
    missing: sentences that say what was asked for and is not there ("no audio track").
    seconds: length of the picture (of the sound, where no frames were asked for): measured where all of the file was
        read, else as the file states it. num_frames: of the whole video, likewise; None where no frames were asked for,
        or where only the start was read and the container (Matroska, WebM) does not state it.
    picture_start_seconds, sound_start_seconds: when the first picture and the first sample come up, by the container's
        clock; None where there is none, or no container.
    """

    frames_FHWC: Tensor | None = None
    seconds_F: Tensor | None = None
    motion: FrameChunks | None = None
    waveform_S: Tensor | None = None
    fbank_RM: Tensor | None = None
    missing: tuple[str, ...] = ()
    seconds: float | None = None
    num_frames: int | None = None
    picture_start_seconds: float | None = None
    sound_start_seconds: float | None = None
    image: ImageGrid | None = None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a model's forward pass takes: its own tensors by name, and the counts that say where they belong.

    host: counts and lengths, one a sample or item; they stay on the CPU, so that no step waits for a device.
    streams: media that is read in chunks while the model runs, one a file (`evqa.media`).
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    host: dict[str, tuple[int, ...]] = field(default_factory=dict)
    streams: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def to(self, device: torch.device | str) -> Inputs:
        """Move the tensors; uint8 frames travel as they are and are normalised on the device."""
        return replace(self, tensors={name: t.to(device, non_blocking=True) for name, t in self.tensors.items()})

    def pin_memory(self) -> Inputs:
        """Put the tensors where a GPU can fetch them while it computes."""
        return replace(self, tensors={name: tensor.pin_memory() for name, tensor in self.tensors.items()})


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples of one step, collated.

    label_B: float32 in 0-1 for the loss, NaN where unknown; it stays on the CPU, where losses choose items and pairs.
    labels: the same in the annotation's own scale, exact.
    missing: for each of `ids`, sentences on what the file lacks or what was cut. failures: items that could not be read
    (not in `ids`).
    """

    ids: tuple[str, ...]
    inputs: Inputs
    label_B: Tensor
    labels: tuple[float, ...] = ()
    missing: tuple[tuple[str, ...], ...] = ()
    failures: tuple[Failure, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> Batch:
        """Move the inputs to a device."""
        return replace(self, inputs=self.inputs.to(device))

    def pin_memory(self) -> Batch:
        """Return the batch with inputs that a GPU can fetch while it computes."""
        return replace(self, inputs=self.inputs.pin_memory())


class Output(ABC):
    """What heads read of a batch; whether it is padded or packed is the model's own business."""

    @abstractmethod
    def mean_BD(self) -> Tensor:
        """Mean over the real positions of every sample, float32."""

    @abstractmethod
    def padded_mean_BD(self) -> Tensor:
        """Mean over all positions, padding included, as LMM-EVQA takes it; ConfigError in a layout without padding."""

    @abstractmethod
    def answer_BD(self) -> Tensor:
        """Hidden state whose logits predict the first word of the last answer."""

    @abstractmethod
    def learned(self) -> tuple[Tensor, Tensor]:
        """Hidden states [N, D] that predict a target, and the targets' ids [N]; N may be 0."""

    @abstractmethod
    def num_learned(self) -> int:
        """Count of `learned`'s positions, without gathering them."""

    @abstractmethod
    def learned_of(self) -> Sequence[int]:
        """The sample [N] that each of `learned`'s positions belongs to."""

    @abstractmethod
    def logits(self, hidden_ND: Tensor, words: Sequence[int] | None = None) -> Tensor:
        """Map hidden states to logits [N, V], or to float32 ones [N, L] of the words with these ids.

        Raises ConfigError where the model was built without an LM head.
        """

    @abstractmethod
    def word_id(self, word: str) -> int:
        """Id of a word that is a single token in this model's vocabulary; ConfigError otherwise."""

    @abstractmethod
    def num_padded(self) -> tuple[int, int]:
        """Positions that hold padding, and positions in all."""

    @abstractmethod
    def zero(self) -> Tensor:
        """A zero that is connected to the graph, for batches without anything to learn."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a model that is trained, adapted or frozen as one.

    prefixes: names below the model, of modules or of single weights, e.g. ("mm_projector",).
    linear_names: leaf names of the linear layers that LoRA may adapt; empty where adapting makes no sense.
    """

    name: str
    prefixes: tuple[str, ...]
    linear_names: tuple[str, ...] = field(default=())
