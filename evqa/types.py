"""The few objects that travel between the floors.

# B batch, F frames, H height, W width, C channels, S audio samples, M mel bins, R filter-bank rows,
# T tokens, D width, V vocabulary
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evqa.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE_HZ = 16_000
Prepared = dict[str, Any]  # one sample's tensors and plain values, made by a Preparer and read only by its `collate`


@dataclass(frozen=True, kw_only=True)
class LabelScale:
    """A label column and its range; the only place where scores change their scale.

    range: the ends of the annotation's scale, declared and never guessed (ECR: 0 and 1, or 0 and 100 where the column
        holds percent; a MOS: 1 and 5). Heads work on 0-1.
    """

    name: str = "ECR"
    range: tuple[float, float] = (0.0, 1.0)

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

    def to_unit(self, label: float) -> float:
        """Map a label in the annotation's scale to 0-1."""
        return (label - self.low) / (self.high - self.low)

    def from_unit(self, score: float) -> float:
        """Map a score of a head (0-1, not clipped) to the annotation's scale."""
        return self.low + score * (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row of a data set: a media file, its texts and, where known, its label in the annotation's own scale.

    Records with the same `group` (near-duplicates, the same creator) stay on one side of every split.
    """

    id: str
    path: Path
    title: str | None = None
    description: str | None = None
    label: float | None = None
    group: str | None = None


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


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What was read from one media file.

    frames_FHWC: uint8 RGB, already resized as the request asked; None where no picture was asked for.
    seconds_F: float64 presentation times of the frames.
    waveform_S: float32 in [-1, 1], mono, 16 kHz, only real sound (no padding); None where none was asked for or
        the file has no sound.
    fbank_RM: float32 log-mel filter bank of the waveform, where the request asked for one.
    missing: sentences that say what was asked for and is not there ("no audio track").
    """

    frames_FHWC: Tensor | None = None
    seconds_F: Tensor | None = None
    waveform_S: Tensor | None = None
    fbank_RM: Tensor | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The assistant's side of the prompt.

    prefix: words that are part of the input; the head reads the model at the last of these tokens.
    target: words to be learned after the prefix (followed by the end token); None when nothing is to be generated.
    """

    prefix: str = ""
    target: str | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples of one step, collated; `inputs` are the model's own tensors by name.

    label_B: float32 in 0-1 for the loss, NaN where unknown; labels: the same in the annotation's own scale, exact.
    missing: for each of `ids`, sentences on what the file lacks. failures: items that could not be read (not in `ids`).
    """

    ids: tuple[str, ...]
    inputs: dict[str, Tensor]
    label_B: Tensor
    labels: tuple[float, ...] = ()
    missing: tuple[tuple[str, ...], ...] = ()
    failures: tuple[Failure, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def pin_memory(self) -> Batch:
        """Return the batch with inputs that a GPU can fetch while it computes."""
        return replace(self, inputs={name: tensor.pin_memory() for name, tensor in self.inputs.items()})


@dataclass(frozen=True, kw_only=True)
class Output:
    """What heads read.

    hidden_BTD: last hidden state after the final norm; mask_BT: true at real positions (never at padding).
    answer_B: position whose logits predict the first token of the answer's target.
    logits_at: (hidden [N, D]) -> logits [N, V]; raises where the model was built without an LM head.
    target_BT: token ids to be learned at each position (already shifted: position t predicts target_BT[:, t]),
        -100 elsewhere; None where the batch carries no target.
    generate: (max_new_tokens) -> one decoded answer a sample, greedy.
    word_id: (word) -> id of a word that is a single token in this model's vocabulary, ConfigError otherwise.
    """

    hidden_BTD: Tensor
    mask_BT: Tensor
    answer_B: Tensor
    logits_at: Callable[[Tensor], Tensor]
    word_id: Callable[[str], int]
    generate: Callable[[int], list[str]]
    target_BT: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a model that is trained, adapted or frozen as one.

    prefixes: module names below the model, e.g. ("mm_projector",). linear_names: leaf names of the linear layers
    that LoRA may adapt; empty where adapting makes no sense.
    """

    name: str
    prefixes: tuple[str, ...]
    linear_names: tuple[str, ...] = field(default=())
