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
from evqa.media.limits import Budget

# Containers of ordinary video and audio files. Playlists and scripts (hls, concat, dash, ...), which name other files
# or addresses to read, are not among them, whatever a file's extension says.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,h264,hevc,av1,obu,ivf,asf,ogg,gif,"
    "wav,w64,mp3,flac,aac,aiff,au,caf,ac3,eac3,amr,rm,nut,dv,mxf,ape,wv,tta"
)
_CHUNK_BYTES = 1 << 20
_INVENT_TIME_STAMPS = 0x0001  # AVFMT_FLAG_GENPTS, which PyAV sets


@contextmanager
def open_container(budget: Budget) -> Iterator[InputContainer]:
    """Open a file for demuxing; FFmpeg sees a local file and nothing else.

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
            metadata_errors="replace",
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


def choose_audio(container: InputContainer) -> Any | None:
    """The audio stream that the ffmpeg program chooses: marked as default first, then most channels, then the first.

    `av_find_best_stream` would choose another one in some files with several languages or rates.
    """
    streams = [s for s in container.streams.audio if s.codec_context is not None] or list(container.streams.audio)
    return max(streams, key=_audio_rank, default=None)  # max keeps the first of equals


def _audio_rank(stream: Any) -> tuple[bool, int]:
    channels = stream.codec_context.channels if stream.codec_context is not None else 0
    return bool(stream.disposition & Disposition.default), channels
