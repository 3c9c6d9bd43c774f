"""Sound videos made odd when the tests run: packets are changed between a plain encoding and the file."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import av
from av.packet import Packet

from tests.media.conftest import write_video

Change = Callable[[list[Packet]], Iterable[Packet]]
NO_B_FRAMES = {"x264-params": "bframes=0:keyint=30"}
B_FRAMES = {"x264-params": "bframes=3:keyint=30:scenecut=0"}
SEI = bytes([6, 5, 17, *range(16), 120, 128])
HEVC_SEI = bytes([78, 1, 5, 17, *range(16), 120, 128])
DELIMITER = bytes([9, 240])
EVEN = [number / 30 for number in range(60)]
UNEVEN = [number / 30 + number % 2 / 300 for number in range(60)]  # each duration is an entry of its own


def remux(source: Path, name: str, change: Change, *, filters: str | None = None) -> Path:
    """Copy the packets of a video into another container, changed on the way."""
    path = source.with_name(name)
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        packets = [packet for packet in read.demux(stream) if packet.size]
        if filters:
            bitstream = av.BitStreamFilterContext(filters, stream)
            packets = [packet for given in [*packets, None] for packet in bitstream.filter(given)]
        for packet in change(packets):
            packet.stream = copy
            written.mux(packet)
    return path


def unchanged(packets: list[Packet]) -> list[Packet]:
    """Leave all packets as they are."""
    return packets


def repeat_stamps(*numbers: int) -> Change:
    """Give pictures (numbered in the order of display) the display time of the one before."""

    def change(packets: list[Packet]) -> list[Packet]:
        shown = sorted(packets, key=lambda packet: packet.pts or 0)
        stamps = [packet.pts for packet in shown]
        for number in numbers:
            shown[number].pts = stamps[number - 1]
            if packets == shown:  # no B frames: containers may state decoding times alone
                shown[number].dts = stamps[number - 1]
        return packets

    return change


def misplace_stamp(number: int, *, seconds: float) -> Change:
    """Move the display time of one picture far away."""

    def change(packets: list[Packet]) -> list[Packet]:
        packets[number].pts = (packets[number].pts or 0) + round(seconds / float(packets[number].time_base))
        return packets

    return change


def delay(seconds: float) -> Change:
    """Let all pictures come later."""

    def change(packets: list[Packet]) -> list[Packet]:
        for packet in packets:
            ticks = round(seconds / float(packet.time_base))
            packet.pts, packet.dts = (packet.pts or 0) + ticks, (packet.dts or 0) + ticks
        return packets

    return change


def add_messages(*units: bytes, every: int = 5) -> Change:
    """Add packets without a picture, each with a time stamp of its own."""

    def change(packets: list[Packet]) -> Iterable[Packet]:
        for number, packet in enumerate(packets):
            yield packet
            if number % every == every - 1:
                message = Packet(b"".join(struct.pack(">I", len(unit)) + unit for unit in units))
                message.time_base, message.duration = packet.time_base, 1
                message.pts = message.dts = max(p.pts or 0 for p in packets[: number + 1]) + 1
                message.dts = (packet.dts or 0) + 1
                yield message

    return change


def drop(*numbers: int) -> Change:
    """Leave pictures out; AVI then says for each of them that the last one stays (a packet of no bytes)."""

    def change(packets: list[Packet]) -> list[Packet]:
        return [packet for number, packet in enumerate(packets) if number not in numbers]

    return change


def patch_sample_durations(path: Path, numbers: Sequence[int]) -> Path:
    """Set entries of an MP4 file's table of durations (`stts`) to 0."""
    data = bytearray(path.read_bytes())
    table = data.index(b"stts") + 12
    for number in numbers:
        data[table + 8 * number + 4 : table + 8 * number + 8] = bytes(4)
    path.write_bytes(bytes(data))
    return path


def remove_transport_stamps(path: Path, numbers: Sequence[int]) -> Path:
    """Remove the time stamps of some pictures from a transport stream."""
    data = bytearray(path.read_bytes())
    seen = 0
    for start in range(0, len(data), 188):
        header = data.find(b"\0\0\1\xe0", start, start + 188) if data[start + 1] & 0x40 else -1
        if header < 0:
            continue
        if seen in numbers:
            data[header + 7] &= 0x3F
        seen += 1
    path.write_bytes(bytes(data))
    return path


def set_matrix(path: Path, matrix: Sequence[int]) -> Path:
    """Write a display matrix into the first track's header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(bytes(data))
    return path


def plain(
    folder: Path,
    name: str,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    seconds: Sequence[float] = EVEN,
) -> Path:
    """Sixty pictures in two seconds, without sound."""
    return write_video(folder / name, seconds=seconds, codec=codec, options=options)
