"""Putting picture and sound tokens into the place that the text keeps for them.

# B batch, T tokens, M media tokens of one sample, D width
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

PLACEHOLDER = -201  # stands in the token ids where the media tokens go; no vocabulary has it


@dataclass(frozen=True)
class Spliced:
    """Embeddings of whole sequences. shift_B: how far text after the placeholder has moved."""

    embeds_BTD: Tensor
    mask_BT: Tensor
    shift_B: Tensor


def splice(embedding: nn.Embedding, text_BT: Tensor, mask_BT: Tensor, media: Sequence[Tensor]) -> Spliced:
    """Replace each sample's one placeholder by its media tokens [M, D].

    Padded text stays embedded as pad tokens and sequences are filled with zero vectors up to the longest one, both
    false in the mask. No real position depends on them; what stands there matters to LMM-EVQA's unmasked mean alone.
    """
    places = (text_BT == PLACEHOLDER).int().argmax(1).tolist()
    words_BTD = embedding(text_BT.clamp_min(0))
    rows, masks = [], []
    for words, mask, place, tokens in zip(words_BTD, mask_BT, places, media, strict=True):
        assert text_BT[0, place] == PLACEHOLDER or len(set(places)) > 1, "a text without placeholder"
        rows.append(torch.cat([words[:place], tokens.to(words.dtype), words[place + 1 :]]))
        masks.append(torch.cat([mask[:place], mask.new_ones(len(tokens)), mask[place + 1 :]]))
    return Spliced(
        embeds_BTD=nn.utils.rnn.pad_sequence(rows, batch_first=True),
        mask_BT=nn.utils.rnn.pad_sequence(masks, batch_first=True),
        shift_B=torch.tensor([len(tokens) - 1 for tokens in media], device=text_BT.device),
    )
