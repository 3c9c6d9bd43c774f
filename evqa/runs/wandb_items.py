"""The items of a split as a table of W&B: a small picture, title, score, label and error, the largest errors first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evqa.errors import MediaError
from evqa.media.limits import Limits
from evqa.scoring.score import Score
from evqa.types import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PICTURE_PIXELS = 96 * 96
COLUMNS = ["id", "picture", "title", "score", "label", "error"]


def item_table(scores: Iterable[Score], records: Sequence[Record], *, at_most: int, limits: Limits) -> Any:
    """Make a `wandb.Table` of scored items, `at_most` of them; error: score - label, in the label's own scale.

    Items without a label come last, in their order. An item whose file shows no picture has none.
    """
    import wandb

    chosen = sorted((score for score in scores if score.value is not None), key=_by_error)[:at_most]
    record_of = {record.id: record for record in records}
    rows = []
    for score in chosen:
        record = record_of[score.id]
        picture_HWC = small_picture(record.paths[0], limits) if record.paths else None
        image = None if picture_HWC is None else wandb.Image(picture_HWC, file_type="jpg")
        rows.append([score.id, image, record.texts.get("title", ""), score.value, score.label, _error(score)])
    return wandb.Table(columns=[*COLUMNS], data=rows, allow_mixed_types=True)


def _error(score: Score) -> float | None:
    return None if score.label is None or score.value is None else score.value - score.label


def _by_error(score: Score) -> float:
    error = _error(score)
    return 1.0 if error is None else -abs(error)


def small_picture(path: Path, limits: Limits) -> NDArray[np.uint8] | None:
    """Return one frame of a file, of its middle, about PICTURE_PIXELS large; None where none can be read."""
    from evqa.media.clip import ClipSpec, FrameStream
    from evqa.media.decoding import decode_isolated
    from evqa.media.resize import Resize
    from evqa.media.sampling import FrameSampling

    small = Resize(mode="budget", multiple=8, min_pixels=PICTURE_PIXELS // 2, max_pixels=PICTURE_PIXELS)
    stream = FrameStream(sampling=FrameSampling(policy="uniform", count=1), resize=small)
    try:
        clip = decode_isolated(path, ClipSpec(frames=stream, limits=limits))
    except MediaError:
        return None
    return None if isinstance(clip, str) or clip.frames_FHWC is None else clip.frames_FHWC[0].numpy()
