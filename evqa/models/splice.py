"""Put encoded media into the places that a text keeps for them.

# B batch, T positions, M media tokens of one place, D width
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from evqa.prompts.chat import IGNORED, Encoded
from evqa.types import Inputs, Prepared

PLACEHOLDER = -201  # stands in a conversation's ids where media tokens go; no vocabulary has it


@dataclass(frozen=True, kw_only=True)
class Spliced:
    """Whole sequences, padded on the right: embeddings, which positions are real, where answers are read, targets."""

    embeds_BTD: Tensor
    mask_BT: Tensor
    answer_B: Tensor
    target_BT: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Token ids without media, padded on the right, and what is known of each row on the CPU.

    lengths: real ids of each row. answers: as `Encoded.answer`. places: before which id each stream of media goes.
    target_BT: as `Encoded.targets`; None where no row has any.
    """

    ids_BT: Tensor
    lengths: Sequence[int]
    answers: Sequence[int]
    places: Sequence[Sequence[int]]
    target_BT: Tensor | None = None


def prepare_text(encoded: Encoded) -> Prepared:
    """Take the placeholders out of a conversation and remember where they stood."""
    kept = [index for index, token in enumerate(encoded.ids) if token != PLACEHOLDER]
    gone = [index for index, token in enumerate(encoded.ids) if token == PLACEHOLDER]
    return {
        "ids_T": torch.tensor([encoded.ids[index] for index in kept]),
        "targets_T": torch.tensor([encoded.targets[index] for index in kept]),
        "answer": encoded.answer - sum(index < encoded.answer for index in gone),
        "places": [index - number for number, index in enumerate(gone)],
        "notes": encoded.notes,
    }


def collate_texts(items: Sequence[Prepared], *, pad: int) -> Inputs:
    """Pad ids on the right (`text_BT`, `target_BT` where anything is learned); the counts stay on the CPU."""
    if not items:
        raise ValueError("cannot collate an empty list of samples")
    tensors = {"text_BT": pad_sequence([item["ids_T"] for item in items], batch_first=True, padding_value=pad)}
    targets = [item["targets_T"] for item in items]
    if any(bool((target_T >= 0).any()) for target_T in targets):
        tensors["target_BT"] = pad_sequence(targets, batch_first=True, padding_value=IGNORED)
    host = {
        "lengths": tuple(len(item["ids_T"]) for item in items),
        "answers": tuple(item["answer"] for item in items),
        "num_places": tuple(len(item["places"]) for item in items),
        "places": tuple(place for item in items for place in item["places"]),
    }
    return Inputs(tensors=tensors, host=host)


def texts_of(inputs: Inputs) -> Texts:
    """Read back what `collate_texts` has joined."""
    places = iter(inputs.host["places"])
    return Texts(
        ids_BT=inputs["text_BT"],
        lengths=inputs.host["lengths"],
        answers=inputs.host["answers"],
        places=[list(islice(places, count)) for count in inputs.host["num_places"]],
        target_BT=inputs.tensors.get("target_BT"),
    )


def splice(words_BTD: Tensor, texts: Texts, media: Sequence[Sequence[Tensor]]) -> Spliced:
    """Put the media tokens [M, D] of each row into their places, in order.

    Padded text stays as it was embedded and rows are filled with zero vectors up to the longest one, both false in the
    mask. No real position depends on them; what stands there matters to LMM-EVQA's unmasked mean alone.
    """
    device, rows, lengths, answers, targets = words_BTD.device, [], [], [], []
    for index, (places, tokens) in enumerate(zip(texts.places, media, strict=True)):
        target_T = None if texts.target_BT is None else texts.target_BT[index]
        rows.append(torch.cat(_woven(words_BTD[index], places, [one.to(words_BTD.dtype) for one in tokens])))
        added = [len(one) for one in tokens]
        before = sum(more for place, more in zip(places, added, strict=True) if place <= texts.answers[index])
        lengths.append(texts.lengths[index] + sum(added))
        answers.append(texts.answers[index] + before)
        if target_T is not None:
            ignored = [target_T.new_full((len(one),), IGNORED) for one in tokens]
            targets.append(torch.cat(_woven(target_T, places, ignored)))
    embeds_BTD = pad_sequence(rows, batch_first=True)
    position_T = torch.arange(embeds_BTD.shape[1], device=device)
    return Spliced(
        embeds_BTD=embeds_BTD,
        mask_BT=position_T < torch.tensor(lengths, device=device).unsqueeze(1),
        answer_B=torch.tensor(answers, device=device),
        target_BT=pad_sequence(targets, batch_first=True, padding_value=IGNORED) if targets else None,
    )


def _woven(row: Tensor, places: Sequence[int], media: Sequence[Tensor]) -> list[Tensor]:
    """Cut a row at the places and put the media between the pieces."""
    pieces, start = list[Tensor](), 0
    for place, tokens in zip(places, media, strict=True):
        pieces += [row[start:place], tokens]
        start = place
    return [*pieces, row[start:]]
