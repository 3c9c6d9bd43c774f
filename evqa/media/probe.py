"""What a media file says of itself, without decoding it whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from evqa.errors import MediaError
from evqa.media.container import choose_audio, choose_video, open_container
from evqa.media.limits import Budget, Limits


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """Facts from a file's header and its first picture; None where the container does not say.

    duration: seconds. width / height: of a picture as it is shown, after `rotation` (degrees, counter-clockwise).
    """

    duration: float | None
    width: int | None
    height: int | None
    rotation: int
    fps: float | None
    num_frames: int | None
    video_codec: str | None
    audio_codec: str | None
    audio_rate_hz: int | None

    @property
    def has_audio(self) -> bool:
        """Whether the file has a sound track."""
        return self.audio_codec is not None


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def probe(path: Path, limits: Limits = Limits()) -> MediaInfo:  # noqa: B008 - frozen
    """Read a file's header and decode one picture, which shows rotation and whether the decoder works at all.

    Raises:
        MediaError: no media file, neither picture nor sound, or the first picture cannot be decoded.
    """
    budget = Budget(path, limits)
    with open_container(budget) as container:
        video, audio = choose_video(container), choose_audio(container)
        if video is None and audio is None:
            raise MediaError(path, "has neither a picture nor a sound track")
        rotation, width, height = _first_picture(video, container, budget) if video is not None else (0, None, None)
        return MediaInfo(
            duration=None if container.duration is None else container.duration / av.time_base,
            width=width,
            height=height,
            rotation=rotation,
            fps=float(video.average_rate) if video is not None and video.average_rate else None,
            num_frames=(video.frames or None) if video is not None else None,
            video_codec=video.codec_context.name if video is not None else None,
            audio_codec=audio.codec_context.name if audio is not None and audio.codec_context else None,
            audio_rate_hz=audio.codec_context.sample_rate if audio is not None and audio.codec_context else None,
        )


def _first_picture(video: Any, container: Any, budget: Budget) -> tuple[int, int, int]:
    """Return rotation, width and height as shown of the first picture that decodes."""
    if video.codec_context is None:
        raise MediaError(budget.path, "has a video codec that this FFmpeg cannot decode; convert the file to H.264")
    budget.check_picture(video.codec_context.width, video.codec_context.height)
    video.codec_context.thread_count = 1
    for packet in container.demux(video):
        budget.add_packet(packet.size)
        try:
            frames = packet.decode()
        except (av.FFmpegError, MemoryError):
            continue
        if frames:
            frame = frames[0]
            budget.check_picture(frame.width, frame.height)
            turned = frame.rotation % 180 != 0
            size = (frame.height, frame.width) if turned else (frame.width, frame.height)
            return (int(frame.rotation), *size)
    raise MediaError(budget.path, "has no picture that can be decoded; the file is damaged or cut off")
