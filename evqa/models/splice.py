"""Put encoded media into the places that a text keeps for them.

# B batch, T positions, M media tokens of one place, D width
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from evqa.models.transfer import on_device
from evqa.prompts.chat import IGNORED, Encoded
from evqa.types import Inputs, Prepared

TARGETS = ("target_rows", "target_places", "target_ids")  # what is learned, in a batch's host values
PLACEHOLDER = -201  # stands in a conversation's ids where media tokens go; no vocabulary has it


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The ids [N] that are learned, with the row and the position that predict each, on the CPU."""

    rows: Sequence[int]
    positions: Sequence[int]
    ids: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Spliced:
    """Whole sequences, padded on the right: embeddings, which positions are real, where answers are read, targets.

    lengths: real positions of each row, on the CPU.
    """

    embeds_BTD: Tensor
    mask_BT: Tensor
    lengths: Sequence[int]
    answer_B: Tensor
    targets: Targets


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Token ids without media, padded on the right, and what is known of each row on the CPU.

    lengths: real ids of each row. answers: as `Encoded.answer`. places: before which id each stream of media goes.
    """

    ids_BT: Tensor
    lengths: Sequence[int]
    answers: Sequence[int]
    places: Sequence[Sequence[int]]
    targets: Targets


def prepare_text(encoded: Encoded) -> Prepared:
    """Take the placeholders out of a conversation and remember where they stood."""
    kept = [index for index, token in enumerate(encoded.ids) if token != PLACEHOLDER]
    gone = [index for index, token in enumerate(encoded.ids) if token == PLACEHOLDER]
    return {
        "ids_T": torch.tensor([encoded.ids[index] for index in kept]),
        "targets": [
            (place, encoded.targets[index]) for place, index in enumerate(kept) if encoded.targets[index] != IGNORED
        ],
        "answer": encoded.answer - sum(index < encoded.answer for index in gone),
        "places": [index - number for number, index in enumerate(gone)],
        "notes": encoded.notes,
    }


def collate_texts(items: Sequence[Prepared], *, pad: int) -> Inputs:
    """Pad ids on the right (`text_BT`); what is learned, and the counts, stay on the CPU."""
    if not items:
        raise ValueError("cannot collate an empty list of samples")
    tensors = {"text_BT": pad_sequence([item["ids_T"] for item in items], batch_first=True, padding_value=pad)}
    learned = [(row, *target) for row, item in enumerate(items) for target in item["targets"]]
    host = {
        **{name: tuple(target[at] for target in learned) for at, name in enumerate(TARGETS)},
        "lengths": tuple(len(item["ids_T"]) for item in items),
        "answers": tuple(item["answer"] for item in items),
        "num_places": tuple(len(item["places"]) for item in items),
        "places": tuple(place for item in items for place in item["places"]),
    }
    return Inputs(tensors=tensors, host=host)


def places_of(token: int, text_BT: Tensor, *, num_tokens: int) -> Tensor:
    """Find the rows and positions [2, N] that a text keeps for media tokens. Raises ValueError for another number."""
    places_2N = (text_BT == token).nonzero().T.contiguous()
    if places_2N.shape[1] != num_tokens:
        raise ValueError(f"the text has token {token} {places_2N.shape[1]} times, for {num_tokens} media tokens")
    return places_2N


def put(words_BTD: Tensor, places_2N: Tensor, tokens_ND: Tensor) -> Tensor:
    """Put media tokens where `places_of` has found their places."""
    return words_BTD.index_put(tuple(places_2N), tokens_ND.to(words_BTD.dtype))


def add(words_BTD: Tensor, places_2N: Tensor, tokens_ND: Tensor) -> Tensor:
    """Add media tokens to what stands in their places."""
    return put(words_BTD, places_2N, words_BTD[tuple(places_2N)] + tokens_ND.to(words_BTD.dtype))


def texts_of(inputs: Inputs) -> Texts:
    """Read back what `collate_texts` has joined."""
    places = iter(inputs.host["places"])
    return Texts(
        ids_BT=inputs["text_BT"],
        lengths=inputs.host["lengths"],
        answers=inputs.host["answers"],
        places=[list(islice(places, count)) for count in inputs.host["num_places"]],
        targets=targets_of(inputs),
    )


def targets_of(inputs: Inputs) -> Targets:
    """Read back what is learned, at its place in the text."""
    rows, places, ids = (inputs.host[name] for name in TARGETS)
    return Targets(rows=rows, positions=places, ids=ids)


def splice(words_BTD: Tensor, texts: Texts, media: Sequence[Sequence[Tensor]]) -> Spliced:
    """Put the media tokens [M, D] of each row into their places, in order.

    Padded text stays as it was embedded and rows are filled with zero vectors up to the longest one, both false in the
    mask. No real position depends on them; what stands there matters to LMM-EVQA's unmasked mean alone.
    """
    rows, added = list[Tensor](), list[list[int]]()
    for words_TD, places, tokens in zip(words_BTD, texts.places, media, strict=True):
        rows.append(torch.cat(_woven(words_TD, places, [one.to(words_BTD.dtype) for one in tokens])))
        added.append([len(one) for one in tokens])

    def shifted(row: int, place: int) -> int:
        """Where an id of the text stands behind the media before it."""
        before = zip(texts.places[row], added[row], strict=True)
        return place + sum(count for start, count in before if start <= place)

    lengths = [length + sum(counts) for length, counts in zip(texts.lengths, added, strict=True)]
    embeds_BTD = pad_sequence(rows, batch_first=True)
    device, targets = embeds_BTD.device, texts.targets
    position_T = torch.arange(embeds_BTD.shape[1], device=device)
    return Spliced(
        embeds_BTD=embeds_BTD,
        mask_BT=position_T < on_device(lengths, device).unsqueeze(1),
        lengths=lengths,
        answer_B=on_device([shifted(*answer) for answer in enumerate(texts.answers)], device),
        targets=replace(
            targets, positions=[shifted(*one) for one in zip(targets.rows, targets.positions, strict=True)]
        ),
    )


def _woven(row: Tensor, places: Sequence[int], media: Sequence[Tensor]) -> list[Tensor]:
    """Cut a row at the places and put the media between the pieces."""
    pieces, start = list[Tensor](), 0
    for place, tokens in zip(places, media, strict=True):
        pieces += [row[start:place], tokens]
        start = place
    return [*pieces, row[start:]]
