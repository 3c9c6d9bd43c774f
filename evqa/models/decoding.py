"""The decoding loop of all models: from the logits behind a prompt to text that is streamed.

# B batch, V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evqa.models.text_stream import TextStream
from evqa.prompts.decoding import Decoding


@dataclass(frozen=True, kw_only=True)
class Prefilled:
    """Prompts that a model has read, once.

    logits_BV: of every row's first new token. step: appends one token to every row [B] and returns the logits behind it
    [B, V]; rows that have ended get an end token. prompts: ids of each row that the repetition penalty takes as written
    already. As in transformers, a prompt that was given as embeddings has none: then only new tokens count.
    """

    logits_BV: Tensor
    step: Callable[[Tensor], Tensor]
    prompts: Sequence[Sequence[int]] = ()


@torch.no_grad()
def stream(
    prefilled: Prefilled, decoding: Decoding, *, ends: Collection[int], to_text: Callable[[Sequence[int]], str]
) -> Iterator[list[str]]:
    """Yield the next piece of every row's text, once a token, until all rows have ended.

    ends: tokens that end a row and are not part of its text. to_text: decodes tokens.
    """
    logits_BV, filler = prefilled.logits_BV, min(ends)
    choose = Chooser(decoding, logits_BV, prompts=prefilled.prompts)
    rows = [TextStream(to_text, stop=decoding.stop) for _ in logits_BV]
    for number in range(1, decoding.max_new_tokens + 1):
        ids = choose(logits_BV).tolist()
        pieces = [_piece(row, token, ends) for row, token in zip(rows, ids, strict=True)]
        if number == decoding.max_new_tokens:
            pieces = [piece + _rest(row) for row, piece in zip(rows, pieces, strict=True)]
        yield pieces
        if all(row.has_ended for row in rows):
            return
        following = [filler if row.has_ended else token for row, token in zip(rows, ids, strict=True)]
        logits_BV = prefilled.step(torch.tensor(following, device=logits_BV.device))


def _piece(row: TextStream, token: int, ends: Collection[int]) -> str:
    if row.has_ended:
        return ""
    return row.finish() if token in ends else row.push(token)


def _rest(row: TextStream) -> str:
    return "" if row.has_ended else row.finish()


class Chooser:
    """Chooses every row's next token: the likeliest, or one that is drawn.

    The n-th token of every row is drawn with the n-th number of the seed, so that it depends on the row's own logits
    and not on its neighbours. Penalty, temperature, top_k and top_p apply in this order, as in transformers.
    """

    def __init__(self, decoding: Decoding, logits_BV: Tensor, *, prompts: Sequence[Sequence[int]] = ()) -> None:
        self.decoding = decoding
        self._draw = torch.Generator().manual_seed(decoding.seed)
        self._written_BV = torch.zeros_like(logits_BV, dtype=torch.bool)
        for row, ids in enumerate(prompts):
            self._written_BV[row, list(ids)] = True

    def __call__(self, logits_BV: Tensor) -> Tensor:
        """Return ids [B] for logits of the next token."""
        penalty = self.decoding.repetition_penalty
        logits_BV = logits_BV.float()
        if penalty != 1.0:
            logits_BV = torch.where(self._written_BV, penalised(logits_BV, penalty), logits_BV)
        if self.decoding.temperature:
            number = float(torch.rand((), generator=self._draw, dtype=torch.float64))
            ids_B = drawn(logits_BV, self.decoding, number)
        else:
            ids_B = logits_BV.argmax(-1)
        self._written_BV.scatter_(1, ids_B.unsqueeze(1), True)
        return ids_B


def penalised(logits_BV: Tensor, penalty: float) -> Tensor:
    """Make tokens less likely (Keskar et al., CTRL, 2019, section 4.1; negative logits as in transformers)."""
    return torch.where(logits_BV < 0, logits_BV * penalty, logits_BV / penalty)


def drawn(logits_BV: Tensor, decoding: Decoding, number: float) -> Tensor:
    """Draw ids [B] with a number in 0-1 that goes through the tokens from the likeliest on."""
    scaled_BV = (logits_BV - logits_BV.amax(-1, keepdim=True)) / decoding.temperature
    scaled_BV, order_BV = scaled_BV.sort(dim=-1, descending=True, stable=True)
    if 0 < decoding.top_k < scaled_BV.shape[-1]:
        least_B1 = scaled_BV[:, decoding.top_k - 1 : decoding.top_k]
        scaled_BV = scaled_BV.masked_fill(scaled_BV < least_B1, -torch.inf)  # tokens as likely as the last one stay
    chance_BV = scaled_BV.softmax(-1)
    before_BV = chance_BV.cumsum(-1) - chance_BV  # of all likelier tokens
    chance_BV = chance_BV.masked_fill(before_BV >= decoding.top_p, 0.0)
    chance_BV[:, 0] += chance_BV[:, 0] == 0  # no rounding leaves nothing
    reached_BV = chance_BV.cumsum(-1)
    place_B = (reached_BV <= number * reached_BV[:, -1:]).sum(-1)
    place_B = place_B.minimum((chance_BV > 0).sum(-1) - 1)
    ids_B: Tensor = order_BV.gather(1, place_B.unsqueeze(1))[:, 0]
    return ids_B
