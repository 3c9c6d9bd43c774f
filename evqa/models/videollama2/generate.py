"""Greedy decoding after right-padded prompts, with a key-value cache.

# B batch, T tokens, N new tokens
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from evqa.models.splice import Spliced

if TYPE_CHECKING:
    from transformers import Qwen2Model


@torch.no_grad()
def generate(
    language: Qwen2Model,
    logits: Callable[[Tensor], Tensor],
    spliced: Spliced,
    answer_B: Tensor,
    max_new_tokens: int,
    *,
    end_id: int,
) -> list[list[int]]:
    """Continue every sample after its position `answer_B`; returns the new ids up to (without) the end token.

    Padding stays between prompt and answer in the cache, hidden by the mask; position ids skip it, so that an answer
    does not depend on its neighbours.
    """
    from transformers import DynamicCache

    num_prompt = int(answer_B.max()) + 1
    mask_BT = torch.arange(num_prompt, device=answer_B.device) <= answer_B.unsqueeze(1)
    cache = DynamicCache(config=language.config)
    hidden_BTD = language(
        inputs_embeds=spliced.embeds_BTD[:, :num_prompt], attention_mask=mask_BT, past_key_values=cache, use_cache=True
    ).last_hidden_state
    hidden_BD = hidden_BTD[torch.arange(len(answer_B), device=answer_B.device), answer_B]
    done_B, columns = torch.zeros_like(answer_B, dtype=torch.bool), []
    for step in range(max_new_tokens):
        next_B = logits(hidden_BD).argmax(-1).masked_fill(done_B, end_id)
        columns.append(next_B)
        done_B = done_B | (next_B == end_id)
        if done_B.all():
            break
        mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(mask_BT), 1)], dim=1)
        hidden_BD = language(
            input_ids=next_B.unsqueeze(1),
            attention_mask=mask_BT,
            position_ids=(answer_B + 1 + step).unsqueeze(1),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[:, 0]
    rows = torch.stack(columns, dim=1).tolist() if columns else [[] for _ in answer_B]
    return [row[: row.index(end_id)] if end_id in row else row for row in rows]
