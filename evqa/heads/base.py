"""The interface of a head: it words the answer, reads a model's output, and states the loss.

# B batch, N unknown
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from evqa.prompts.prompt import Prompt
from evqa.types import Answer, Output

Criterion = Callable[[Tensor, Tensor], Tensor]  # (score_B, label_B) -> scalar


class Wording(ABC):
    """What the assistant says in the input; small and picklable, so that worker processes can hold it."""

    @abstractmethod
    def answer(self, label: float | None, prompt: Prompt) -> Answer:
        """Word the answer for a label in 0-1, or the start of the answer where the label is to be predicted."""


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """Scores of one batch.

    score_B: float32 in the 0-1 scale (not clipped), NaN where the answer could not be read.
    reasons: a sentence for every NaN, by position in the batch.
    """

    score_B: Tensor
    reasons: dict[int, str]


class Head(nn.Module, ABC):
    """Reads only an `Output`. `width` is the model's hidden size; keyword-only arguments come from the YAML."""

    needs_logits: ClassVar[bool] = False
    takes_loss: ClassVar[bool] = True  # trained by the configured loss between scores and labels
    wording: Wording

    @abstractmethod
    def read(self, output: Output) -> HeadScores:
        """Score every sample of a batch."""

    @abstractmethod
    def loss(self, output: Output, label_B: Tensor, criterion: Criterion) -> Tensor:
        """Return the training loss (a scalar) for labels in 0-1, a mean over `count`."""

    def count(self, output: Output, label_B: Tensor) -> Tensor:
        """Count what `loss` is the mean of, so that batches of different sizes can be joined: items with a label."""
        del output
        return (~label_B.isnan()).sum()
