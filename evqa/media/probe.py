"""What a media file holds, found by reading its packets and decoding one picture; and the hash of its content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame

from evqa.media.coded import inspector
from evqa.media.container import check_storage, choose_video, open_container, rank_audio
from evqa.media.image import is_image, read_image
from evqa.media.layout import Channels
from evqa.media.limits import Budget, Limits
from evqa.media.orientation import is_on_its_side
from evqa.media.packets import open_codec, stated_fps
from evqa.media.timeline import are_in_place, without_spikes


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a file holds, in the streams that `read_clip` would choose. Picture facts are None without a video track.

    duration: s, of the picture (of the sound in a file without picture), from packets, not from the header, which may
    say anything. width, height: upright, in pixels. rotation: degrees counterclockwise that the container asks for.
    fps: average as the container states it, else counted. num_frames: pictures shown. audio_*: None without sound.
    """

    duration: float
    width: int | None = None
    height: int | None = None
    rotation: int | None = None
    fps: float | None = None
    num_frames: int | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    audio_rate_hz: int | None = None
    audio_channels: int | None = None
    audio_seconds: float | None = None

    @property
    def has_audio(self) -> bool:
        """Whether there is an audio track."""
        return self.audio_codec is not None


def probe(path: Path, limits: Limits | None = None) -> MediaInfo:
    """Inspect a file without decoding more than its first picture; a still image is a video of one frame.

    Raises:
        MediaError: the file cannot be opened, breaks a limit, has neither picture nor sound, or its picture does not
            decode.
    """
    budget = Budget(path, limits or Limits())
    if is_image(budget):
        image = read_image(budget)
        height, width = image.rgb_HWC.shape[:2]
        return MediaInfo(duration=0.0, width=width, height=height, rotation=0, num_frames=1, video_codec=image.codec)
    with open_container(budget) as container:
        video = _StreamPackets(choose_video(container))
        sounds = [_StreamPackets(stream, channels) for stream, channels in rank_audio(container)]
        if not (video.exists or sounds):
            budget.refuse("has neither a video nor an audio track")
        picture = _read_through(container, video, sounds, budget)
        audio = next((sound for sound in sounds if sound.num_packets), sounds[0] if sounds else _StreamPackets(None))
        return MediaInfo(
            duration=video.seconds if video.exists else audio.seconds,
            **(_picture_facts(video, picture) if picture else {}),
            **(_sound_facts(audio) if audio.exists else {}),
        )


class _StreamPackets:
    """Counts and times of one stream's packets; of pictures, for a video stream."""

    def __init__(self, stream: Any | None, channels: Channels | None = None) -> None:
        self.stream = stream
        self.channels = channels
        self.num_packets = self.num_pictures = 0
        is_video = stream is not None and stream.type == "video" and stream.codec_context is not None
        self._inspect = inspector(stream.codec_context) if stream is not None and is_video else None
        self._stamps: list[tuple[int | None, int | None, int]] = []

    @property
    def exists(self) -> bool:
        return self.stream is not None

    @property
    def has_times(self) -> bool:
        return any(display is not None or decoding is not None for display, decoding, _ in self._stamps)

    @property
    def seconds(self) -> float:
        """From the first packet's start to the last one's end; the added durations where packets have no times."""
        starts = [display for display, _, _ in self._stamps]
        known = [start for start in starts if start is not None]
        if len(known) < len(starts) or not are_in_place(known):
            starts = without_spikes([pts if dts is None else dts for pts, dts, _ in self._stamps])
        lengths = [length for _, _, length in self._stamps]
        timed = [(start, start + length) for start, length in zip(starts, lengths, strict=True) if start is not None]
        if self.stream is None:
            return 0.0
        if not timed:
            return float(sum(lengths) * self.stream.time_base)
        return float((max(end for _, end in timed) - min(start for start, _ in timed)) * self.stream.time_base)

    def add(self, packet: Packet[Any]) -> None:
        self.num_packets += 1
        self.num_pictures += self._inspect is None or self._inspect(packet).is_new
        self._stamps.append((packet.pts, packet.dts, packet.duration or 0))


def _read_through(
    container: InputContainer, video: _StreamPackets, sounds: Sequence[_StreamPackets], budget: Budget
) -> VideoFrame | None:
    """Count all packets; return the first picture."""
    read = {one.stream.index: one for one in (video, *sounds) if one.stream is not None}
    for stream in container.streams:
        stream.discard = Discard.default if stream.index in read else Discard.all
    picture = None
    try:
        for packet in container.demux([one.stream for one in read.values()]):
            budget.check_time()
            if packet.stream_index == getattr(video.stream, "index", None) and picture is None:
                picture = _first_picture(packet, video.stream, budget)
            if packet.size and not packet.is_discard:
                read[packet.stream_index].add(packet)
    except av.FFmpegError as error:
        check_storage(error, budget)  # else cut off: what came before counts
    if video.exists and picture is None:
        budget.refuse("has a video track of which no picture can be decoded; it is damaged or cut off")
    if not video.exists and not any(sound.num_packets for sound in sounds):
        budget.refuse("has an audio track without any sound; it is damaged or cut off")
    return picture


def _first_picture(packet: Packet[Any], stream: Any, budget: Budget) -> VideoFrame | None:
    """Feed one packet to the decoder; the empty packet at the end makes it give out what it held back."""
    codec = open_codec(stream, budget)
    try:
        frames: list[VideoFrame] = codec.decode(packet)
    except av.FFmpegError:
        return None
    for frame in frames:
        budget.check_picture(frame.width, frame.height)
        return frame
    return None


def _picture_facts(video: _StreamPackets, picture: VideoFrame) -> dict[str, Any]:
    assert video.stream is not None
    size = (picture.height, picture.width) if is_on_its_side(picture) else (picture.width, picture.height)
    num_frames = video.num_pictures or video.num_packets
    rate = stated_fps(video.stream, has_times=video.has_times) or (num_frames / video.seconds if video.seconds else 0.0)
    return {
        "width": size[0],
        "height": size[1],
        "rotation": picture.rotation,
        "fps": rate or None,
        "num_frames": num_frames,
        "video_codec": video.stream.codec_context.codec.canonical_name,
    }


def _sound_facts(audio: _StreamPackets) -> dict[str, Any]:
    assert audio.stream is not None
    codec, channels = audio.stream.codec_context, audio.channels
    return {
        "audio_codec": codec.codec.canonical_name if codec else "unknown",
        "audio_rate_hz": codec.sample_rate if codec else None,
        "audio_channels": channels.count if codec and channels else None,
        "audio_seconds": audio.seconds,
    }
