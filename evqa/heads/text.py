"""The model writes its score as a number; LMM-EVQA's Qwen2.5-VL member is trained so.

# B batch
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from evqa.heads.base import Criterion, Head, HeadScores, LanguageModel, Wording
from evqa.heads.next_token import next_token_loss
from evqa.prompts.decoding import Decoding
from evqa.prompts.prompt import Prompt, check_words, with_quantity
from evqa.types import Inputs, Output, Turn


@dataclass(frozen=True)
class NumberWording(Wording):
    """A number on a stated scale with a fixed number of decimals, e.g. `57` or `0.57`.

    prefix: words before the number. scale: the number that stands for 1. decimals: digits after the point.
    ending: text after the number ("." in LMM-EVQA's Qwen path).
    """

    prefix: str
    scale: float
    decimals: int
    ending: str

    def turns(self, label: float | None, prompt: Prompt) -> tuple[Turn, ...]:
        """Word the label, or only the prefix where it is to be predicted."""
        prefix = Turn(role="assistant", text=with_quantity(self.prefix, prompt))
        if label is None or math.isnan(label):
            return (prefix,)
        number = f"{label * self.scale:.{self.decimals}f}{self.ending}"
        return (prefix, Turn(role="assistant", text=number, learn=True))

    def parse(self, text: str) -> float | None:
        """Read a number in exactly the taught format, within the scale; anything else is None, never a guess."""
        fraction = rf"\.\d{{{self.decimals}}}" if self.decimals else ""
        match = re.fullmatch(rf"\s*(\d+{fraction}){re.escape(self.ending)}\s*", text)
        value = float(match.group(1)) / self.scale if match else None
        return value if value is not None and value <= 1.0 else None


class TextHead(Head):
    """Next-token loss on the number in training; greedy generation and strict parsing in scoring."""

    needs_logits: ClassVar[bool] = True
    takes_loss: bool = False  # it learns the words of the answer

    def __init__(
        self,
        width: int,
        *,
        prefix: str = "The {quantity} of the video is ",
        scale: Annotated[float, "0 < scale"] = 100.0,
        decimals: Annotated[int, "0 <= decimals <= 17"] = 0,
        ending: str = "",
        max_new_tokens: Annotated[int, "1 <= max_new_tokens <= 10000"] = 12,
    ) -> None:
        super().__init__()
        del width
        check_words("head.prefix", prefix)
        self.number = NumberWording(prefix, scale, decimals, ending)
        self.wording = self.number
        self.max_new_tokens = max_new_tokens

    def score(self, model: LanguageModel, inputs: Inputs) -> HeadScores:
        """Generate and parse; an answer that is not a number in the taught format is a failure with its text."""
        pieces = model.generate(inputs, Decoding(max_new_tokens=self.max_new_tokens))
        answers = ["".join(parts) for parts in zip(*pieces, strict=True)]
        values = [self.number.parse(answer) for answer in answers]
        reasons = {
            index: f"the model answered {answer[:60]!r}, which is not a number in the format it was taught"
            for index, (answer, value) in enumerate(zip(answers, values, strict=True))
            if value is None
        }
        return HeadScores(
            score_B=torch.tensor([math.nan if value is None else value for value in values]), reasons=reasons
        )

    def loss(self, output: Output, label_B: Tensor, criterion: Criterion) -> Tensor:
        """Cross-entropy of the answer's tokens, averaged over tokens; `criterion` and labels are not used."""
        return next_token_loss(output)

    def count(self, output: Output, label_B: Tensor) -> int:
        """Count the answers' tokens."""
        return output.num_learned()
