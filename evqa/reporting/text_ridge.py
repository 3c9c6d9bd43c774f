"""How far titles and descriptions alone go: ridge regression on hashed pieces of their bytes.

Every run of 2, 3 or 4 bytes of a text is a feature (so that no language needs a list of words), hashed into a fixed
number of columns and weighted by how rare it is (TF-IDF); each text has length one. Seconds for 20,000 texts.

# N texts, F features
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evqa.metrics import srocc
from evqa.metrics.correlation import Vector
from evqa.types import Record

SIZES = (2, 3, 4)  # bytes of a piece
NUM_FEATURES = 2**18
MAX_TEXTS = 20_000  # that are fitted; of more so many are drawn
MIN_TEXTS = 30
STRENGTHS = (0.3, 1.0, 3.0)  # of the penalty; chosen on a fifth of the fitted texts
NUM_STEPS = 50  # of the solver
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # of the hash (Knuth, The Art of Computer Programming 3, section 6.4)


@dataclass(frozen=True, kw_only=True)
class TextScores:
    """Scores of a report's items by their texts alone. num_fitted: other items that the regression was fitted on."""

    scores_N: Vector
    num_fitted: int


def text_scores(ids: Sequence[str], records: Mapping[str, Record], others: Sequence[Record]) -> TextScores | None:
    """Score items by a regression on the titles and descriptions of others; None where they have none, or are few."""
    known = [(text, record.label) for record in others if (text := _text_of(record))]
    wanted = [_text_of(records[id_]) if id_ in records else "" for id_ in ids]
    if len(known) < MIN_TEXTS or not any(wanted):
        return None
    labels_N = np.array([label for _, label in known], dtype=float)
    scores_N = predict_from_texts([text for text, _ in known], labels_N, wanted=wanted)
    return TextScores(scores_N=scores_N, num_fitted=min(len(known), MAX_TEXTS))


def _text_of(record: Record) -> str:
    return "\n".join(filter(None, (record.texts.get(name) for name in ("title", "description"))))


def predict_from_texts(texts: Sequence[str], labels_N: Vector, *, wanted: Sequence[str], seed: int = 0) -> Vector:
    """Scores of the wanted texts by a regression of labels on other texts, of which there are at least MIN_TEXTS."""
    order_N = np.random.default_rng(seed).permutation(len(texts))[:MAX_TEXTS]
    counts_NF, labels_N = _pieces([texts[place] for place in order_N.tolist()]), labels_N[order_N]
    rarity_F = np.log((1 + len(labels_N)) / (1 + counts_NF.getnnz(axis=0))) + 1  # smoothed, so that none is 0
    known_NF, wanted_NF = (_weighted(one_NF, rarity_F) for one_NF in (counts_NF, _pieces(wanted)))
    fifth = len(labels_N) // 5
    held_out = [
        srocc(_fitted(known_NF[fifth:], labels_N[fifth:], known_NF[:fifth], strength), labels_N[:fifth]).value
        for strength in STRENGTHS
    ]
    best = STRENGTHS[int(np.argmax(np.nan_to_num(held_out, nan=-2.0)))]
    return _fitted(known_NF, labels_N, wanted_NF, best)


def _fitted(known_NF: Any, labels_N: Vector, wanted_NF: Any, strength: float) -> Vector:
    from scipy.sparse.linalg import lsqr

    mean = labels_N.mean()
    weight_F = lsqr(known_NF, labels_N - mean, damp=strength, iter_lim=NUM_STEPS)[0]
    return np.asarray(mean + wanted_NF @ weight_F)


def _weighted(counts_NF: Any, rarity_F: NDArray[np.float64]) -> Any:
    """TF-IDF, each text of length one; an empty text stays zero."""
    weighted_NF = counts_NF.copy()
    weighted_NF.data = (1 + np.log(counts_NF.data)) * rarity_F[counts_NF.indices]
    length_N = np.sqrt(np.asarray(weighted_NF.multiply(weighted_NF).sum(axis=1)).ravel())
    weighted_NF.data /= np.repeat(length_N, np.diff(weighted_NF.indptr))
    return weighted_NF


def _pieces(texts: Sequence[str]) -> Any:
    """How often each text has each hashed piece, a sparse matrix [N, F]."""
    from scipy.sparse import coo_matrix

    encoded = [text.casefold().encode("utf-8", "replace") for text in texts]
    bytes_B = np.frombuffer(b"".join(encoded), dtype=np.uint8).astype(np.uint64)
    owner_B = np.repeat(np.arange(len(encoded)), [len(one) for one in encoded])
    rows, columns = list[NDArray[Any]](), list[NDArray[Any]]()
    for size in SIZES:
        count = len(bytes_B) - size + 1
        if count < 1:
            continue
        hash_P = np.full(count, size, dtype=np.uint64)
        for at in range(size):
            hash_P = (hash_P + bytes_B[at : at + count] + np.uint64(1)) * MULTIPLIER
        is_whole_P = owner_B[:count] == owner_B[size - 1 :]
        rows.append(owner_B[:count][is_whole_P])
        columns.append((hash_P >> np.uint64(46))[is_whole_P].astype(np.int64))
    row_P, column_P = (np.concatenate(parts) if parts else np.empty(0, np.int64) for parts in (rows, columns))
    found = coo_matrix((np.ones(len(row_P)), (row_P, column_P)), shape=(len(encoded), NUM_FEATURES))
    return found.tocsr()
