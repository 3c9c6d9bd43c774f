"""A small network on the pooled hidden states, LMM-EVQA's best head (Sun et al., ICCV workshops 2025, Table 4).

# B batch, T tokens, D width
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from evqa.errors import CheckpointError
from evqa.heads.base import Criterion, Head, HeadScores, LanguageModel, Wording
from evqa.heads.precision import full_precision
from evqa.prompts.prompt import Prompt, with_quantity
from evqa.types import Inputs, Output, Turn


@dataclass(frozen=True)
class SentenceWording(Wording):
    """The prompt's own answer sentence, whatever the label: it is pooled, not learned."""

    def turns(self, label: float | None, prompt: Prompt) -> tuple[Turn, ...]:
        """Return the prompt's answer as input."""
        del label
        return (Turn(role="assistant", text=with_quantity(prompt.answer or "", prompt)),)


class RegressionHead(Head):
    """Mean over positions -> dropout -> linear -> ReLU -> dropout -> linear.

    pooling: `masked` averages real positions only, so a score does not depend on its batch neighbours; `original`
        averages padding too, as LMM-EVQA does. scale: size of the layers' output (100: trained on 0-100 labels).
    initial_score: first prediction before any training, in 0-1. Module names are those of the published weights.
    """

    needs_logits: ClassVar[bool] = False

    def __init__(
        self,
        width: int,
        *,
        dropout: Annotated[float, "0 <= dropout < 1"] = 0.1,
        pooling: Literal["masked", "original"] = "masked",
        scale: Annotated[float, "0 < scale"] = 1.0,
        initial_score: Annotated[float, "0 <= initial_score <= 1"] = 0.5,
        hidden: Annotated[int, "1 <= hidden <= 1000000"] | None = None,
    ) -> None:
        super().__init__()
        self.pooling, self.scale, self.dropout = pooling, scale, dropout
        self.fc1 = nn.Linear(width, hidden or width // 2)
        self.fc2 = nn.Linear(hidden or width // 2, 1)
        for layer in (self.fc1, self.fc2):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.fc2.bias, initial_score * scale)
        self.wording = SentenceWording()

    def forward(self, output: Output) -> Tensor:
        """Return score_B on the layers' own scale (0 to `scale`), float32."""
        pooled_BD = self.pool(output).to(self.fc1.weight.dtype)
        with full_precision(pooled_BD):  # 8 bits would give many clips the same score
            hidden_BN = self._drop(self.fc1(self._drop(pooled_BD)).relu())
            score_B: Tensor = self.fc2(hidden_BN).float()[:, 0]
        return score_B

    def pool(self, output: Output) -> Tensor:
        """Average the positions of every sample as `pooling` says; returns [B, D]."""
        return super().pool(output) if self.pooling == "masked" else output.padded_mean_BD()

    def load_published(self, state: dict[str, Tensor]) -> None:
        """Take over weights that were trained on 0-100 labels.

        Raises:
            CheckpointError: the published head has another size.
        """
        if state["fc1.weight"].shape != self.fc1.weight.shape:
            sizes = f"{tuple(state['fc1.weight'].shape)} there, {tuple(self.fc1.weight.shape)} here"
            raise CheckpointError(f"the checkpoint's regression head has another size ({sizes}); set head.hidden=null")
        rescaled = {name: t * (self.scale / 100.0) if name.startswith("fc2.") else t for name, t in state.items()}
        self.load_state_dict(rescaled)

    def score(self, model: LanguageModel, inputs: Inputs) -> HeadScores:
        """Score every sample in 0-1."""
        return HeadScores(score_B=self(model(inputs)) / self.scale, reasons={})

    def loss(self, output: Output, label_B: Tensor, criterion: Criterion) -> Tensor:
        """Compare on the layers' own scale, so that a recipe for 0-100 labels keeps its learning rate."""
        return criterion(self(output), label_B * self.scale)

    def _drop(self, value: torch.Tensor) -> Tensor:
        return functional.dropout(value, self.dropout, self.training)
