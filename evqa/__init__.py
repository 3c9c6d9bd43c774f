"""Predict how engaging a short video is, and how good it looks, with large multimodal models."""

import os
import sys

__version__ = "0.1.0"
__all__ = ["load"]

if sys.argv and os.path.basename(sys.argv[0]) in ("-m", "evqa"):  # noqa: PTH119  (a command; not imported by a script)
    if not sys.flags.safe_path and sys.argv[0] == "-m" and sys.path[0] != os.path.dirname(__path__[0]):  # noqa: PTH120
        del sys.path[0]  # the current folder, before anything else is imported: beside data may lie a `typing.py`
    from evqa.machine.program import begin

    begin()

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evqa.scoring.scorer import Scorer


def load(
    place: "str | os.PathLike[str]",
    *,
    device: str = "auto",
    checkpoint: str = "best",
    overrides: "Sequence[str]" = (),
    modal: str | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
) -> "Scorer":
    """Load a scorer: `for score in evqa.load(PLACE).score(["a.mp4", "b.mp4"]): print(score.id, score.value)`.

    PLACE is a run folder, a folder that `evqa merge` wrote, a published checkpoint with its own head, or a name in
    conf/scorer; evqa.scoring.load has the arguments. Nothing heavy is imported before the first call.
    """
    from evqa.scoring.load import load as load_scorer

    return load_scorer(
        place,
        device=device,
        checkpoint=checkpoint,
        overrides=overrides,
        modal=modal,
        batch_size=batch_size,
        workers=workers,
    )
