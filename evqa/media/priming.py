"""Priming samples, dropped as the ffmpeg program 5.1 drops them: the published code reads sound through it.

Encoders put silence before the sound (1,024 samples and more) and containers say how much of it to drop. FFmpeg 6 and
later do what is said; FFmpeg 5.1 drops twice as much from HE-AAC and, but for Opus, nothing in Matroska and WebM.
Models were trained on that, at most 0.2 s are at stake, and picture and sound stay within that of each other.
"""

from __future__ import annotations

from typing import Any

from av.packet import Packet

_SIZE = 4  # bytes of the first number in that side data, little endian: samples to drop at the start


def drop_as_published(packet: Packet[Any], stream: Any) -> None:
    """Change what a track's first packet says about samples to drop."""
    side_data = packet.get_sidedata("skip_samples")
    if not side_data:
        return
    said = bytes(side_data)
    samples = int.from_bytes(said[:_SIZE], "little")
    if "matroska" in stream.container.format.name:
        samples *= stream.codec_context.name in ("opus", "libopus")
    elif str(stream.codec_context.profile).startswith("HE-AAC"):
        samples *= 2
    side_data.update(samples.to_bytes(_SIZE, "little") + said[_SIZE:])
    packet.set_sidedata(side_data)
