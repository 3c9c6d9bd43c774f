"""What a compressed packet holds: a new picture that will be shown, the rest of one, or none.

A packet is not always a picture. It may carry parameters or messages only (H.264, HEVC), a picture that is never shown
(VP8, VP9, AV1), the second field of an interlaced picture (H.264), or one that cannot be decoded (HEVC, before the
first keyframe). Headers are read, nothing is decoded; where they cannot be understood, a packet counts as a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from av.packet import Packet

from evqa.media.nal_units import H264, Bytes, Hevc, Holds


class _Reader(Protocol):
    def holds(self, data: Bytes) -> Holds: ...


def what_packets_hold(codec: Any, packets: Sequence[Packet[Any]]) -> list[Holds]:
    """Inspect all packets of a video stream, in decoding order."""
    inspect = inspector(codec)
    found = [inspect(packet) for packet in packets]
    return found if Holds.PICTURE in found else [Holds.PICTURE] * len(packets)  # else not understood


def inspector(codec: Any) -> Callable[[Packet[Any]], Holds]:
    """Return a function that is to be given all packets of a video stream, in decoding order."""
    reader = _reader(codec.codec.canonical_name, codec.extradata or b"")
    return lambda packet: _holds(reader, memoryview(packet))


def _reader(codec: str, header: bytes) -> _Reader:
    if codec == "h264":
        return H264(header)
    if codec == "hevc":
        return Hevc(header)
    others: dict[str, _Reader] = {"vp8": _Vp8(), "vp9": _Vp9(), "av1": _Av1()}
    return others.get(codec, _Other())


def _holds(reader: _Reader, data: Bytes) -> Holds:
    try:
        return reader.holds(data)
    except (IndexError, ValueError):  # damaged; the decoder will say so
        return Holds.PICTURE


class _Other:
    """A codec whose packets are not inspected."""

    def holds(self, data: Bytes) -> Holds:
        return Holds.PICTURE


# VP8, VP9, AV1


class _Vp8:
    """RFC 6386, 9.1."""

    def holds(self, data: Bytes) -> Holds:
        return Holds.PICTURE if data[0] & 16 else Holds.NOTHING


class _Vp9:
    """VP9 bitstream specification, 6.2 and annex B: a packet may join a hidden frame and a shown one."""

    def holds(self, data: Bytes) -> Holds:
        is_shown = any(self._is_shown(frame[0]) for frame in self._frames(data))
        return Holds.PICTURE if is_shown else Holds.NOTHING

    @staticmethod
    def _is_shown(first: int) -> bool:
        if first >> 6 != 2:
            raise ValueError("not a frame header")
        has_reserved_bit = first & 0x30 == 0x30  # profile 3
        flags = first << 1 if has_reserved_bit else first
        return bool(flags & 8 or flags & 2)  # show_existing_frame, show_frame

    @staticmethod
    def _frames(data: Bytes) -> Iterator[Bytes]:
        marker = data[-1]
        size_bytes, count = (marker >> 3 & 3) + 1, (marker & 7) + 1
        index = len(data) - 2 - size_bytes * count
        if marker & 0xE0 != 0xC0 or index < 0 or data[index] != marker:
            yield data
            return
        start = 0
        for number in range(count):
            at = index + 1 + number * size_bytes
            size = int.from_bytes(data[at : at + size_bytes], "little")
            if size:
                yield data[start : start + size]
            start += size


class _Av1:
    """AV1 bitstream specification, 5.3 and 5.9: frame headers are OBUs of types 3 and 6."""

    def holds(self, data: Bytes) -> Holds:
        start = 0
        while start < len(data):
            first = data[start]
            if first & 0x80:
                raise ValueError("not a unit's header")
            kind, start = first >> 3 & 15, start + 1 + (first >> 2 & 1)
            size, start = _leb128(data, start) if first & 2 else (len(data) - start, start)
            if kind in (3, 6) and data[start] & 0x90:  # show_existing_frame, show_frame
                return Holds.PICTURE
            start += size
        return Holds.NOTHING


def _leb128(data: Bytes, start: int) -> tuple[int, int]:
    value = 0
    for number in range(8):
        value |= (data[start + number] & 127) << 7 * number
        if data[start + number] < 128:
            return value, start + number + 1
    raise ValueError("not a size")
