"""A score from the logits of five level words (Wu et al., Q-Align, ICML 2024, eq. 1-3; used by VQA² too).

# B batch, L levels, V vocabulary
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from evqa.errors import ConfigError
from evqa.heads.base import Criterion, Head, HeadScores, LanguageModel, Wording
from evqa.heads.next_token import next_token_loss
from evqa.metrics.levels import level_of
from evqa.prompts.prompt import Prompt, check_words, with_quantity
from evqa.types import Inputs, Output, Turn


@dataclass(frozen=True, kw_only=True)
class LevelWording(Wording):
    """The start of an answer whose next word is the level, and that word where it is learned.

    words: from best to worst; empty where no word is learned. ending: text behind the word.
    """

    prefix: str
    words: tuple[str, ...] = ()
    ending: str = ""

    def turns(self, label: float | None, prompt: Prompt) -> tuple[Turn, ...]:
        """Return the prefix, at whose last token the head reads the model, and the label's word behind it."""
        prefix = Turn(role="assistant", text=with_quantity(self.prefix, prompt))
        if not self.words or label is None or math.isnan(label):
            return (prefix,)
        # Turns of their own: the word stays the token that the score is read from, whatever stands behind it.
        answer = (self.words[level_of(label, num_levels=len(self.words))], self.ending)
        return (prefix, *(Turn(role="assistant", text=text, learn=True) for text in answer if text))


def weighted_levels(logits_BL: Tensor, weights: Sequence[float]) -> Tensor:
    """Return score_B, the weights' mean under the softmax over the levels (Wu et al., Q-Align, ICML 2024, eq. 3).

    In float64, on MPS in float32; the largest logit is subtracted first, so that no logit is too large.
    """
    wide = torch.float32 if logits_BL.device.type == "mps" else torch.float64
    probability_LB = logits_BL.to(wide).softmax(-1).unbind(-1)
    return torch.stack([weight * one_B for weight, one_B in zip(weights, probability_LB, strict=True)]).sum(0)


class LevelsHead(Head):
    """Softmax over the level words' logits at the end of the prefix, then the weighted sum.

    prefix: the start of the answer; `{quantity}` is what the label measures. words: from best to worst, each a single
        token of the model's vocabulary (verified, never typed as numbers).
    weights: the value of each word in 0-1, where 0 and 1 are the ends of the label's range; scores lie between the
        smallest and the largest.
    zeroed: words whose logit counts as 0.0; null: none. VQA2's released image script reads its first and its last word
        so, because it files their logits under other names.
    train: `score` lowers the configured loss between the weighted sum and the label; `words` lowers the next-token loss
        on the label's word (of equal bins over 0-1) and on `ending`, as VQA2 was trained; then the configured loss is
        not used. The score is read in the same way.
    """

    needs_logits: ClassVar[bool] = True

    def __init__(
        self,
        width: int,
        *,
        prefix: str = "The {quantity} of the video is",
        words: list[str] | None = None,
        weights: list[Annotated[float, "0 <= weight <= 1"]] | None = None,
        zeroed: list[str] | None = None,
        train: Literal["score", "words"] = "score",
        ending: str = "",
    ) -> None:
        super().__init__()
        del width
        check_words("head.prefix", prefix)
        self.words = words or [" high", " good", " fair", " poor", " low"]
        self.weights = weights or [1.0, 0.75, 0.5, 0.25, 0.0]
        self.zeroed = zeroed or []
        if len(self.weights) != len(self.words) or len(set(self.words)) != len(self.words):
            different = len(set(self.words))
            raise ConfigError([f"head.weights: {len(self.weights)} weights for {different} different head.words"])
        if others := set(self.zeroed) - set(self.words):
            raise ConfigError([f"head.zeroed: {min(others)!r} is none of head.words. Name some of {self.words}."])
        if ending and train == "score":
            raise ConfigError([f"head.ending={ending!r}: it is learned with head.train=words only. Leave it empty."])
        self.takes_loss = train == "score"
        learned = () if self.takes_loss else tuple(self.words)
        self.wording = LevelWording(prefix=prefix, words=learned, ending=ending)

    def forward(self, output: Output) -> Tensor:
        """Return score_B in 0-1, float64 (float32 on MPS, which has nothing wider)."""
        logits_BL = output.logits(output.answer_BD(), self._word_ids(output))
        for word in self.zeroed:
            logits_BL[:, self.words.index(word)] = 0.0
        return weighted_levels(logits_BL, self.weights)

    def _word_ids(self, output: Output) -> list[int]:
        return [output.word_id(word) for word in self.words]

    def score(self, model: LanguageModel, inputs: Inputs) -> HeadScores:
        """Score every sample in 0-1."""
        return HeadScores(score_B=self(model(inputs)), reasons={})

    def loss(self, output: Output, label_B: Tensor, criterion: Criterion) -> Tensor:
        """Compare the weighted sum with the label; or the next-token loss of the words, which `criterion` is not of."""
        if self.takes_loss:
            return criterion(self(output), label_B)
        self._word_ids(output)  # what is learned can be scored, or is refused here
        return next_token_loss(output)

    def count(self, output: Output, label_B: Tensor) -> int:
        """Count items with a label, or the learned tokens."""
        return super().count(output, label_B) if self.takes_loss else output.num_learned()
