"""The interface of a head: it words the answer, scores with a model, and states the loss.

# B batch, D width, N unknown
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor, nn

from evqa.prompts.decoding import Decoding
from evqa.prompts.prompt import Prompt
from evqa.types import Inputs, Output, Turn

Criterion = Callable[[Tensor, Tensor], Tensor]  # (score_B, label_B) -> scalar


class LanguageModel(Protocol):
    """What a head uses of a model; `evqa.models.base.Model` is one."""

    def __call__(self, inputs: Inputs) -> Output:
        """Run the model."""
        ...

    def generate(self, inputs: Inputs, decoding: Decoding) -> Iterator[list[str]]:
        """Continue every sample's conversation; yields the next piece of text of each."""
        ...


class Wording(ABC):
    """What the assistant says in the input; small and picklable, so that worker processes can hold it.

    keeps_answers: whether a record's own learned turns stay in the input where labels are not learned.
    """

    keeps_answers: ClassVar[bool] = False

    @abstractmethod
    def turns(self, label: float | None, prompt: Prompt) -> tuple[Turn, ...]:
        """Word the assistant's turn for a label in 0-1, or its start where the label is to be predicted."""


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """Scores of one batch.

    score_B: float32 or float64 in the 0-1 scale (not clipped), NaN where the answer could not be read.
    reasons: a sentence for every NaN, by position in the batch.
    """

    score_B: Tensor
    reasons: dict[int, str]


class Head(nn.Module, ABC):
    """Knows no layout and no concrete model. `width` is the hidden size; keyword-only arguments come from the YAML."""

    needs_logits: ClassVar[bool] = False
    takes_loss: bool = True  # trained by the configured loss between scores and labels; otherwise by words
    gives_scores: ClassVar[bool] = True  # otherwise it is validated by its loss
    wording: Wording

    @abstractmethod
    def score(self, model: LanguageModel, inputs: Inputs) -> HeadScores:
        """Score every sample of a batch, running the model once."""

    @abstractmethod
    def loss(self, output: Output, label_B: Tensor, criterion: Criterion) -> Tensor:
        """Return the training loss (a scalar) for labels in 0-1 (on the CPU), a mean over `count`."""

    def pool(self, output: Output) -> Tensor:
        """Average the last hidden states of every sample over its real positions, float32 [B, D]."""
        return output.mean_BD()

    def count(self, output: Output, label_B: Tensor) -> int:
        """Count what `loss` is the mean of, so that batches of different sizes can be joined: items with a label."""
        del output
        return int((~label_B.isnan()).sum())
