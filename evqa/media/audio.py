"""Which part of the sound is heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class AudioWindow:
    """Which part of the sound is heard.

    policy: whole, first_n_seconds (the first `seconds`), clips_8x2 (LMM-EVQA: eight clips of two seconds spread over
        the whole track, joined to 16 s).
    """

    policy: Literal["whole", "first_n_seconds", "clips_8x2"] = "first_n_seconds"
    seconds: float = 8.0
