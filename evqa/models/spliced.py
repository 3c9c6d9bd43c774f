"""Models that put encoded media between the words of a Qwen2 chat: running, logits, generation.

# B batch, T tokens, D width
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from evqa.models.base import Model
from evqa.models.cached import prefill_spliced
from evqa.models.decoding import stream
from evqa.models.padded import PaddedOutput
from evqa.models.source import Source
from evqa.models.splice import Spliced
from evqa.prompts.chat import Chat
from evqa.prompts.decoding import Decoding
from evqa.types import Inputs, Output


class SplicedModel(Model):
    """A model whose conversations are embedded whole (`sequence`), then read by transformers' Qwen2 (`trunk`)."""

    source: Source[Any]
    chat: Chat
    hide_padding: bool
    lm_head: nn.Linear | None

    @property
    @abstractmethod
    def trunk(self) -> Any:
        """The language model without its LM head."""

    @abstractmethod
    def sequence(self, inputs: Inputs) -> Spliced:
        """Embed whole samples: text, with the tokens of media in their places."""

    def base_name(self) -> str:
        """Name the weights that the model was built from."""
        return self.source.name

    def is_published(self, name: str) -> bool:
        """Every weight was read from the checkpoint, or none: `load_weights` refuses one that lacks some."""
        return self.source.checkpoint is not None

    def forward(self, inputs: Inputs) -> Output:
        """Encode the media, splice them into the text, run the language model."""
        spliced = self.sequence(inputs)
        return PaddedOutput(
            hidden_BTD=self.read(spliced),
            mask_BT=spliced.mask_BT,
            lengths=spliced.lengths,
            answer_B=spliced.answer_B,
            targets=spliced.targets,
            lm_head=self.lm_head,
            to_id=self.chat.word_id,
        )

    def read(self, spliced: Spliced) -> Tensor:
        """Run the language model over spliced sequences; padding is on the right, positions count from 0.

        Without a mask it is causal by its kernel: half of the work, and keys and values are not repeated.
        """
        mask = spliced.mask_BT if self.hide_padding else self._no_mask()
        hidden_BTD: Tensor = self.trunk(
            inputs_embeds=spliced.embeds_BTD, attention_mask=mask, use_cache=False
        ).last_hidden_state
        return hidden_BTD

    def _no_mask(self) -> dict[str, None] | None:
        """None for every kind of layer, where kernels are causal by themselves.

        transformers takes that as it is; of a plain None it makes a mask, or finds that none is needed, for which it
        waits for the device.
        """
        config = self.trunk.config
        is_causal = config._attn_implementation != "eager" and set(config.layer_types) == {"full_attention"}
        return dict.fromkeys(config.layer_types) if is_causal else None

    def generate(self, inputs: Inputs, decoding: Decoding) -> Iterator[list[str]]:
        """Continue every conversation with a key-value cache."""
        with torch.no_grad():
            prefilled = prefill_spliced(self.trunk, self.sequence(inputs), lm_head=self.lm_head)
        return stream(prefilled, decoding, ends={self.chat.end, self.chat.pad}, to_text=self.chat.decode)

    def _no_tokens(self) -> Tensor:
        none_0D: Tensor = self.trunk.embed_tokens.weight[:0]
        return none_0D
