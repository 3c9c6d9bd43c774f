"""Logits of hidden states.

# N positions, D width, V vocabulary, L chosen words
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

from evqa.errors import ConfigError
from evqa.heads.precision import full_precision
from evqa.models.transfer import on_device


def logits_of(lm_head: Any, hidden_ND: Tensor, words: Sequence[int] | None = None) -> Tensor:
    """Map hidden states to logits [N, V] of all words, in the LM head's type, or to float32 ones [N, L] of some.

    bfloat16 has 8 bits: logits around 20 are told apart in steps of 0.125, so that many scores would be equal. Raises
    ConfigError where there is no LM head.
    """
    if lm_head is None:
        raise ConfigError(["this model was built without its LM head; choose a head that reads no logits"])
    if words is None:
        logits_NV: Tensor = lm_head(hidden_ND.to(lm_head.weight.dtype))
        return logits_NV
    with full_precision(hidden_ND):
        return functional.linear(
            hidden_ND.float(), lm_head.weight.index_select(0, on_device(words, hidden_ND.device)).float()
        )
