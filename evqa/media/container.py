"""Opening media files with PyAV, and choosing among their streams."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition

from evqa.errors import MediaError
from evqa.media.layout import Channels, settle_channels
from evqa.media.limits import Budget

# Containers of ordinary video and audio files. Playlists and scripts (hls, concat, dash, ...), which name other files
# or addresses to read, are not among them, whatever a file's extension says.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,h264,hevc,av1,obu,ivf,asf,ogg,gif,"
    "wav,w64,mp3,flac,aac,aiff,au,caf,ac3,eac3,amr,rm,nut,dv,mxf,ape,wv,tta"
)
# PyAV 19 has no such argument: it always replaces bytes that are no text.
_ANY_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if hasattr(InputContainer, "metadata_errors") else {}
_CHUNK_BYTES = 1 << 20
_INVENT_TIME_STAMPS = 0x0001  # AVFMT_FLAG_GENPTS, which PyAV sets


@contextmanager
def open_container(budget: Budget) -> Iterator[InputContainer]:
    """Open a file for demuxing; FFmpeg gets a local file and nothing else.

    Raises:
        MediaError: no regular file, empty, or no container that FFmpeg can read.
    """
    path = budget.path
    _check_regular_file(path)
    options = {
        "format_whitelist": _FORMATS,
        "protocol_whitelist": "file",
        "max_pixels": str(budget.limits.max_pixels),  # for the decoders that FFmpeg runs to find a stream's size
    }
    try:
        container = av.open(
            str(path.absolute()),  # an absolute path is never mistaken for an option or an address
            options=options,
            timeout=(budget.wall_seconds, budget.wall_seconds),
            **_ANY_METADATA,
        )
    except (av.FFmpegError, MemoryError) as error:
        raise MediaError(path, _why_not_opened(budget, error)) from error
    with container:
        container.flags &= ~_INVENT_TIME_STAMPS  # what it invents for AVI does not match the frames that come out
        yield container


def _check_regular_file(path: Path) -> None:
    try:
        facts = path.stat()
    except OSError as error:
        raise MediaError(path, f"cannot be opened: {(error.strerror or 'unknown error').lower()}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise MediaError(path, "is not a regular file but a folder or a device")
    if facts.st_size == 0:
        raise MediaError(path, "is empty (0 bytes); download or copy it again")


def _why_not_opened(budget: Budget, error: Exception) -> str:
    if isinstance(error, av.error.ExitError):
        return "could not be opened in time; the storage is stuck or the file is damaged"
    if isinstance(error, PermissionError):
        return "cannot be opened: permission denied"
    check_storage(error, budget)
    with budget.path.open("rb") as file:
        is_mp4 = file.read(12)[4:8] == b"ftyp"
    if is_mp4:
        return "is an MP4 file whose index (moov box) is missing or damaged, as after a broken download; fetch it again"
    return "is not a video or audio file in a known format, or its header is damaged"


def check_storage(error: Exception, budget: Budget) -> None:
    """Tell a storage that fails from a damaged file, which some demuxers report in the same way: read it plainly.

    Raises:
        MediaError: the file cannot be read, which is not its own fault (an `OSError` is the cause).
    """
    if not isinstance(error, OSError):
        return
    try:
        with budget.path.open("rb") as file:
            while file.read(_CHUNK_BYTES):
                budget.check_time()
    except OSError as cause:
        reason = f"cannot be read: {(cause.strerror or 'unknown error').lower()}; try again when the storage works"
        raise MediaError(budget.path, reason) from cause


def choose_video(container: InputContainer) -> Any | None:
    """The video stream that decord and FFmpeg's `av_find_best_stream` choose; cover pictures do not count.

    That is the stream with the most frames, bit rate and so on, not simply the first.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    return best if best in streams else next(iter(streams), None)


def stated_seconds(container: InputContainer) -> float:
    """Length as the file states it, or as FFmpeg estimates it; 0 where neither is known."""
    return max((container.duration or 0) / av.time_base, 0.0)


def rank_audio(container: InputContainer) -> list[tuple[Any, Channels]]:
    """Audio streams as the ffmpeg program prefers them: marked as default first, then most channels, then the first.

    `av_find_best_stream` would choose another one in some files with several languages or rates. To be called once for
    an opened container, because it brings channel layouts into order.
    """
    known = [(s, settle_channels(s.codec_context)) for s in container.streams.audio if s.codec_context is not None]
    unknown = [(s, Channels(count=0)) for s in container.streams.audio if s.codec_context is None]
    return sorted(known, key=_preference) + unknown  # sorting keeps the order of equals


def _preference(track: tuple[Any, Channels]) -> tuple[bool, int]:
    stream, channels = track
    return not stream.disposition & Disposition.default, -channels.count
