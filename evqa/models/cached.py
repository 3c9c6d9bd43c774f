"""Prompts in the key-value cache of a language model of transformers.

# B batch, T positions, D width, V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from evqa.models.decoding import Prefilled
from evqa.models.lm_head import logits_of
from evqa.models.splice import Spliced


class CachedPrompts:
    """Right-padded prompts, each up to its answer's place, and the tokens that follow them.

    Padding stays between prompt and answer in the cache, hidden by the mask; positions skip it, so that an answer does
    not depend on its neighbours. language: with `input_ids`, `position_ids` and a cache. num_axes: of a position (three
    in M-RoPE, where new text stands at the same place on all of them).
    """

    def __init__(self, language: Any, *, lm_head: nn.Module | None, answer_B: Tensor, num_axes: int = 1) -> None:
        from transformers import DynamicCache

        # With gradient checkpointing a model in training mode would go on without its cache.
        assert not language.training, "call eval() before generate()"
        self.language, self.lm_head, self.answer_B, self.num_axes = language, lm_head, answer_B, num_axes
        self.num_tokens = int(answer_B.max()) + 1
        self.mask_BT = torch.arange(self.num_tokens, device=answer_B.device) <= answer_B.unsqueeze(1)
        # transformers calls it `cache` since 5.24
        name = "cache" if "cache" in signature(language.forward).parameters else "past_key_values"
        self.cache = {name: DynamicCache(config=language.config)}

    def prefill(
        self, read: Callable[..., Any], *, position_B: Tensor, prompts: Sequence[Sequence[int]] = ()
    ) -> Prefilled:
        """Fill the cache by one call of the model, which gets mask and cache.

        position_B: of the answer's place. prompts: see `Prefilled`.
        """
        output = read(attention_mask=self.mask_BT.long(), **self.cache, use_cache=True)
        rows_B = torch.arange(len(self.answer_B), device=self.answer_B.device)
        self.position_B = position_B
        logits_BV = logits_of(self.lm_head, output.last_hidden_state[rows_B, self.answer_B])
        return Prefilled(logits_BV=logits_BV, step=self.step, prompts=prompts)

    def step(self, ids_B: Tensor) -> Tensor:
        """Append a token to every row; returns the logits behind it."""
        self.mask_BT = torch.cat([self.mask_BT, self.mask_BT.new_ones(len(ids_B), 1)], dim=1)
        self.position_B = self.position_B + 1
        position_B1 = self.position_B.unsqueeze(1)
        output = self.language(
            input_ids=ids_B.unsqueeze(1),
            attention_mask=self.mask_BT.long(),
            position_ids=position_B1 if self.num_axes == 1 else position_B1.expand(self.num_axes, -1, -1),
            **self.cache,
            use_cache=True,
        )
        return logits_of(self.lm_head, output.last_hidden_state[:, 0])


def prefill_spliced(language: Any, spliced: Spliced, *, lm_head: nn.Module | None) -> Prefilled:
    """Read spliced sequences up to their answers' places; positions count from 0."""
    cached = CachedPrompts(language, lm_head=lm_head, answer_B=spliced.answer_B)
    embeds_BTD = spliced.embeds_BTD[:, : cached.num_tokens]
    return cached.prefill(
        lambda **cache: language(inputs_embeds=embeds_BTD, **cache),
        position_B=spliced.answer_B,
    )
