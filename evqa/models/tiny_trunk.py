"""The embedded model's causal transformer, with a cache of keys and values for generation.

# B batch, H heads, T positions, D width
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evqa.errors import ConfigError


@dataclass
class Past:
    """What a layer has read: keys and values [B, H, T, D]; None before the first reading."""

    key: Tensor | None = None
    value: Tensor | None = None

    def extended(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values, and return all."""
        self.key = key if self.key is None else torch.cat([self.key, key], dim=2)
        self.value = value if self.value is None else torch.cat([self.value, value], dim=2)
        return self.key, self.value


class MatchingNorm(nn.LayerNorm):
    """Takes weights in the type of what is normed: those of shards may be bfloat16, which a CPU does not autocast."""

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """Norm the channels of every position."""
        weight_D, bias_D = self.weight.to(hidden_BTD.dtype), self.bias.to(hidden_BTD.dtype)
        return functional.layer_norm(hidden_BTD, self.normalized_shape, weight_D, bias_D, self.eps)


class Block(nn.Module):
    """A pre-norm transformer layer with the projection names that LoRA recipes expect."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_attention, self.norm_mlp = MatchingNorm(width), MatchingNorm(width)
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.o_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.up_proj, self.down_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, hidden_BTD: Tensor, *, past: Past | None = None, mask_BT: Tensor | None = None) -> Tensor:
        """Attend causally; padding lies on the right, so no real position attends to it.

        past: is read and extended. mask_BT: real positions of all that was read, for one new position a row.
        """
        normed_BTD = self.norm_attention(hidden_BTD)
        query, key, value = (
            projection(normed_BTD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        key, value = (key, value) if past is None else past.extended(key, value)
        if mask_BT is None:
            attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask_BT[:, None, None])
        hidden_BTD = hidden_BTD + self.o_proj(attended.transpose(1, 2).flatten(2))
        expanded_BTD: Tensor = self.down_proj(functional.gelu(self.up_proj(self.norm_mlp(hidden_BTD))))
        return hidden_BTD + expanded_BTD


class Trunk(nn.Module):
    """The causal transformer: learned positions, layers, final norm."""

    def __init__(self, width: int, *, num_layers: int, num_heads: int, max_tokens: int) -> None:
        super().__init__()
        self.position = nn.Embedding(max_tokens, width)
        self.layers = nn.ModuleList(Block(width, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, embeds_BTD: Tensor, *, past: list[Past] | None = None) -> Tensor:
        """Return the hidden states after the final norm. past: one a layer, filled for `step`."""
        self._check_length(embeds_BTD.shape[1])
        hidden_BTD = embeds_BTD + self.position.weight[: embeds_BTD.shape[1]]
        return self._through(hidden_BTD, past)

    def step(self, embeds_BD: Tensor, *, position_B: Tensor, mask_BT: Tensor, past: list[Past]) -> Tensor:
        """Read one more position a row; returns its hidden states [B, D].

        position_B: of the new positions. mask_BT: which of those that were read, these included, are real.
        """
        self._check_length(int(position_B.max()) + 1)
        hidden_B1D = (embeds_BD + self.position(position_B)).unsqueeze(1)
        return self._through(hidden_B1D, past, mask_BT)[:, 0]

    def _through(self, hidden_BTD: Tensor, past: list[Past] | None, mask_BT: Tensor | None = None) -> Tensor:
        for number, layer in enumerate(self.layers):
            hidden_BTD = layer(hidden_BTD, past=past and past[number], mask_BT=mask_BT)
        normed_BTD: Tensor = self.norm(hidden_BTD)
        return normed_BTD

    def _check_length(self, length: int) -> None:
        limit = len(self.position.weight)
        if length > limit:
            raise ConfigError(
                [f"model.max_tokens={limit}: a sample has {length} tokens; use fewer frames or less sound"]
            )
