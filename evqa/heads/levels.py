"""A score from the logits of five level words (Wu et al., Q-Align, ICML 2024, eq. 1-3; used by VQA² too).

# B batch, L levels, V vocabulary
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from evqa.errors import ConfigError
from evqa.heads.base import Criterion, Head, HeadScores, LanguageModel, Wording
from evqa.prompts.prompt import Prompt, about, check_words
from evqa.types import Inputs, Output, Turn


@dataclass(frozen=True)
class PrefixWording(Wording):
    """The start of an answer whose next word is the level."""

    prefix: str

    def turns(self, label: float | None, prompt: Prompt) -> tuple[Turn, ...]:
        """Return the prefix; the head reads the model at its last token."""
        del label
        return (Turn(role="assistant", text=about(self.prefix, prompt)),)


class LevelsHead(Head):
    """Softmax over the level words' logits at the end of the prefix, then the weighted sum.

    prefix: the start of the answer; `{quantity}` is what the label measures. words: from best to worst, each a single
        token of the model's vocabulary (verified, never typed as numbers).
    weights: the value of each word in 0-1.
    """

    needs_logits: ClassVar[bool] = True

    def __init__(
        self,
        width: int,
        *,
        prefix: str = "The {quantity} of the video is",
        words: list[str] | None = None,
        weights: list[Annotated[float, "0 <= weight <= 1"]] | None = None,
    ) -> None:
        super().__init__()
        del width
        check_words("head.prefix", prefix)
        self.words = words or [" high", " good", " fair", " poor", " low"]
        weights = weights or [1.0, 0.75, 0.5, 0.25, 0.0]
        if len(weights) != len(self.words) or len(set(self.words)) != len(self.words):
            raise ConfigError([f"head.weights: {len(weights)} weights for {len(set(self.words))} different head.words"])
        self.wording = PrefixWording(prefix)
        self.register_buffer("weight_L", torch.tensor(weights), persistent=False)

    def forward(self, output: Output) -> Tensor:
        """Return score_B in 0-1, float32."""
        word_ids = [output.word_id(word) for word in self.words]
        logits_BL = output.logits(output.answer_BD())[:, word_ids]
        probability_BL = logits_BL.float().softmax(-1)
        return (probability_BL * self.get_buffer("weight_L")).sum(-1)

    def score(self, model: LanguageModel, inputs: Inputs) -> HeadScores:
        """Score every sample in 0-1."""
        return HeadScores(score_B=self(model(inputs)), reasons={})

    def loss(self, output: Output, label_B: Tensor, criterion: Criterion) -> Tensor:
        """Compare the weighted sum with the label."""
        return criterion(self(output), label_B)
