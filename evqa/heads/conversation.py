"""Learning conversations: the assistant's words that a data set gives, without a score.

# B batch
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from evqa.errors import ConfigError
from evqa.heads.base import Criterion, Head, HeadScores, LanguageModel, Wording
from evqa.heads.next_token import next_token_loss
from evqa.prompts.prompt import Prompt
from evqa.types import Inputs, Output, Turn


@dataclass(frozen=True)
class NoWording(Wording):
    """Nothing: the assistant's words stand in the records."""

    keeps_answers: ClassVar[bool] = True

    def turns(self, label: float | None, prompt: Prompt) -> tuple[Turn, ...]:
        """Return no turns."""
        del label, prompt
        return ()


class ConversationHead(Head):
    """Next-token loss on every turn of a record that is to be learned (`Turn.learn`), validated by that loss."""

    needs_logits: ClassVar[bool] = True
    takes_loss: bool = False
    gives_scores: ClassVar[bool] = False

    def __init__(self, width: int) -> None:
        super().__init__()
        del width
        self.wording = NoWording()

    def score(self, model: LanguageModel, inputs: Inputs) -> HeadScores:
        """Refuse: there is no score. Raises ConfigError."""
        raise ConfigError(
            [
                "head: ConversationHead learns conversations and gives no scores. Ask its run questions (evqa.ask), or "
                "train a head that scores (head=regression, head=levels, head=text)."
            ]
        )

    def loss(self, output: Output, label_B: Tensor, criterion: Criterion) -> Tensor:
        """Cross-entropy of the learned turns, averaged over tokens; `criterion` and labels are not used."""
        return next_token_loss(output)

    def count(self, output: Output, label_B: Tensor) -> int:
        """Count the learned turns' tokens."""
        return output.num_learned()
