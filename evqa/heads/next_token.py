"""Next-token loss on the words of a conversation that are learned.

# B batch, D width, N learned tokens
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from evqa.types import Output


def next_token_loss(output: Output) -> Tensor:
    """Cross-entropy, averaged over all learned tokens of a batch; 0 where there are none."""
    hidden_ND, ids_N = output.learned()
    if not len(ids_N):
        return output.zero()
    return functional.cross_entropy(output.logits(hidden_ND).float(), ids_N)
