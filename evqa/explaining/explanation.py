"""What is found out about one score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evqa.types import LabelScale

CAUTION = (
    "These are scores of altered copies of the video. They show what this model reacts to, not what makes people stay "
    "or what they find good."
)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The score of a copy that ends after `seconds`, in the label's scale."""

    seconds: float
    score: float


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """The score of a copy in which something is hidden, and by how much it differs from the whole video's.

    what: `second 3` (from 3 s to 4 s: grey pictures, no sound), `picture`, `sound`, or `text` (title, description and
    what else the question names). num_frames: frames that the model reads of that second; None for the others.
    """

    what: str
    score: float
    change: float
    num_frames: int | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A video's score; as a function of its first seconds; and with seconds and modalities hidden in turn.

    seconds: the length; 0 of a still image, which has none. notes: what the file lacks, and what could not
    be altered, with the reason.
    """

    id: str
    scale: LabelScale
    modal: str
    score: float
    seconds: float
    openings: Sequence[Opening]
    hidden_seconds: Sequence[Hidden]
    hidden_modalities: Sequence[Hidden]
    notes: Sequence[str]

    def rows(self) -> Iterator[tuple[str, float, float]]:
        """Yield what was left of the video, or hidden in it; the score; its difference from the whole video's."""
        for opening in self.openings:
            yield f"first {opening.seconds:g} s", opening.score, opening.score - self.score
        for hidden in (*self.hidden_seconds, *self.hidden_modalities):
            yield f"without {hidden.what}", hidden.score, hidden.change

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `caution` says how to read them."""
        values = asdict(self)
        scale = values.pop("scale")
        return (
            {"id": values.pop("id"), "label": scale["name"], "range": list(scale["range"])}
            | values
            | {"caution": CAUTION}
        )
