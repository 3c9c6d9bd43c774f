"""One pass over a file that keeps the packets of picture and sound in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard

from evqa.media.container import check_storage
from evqa.media.layout import Channels
from evqa.media.limits import Budget

_DECODER_DELAY_SECONDS = 1.0  # sound: priming samples and the resampler's tail
_SURELY_PAST = 4  # packets in a row


class Track:
    """The packets of one stream, in decoding order.

    horizon_seconds: nothing later than this, counted from the stream's start, is wanted; None for the whole stream.
    channels: of a sound stream.
    """

    def __init__(self, stream: Any, *, horizon_seconds: float | None, channels: Channels | None = None) -> None:
        self.stream = stream
        self.channels = channels
        self.packets: list[Packet[Any]] = []
        self._num_past_horizon = 0
        self._last_tick = _last_tick(stream, horizon_seconds)
        self._origin: int | None = None
        self.is_whole = False  # all packets of the stream are here

    def add(self, packet: Packet[Any]) -> None:
        """Keep a packet; note when every later one must lie behind the horizon."""
        self.packets.append(packet)
        if packet.pts is not None and not packet.is_discard:
            self._origin = packet.pts if self._origin is None else min(self._origin, packet.pts)
        if self._last_tick is None or self._origin is None or packet.dts is None:
            return
        # a packet is never shown before it is decoded, so decoding times bound all later display times
        is_past = packet.dts - self._origin > self._last_tick
        self._num_past_horizon = self._num_past_horizon + 1 if is_past else 0

    @property
    def is_past_horizon(self) -> bool:
        """Whether the last packets lie behind the horizon; one alone may have a wrong time stamp."""
        return self._num_past_horizon >= _SURELY_PAST


def _last_tick(stream: Any, horizon_seconds: float | None) -> int | None:
    """Return the last tick of the stream's time base, from its start, before which something wanted may begin."""
    if horizon_seconds is None:
        return None
    margin_seconds = _DECODER_DELAY_SECONDS if stream.type == "audio" else 0.0
    ticks: Fraction = Fraction(horizon_seconds + margin_seconds) / stream.time_base
    return math.floor(ticks)


def demux(container: InputContainer, tracks: Sequence[Track], budget: Budget) -> str | None:
    """Read packets until every track is past its horizon or the file ends.

    Returns:
        A sentence where the file breaks off or its structure is damaged; what came before is kept.
    """
    by_index = {track.stream.index: track for track in tracks}
    for stream in container.streams:
        stream.discard = Discard.default if stream.index in by_index else Discard.all
    try:
        for packet in container.demux([track.stream for track in tracks]):
            if packet.size == 0:  # an empty packet would tell the decoder that the stream has ended
                budget.check_time()
                continue
            budget.add_packet(packet.size)
            track = by_index[packet.stream_index]
            track.add(packet)
            if track.is_past_horizon and _is_enough(tracks):
                return None
    except av.error.ExitError:
        budget.refuse("could not be read in time; the storage is stuck or the file is damaged")
    except av.FFmpegError as error:
        check_storage(error, budget)
        for track in tracks:
            track.is_whole = True  # there is no more
        return "the file is damaged or cut off; only the part before the damage is used"
    for track in tracks:
        track.is_whole = True
    if any(_ends_behind(container, track.stream) for track in tracks):
        return "the file is cut off; only the part that is there is used"
    return None


def _is_enough(tracks: Sequence[Track]) -> bool:
    """Whether all tracks are past their horizon, but for those without a packet beside another one of their kind."""
    ended = {track.stream.type for track in tracks if track.is_past_horizon}
    return all(track.is_past_horizon or (not track.packets and track.stream.type in ended) for track in tracks)


def _ends_behind(container: InputContainer, stream: Any) -> bool:
    """Whether the index names data behind the end of the file."""
    entries = stream.index_entries
    return len(entries) > 0 and entries[-1].pos + entries[-1].size > container.size
