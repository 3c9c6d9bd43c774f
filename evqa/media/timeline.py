"""When decoded frames come up, where their time stamps have gaps, repeats or jumps.

# All times are in ticks of the stream's time base; lists have one entry a frame, in the order of display.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_MAX_REORDERING = 16  # pictures that H.264 and HEVC may hold back


class Stamp(NamedTuple):
    """What a decoder says of one frame; decoding is the decoding time of the packet that brought it out."""

    display: int | None
    decoding: int | None
    duration: int


def is_plausible(stamps: Sequence[int]) -> bool:
    """Whether display times in decoding order can be taken as they are: all different, none far from its place."""
    return len(set(stamps)) == len(stamps) and are_in_place(stamps)


def are_in_place(stamps: Sequence[int]) -> bool:
    """Whether no picture would be shown more than 16 pictures from its place in the file; else its time is wrong."""
    in_order = sorted(range(len(stamps)), key=stamps.__getitem__)
    return all(abs(place - number) <= _MAX_REORDERING for place, number in enumerate(in_order))


def display_times(frames: Sequence[Stamp], usual_duration: int) -> list[int]:
    """Non-decreasing display times: FFmpeg's best-effort ones, with only the bad ones replaced."""
    steps = [frame.duration or usual_duration for frame in frames]
    return _filled(without_spikes(best_effort(frames)), steps)


def best_effort(frames: Sequence[Stamp]) -> list[int | None]:
    """FFmpeg's `best_effort_timestamp` (libavcodec/decode.c, `guess_correct_pts`), which PyAV does not give out.

    Display times are used until more of them than of the decoding times fail to increase; from then on the latter.
    """
    faulty_display = faulty_decoding = 0
    last_display = last_decoding = -(1 << 63)
    times: list[int | None] = []
    for display, decoding, _ in frames:
        if decoding is not None:
            faulty_decoding += decoding <= last_decoding
            last_decoding = decoding
        elif display is not None:
            last_decoding = display
        if display is not None:
            faulty_display += display <= last_display
            last_display = display
        elif decoding is not None:
            last_display = decoding
        trusts_display = faulty_display <= faulty_decoding or decoding is None
        times.append(display if trusts_display and display is not None else decoding)
    return times


def without_spikes(times: Sequence[int | None]) -> list[int | None]:
    """Forget a time that lies outside its two neighbours although those are in order."""
    kept = list(times)
    for number in range(1, len(kept) - 1):
        before, time, after = kept[number - 1 : number + 2]
        if before is not None and time is not None and after is not None and before <= after:
            kept[number] = time if before <= time <= after else None
    return kept


def _filled(times: Sequence[int | None], steps: Sequence[int]) -> list[int]:
    """Let a frame without a time follow the one before; where times start again, continue from there."""
    first = next((number for number, time in enumerate(times) if time is not None), None)
    following = 0 if first is None else (times[first] or 0) - sum(steps[:first])
    shift, filled = 0, list[int]()
    for time, step in zip(times, steps, strict=True):
        if time is None:
            time = following - shift
        if filled and time + shift < filled[-1]:
            shift = following - time
        filled.append(time + shift)
        following = filled[-1] + step
    return filled
