"""Channel layouts of sound, brought into FFmpeg's own order before a decoder is opened.

PyAV 18.0 and 18.1 copy a layout by value. Where a layout lists its channels one by one (dual mono, 7.1 in another
order: FFmpeg's custom order), the list then has two owners, both free it, and the heap is corrupt: `.channels`,
`.layout` and every decoded frame do that. PyAV 19 copies the list. Setting a layout on the unopened decoder ends it in
both: the setter overwrites the decoder's copy without freeing it, so that what was asked for is the only owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
from av.audio.layout import AudioLayout

# Names of FFmpeg's channel positions; the place in this list is the bit in a channel mask.
_POSITIONS = "FL FR FC LFE BL BR FLC FRC BC SL SR TC TFL TFC TFR TBL TBC TBR"
_PLACE = {name: place for place, name in enumerate(_POSITIONS.split(" "))}
PYAV_VERSION = int(av.__version__.split(".")[0])
_USAC, _ESCAPED_TYPE = 42, 31  # audio object types of MPEG-4
_PLAIN_CHANNELS = range(1, 8)  # USAC's channel configurations that name an ordinary layout
_OPUS_AMBISONIC = range(2, 4)  # Opus' mapping families with free layouts


@dataclass(frozen=True, kw_only=True)
class Channels:
    """A sound track's channels.

    count: 0 where the file does not say. order: in which order decoded channels are to be taken, None as they come.
    """

    count: int
    order: tuple[int, ...] | None = None


def settle_channels(codec: Any) -> Channels:
    """Give a decoder that is not open yet a layout of FFmpeg's native order; nothing else may ask it for its layout.

    Where the same position is named twice, or none is known, the usual layout of that many channels is assumed, as
    the ffmpeg program does.
    """
    layout = codec.layout
    names = [channel.name for channel in layout.channels]
    if not names:
        return Channels(count=0)
    is_known = set(names) <= _PLACE.keys() and len(set(names)) == len(names)
    codec.layout = _from_mask(names) if is_known else _usual(len(names))
    order = tuple(sorted(range(len(names)), key=lambda number: _PLACE[names[number]])) if is_known else ()
    return Channels(count=len(names), order=None if list(order) == sorted(order) else order)


def is_safe_to_decode(codec: Any) -> bool:
    """Whether a decoder, with its layout settled, gives out no layout that this version of PyAV cannot hold."""
    if PYAV_VERSION >= 19 or codec.name not in ("opus", "aac"):
        return True
    header = codec.extradata or b""
    if codec.name == "opus":
        return len(header) < 19 or header[18] not in _OPUS_AMBISONIC
    bits = int.from_bytes(header[:8].ljust(8, b"\0"), "big")
    if bits >> 59 != _ESCAPED_TYPE or 32 + (bits >> 53 & 63) != _USAC:
        return True
    has_own_rate = bits >> 49 & 15 == 15  # 24 bits of sampling rate follow
    return (bits >> (21 if has_own_rate else 45) & 15) in _PLAIN_CHANNELS


def _from_mask(names: list[str]) -> AudioLayout:
    return AudioLayout(hex(sum(1 << _PLACE[name] for name in names)))


def _usual(count: int) -> AudioLayout:
    try:
        return AudioLayout(f"{count}c")
    except ValueError:  # no usual layout of that many
        return AudioLayout(f"{count}C")
