"""What heads read of right-padded rows.

# B batch, T positions, D width, N chosen positions, V vocabulary, L chosen words
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from evqa.models.lm_head import logits_of
from evqa.models.splice import Targets
from evqa.models.transfer import on_device
from evqa.types import Output


@dataclass(frozen=True, kw_only=True)
class PaddedOutput(Output):
    """hidden_BTD: after the final norm. mask_BT: true at real positions. answer_B: see `Output.answer_BD`.

    lengths: real positions of each row, on the CPU. targets: what is learned. lm_head: the model's, None where it has
    none. to_id: looks a word up.
    """

    hidden_BTD: Tensor
    mask_BT: Tensor
    lengths: Sequence[int]
    answer_B: Tensor
    targets: Targets
    lm_head: nn.Module | None
    to_id: Callable[[str], int]

    def mean_BD(self) -> Tensor:
        """Mean over the real positions, float32."""
        weight_BT1 = self.mask_BT.unsqueeze(-1).float()
        return (self.hidden_BTD.float() * weight_BT1).sum(1) / weight_BT1.sum(1).clamp_min(1.0)

    def padded_mean_BD(self) -> Tensor:
        """Mean over all positions of the row."""
        return self.hidden_BTD.mean(1)

    def answer_BD(self) -> Tensor:
        """Hidden state at the answer's place."""
        index_B1D = self.answer_B.view(-1, 1, 1).expand(-1, 1, self.hidden_BTD.shape[-1])
        return self.hidden_BTD.gather(1, index_B1D)[:, 0]

    def learned(self) -> tuple[Tensor, Tensor]:
        """Positions with a target, row by row."""
        hidden_ND, length = self.hidden_BTD.flatten(0, 1), self.hidden_BTD.shape[1]
        places = [row * length + at for row, at in zip(self.targets.rows, self.targets.positions, strict=True)]
        chosen_N, ids_N = (on_device(values, hidden_ND.device) for values in (places, self.targets.ids))
        return hidden_ND.index_select(0, chosen_N), ids_N

    def num_learned(self) -> int:
        """Count the positions with a target."""
        return len(self.targets.ids)

    def learned_of(self) -> Sequence[int]:
        """Row of every position with a target."""
        return self.targets.rows

    def logits(self, hidden_ND: Tensor, words: Sequence[int] | None = None) -> Tensor:
        """Apply the LM head."""
        return logits_of(self.lm_head, hidden_ND, words)

    def word_id(self, word: str) -> int:
        """Look a word up in the model's vocabulary."""
        return self.to_id(word)

    def num_padded(self) -> tuple[int, int]:
        """Count false positions of the mask, and all."""
        positions = self.mask_BT.numel()
        return positions - sum(self.lengths), positions

    def zero(self) -> Tensor:
        """Sum of all hidden states, times zero."""
        return self.hidden_BTD.sum() * 0.0
