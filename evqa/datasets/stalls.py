"""What the questions of VQA2's streaming lists say of stalls, read back as 0 or 1 for every frame.

Version 1 of a list spells the flags out. Version 2 says in sums how long the video stalls, how often, and how long it
plays after the last stall: that places one stall, but not several.
"""

from __future__ import annotations

import re

_FLAGS = re.compile(r"stalling information of each frame is shown as follows: ([01]+)")
_SUMS = re.compile(
    r"total stalling duration of this video is (\d+) frames, accounting for ([\d.]+) percent of the total duration\. "
    r"The number of stalling events of the video is (\d+)\. The time elapsed from the end of the last stalling event "
    r"to the end of the video is (\d+) frames"
)
_SMOOTH = "The video plays smoothly, without any stalling happens."


def stalling_of(question: str) -> str | None:
    """Return 0 or 1 a frame, "none" for a video that plays smoothly; None where the words do not tell."""
    if flags := _FLAGS.search(question):
        return flags[1]
    if _SMOOTH in question:
        return "none"
    sums = _SUMS.search(question)
    if sums is None or sums[3] != "1" or float(sums[2]) <= 0:
        return None
    stalled, rest = int(sums[1]), int(sums[4])
    before = round(100 * stalled / float(sums[2])) - stalled - rest  # the percentage has six decimals
    return "0" * before + "1" * stalled + "0" * rest if before >= 0 else None


def has_sums(question: str) -> bool:
    """Whether a question gives sums."""
    return _SUMS.search(question) is not None
