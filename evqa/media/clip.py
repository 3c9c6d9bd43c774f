"""The one way from a media file to a `Clip`, shared by training, evaluation, prediction and the cache.

# S samples at 16 kHz
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from av.container import InputContainer
from torch import Tensor

from evqa.errors import MediaError
from evqa.media.audio import AudioWindow
from evqa.media.audio_file import read_audio_file
from evqa.media.container import choose_video, open_container, rank_audio, stated_seconds
from evqa.media.decord_reader import DecordFrames
from evqa.media.demux import Track, demux
from evqa.media.fbank import INT16_SCALE, sound_fbank
from evqa.media.image import StillFrames, is_image, read_image
from evqa.media.limits import Budget, Limits
from evqa.media.packets import PacketFrames, open_codec
from evqa.media.pictures import Pictures, take_pictures
from evqa.media.reader import UnreadableError
from evqa.media.sound import Sound
from evqa.media.spec import AudioForm, ClipSpec, FrameStream, described
from evqa.media.spool import Spool
from evqa.media.suffixes import SOUNDFILE
from evqa.types import SAMPLE_RATE_HZ, Clip

__all__ = ["ClipSpec", "FrameStream", "Limits", "described", "read_clip"]

_NOTICEABLE_SECONDS = 0.1  # a shorter lack of sound is not worth a sentence
_NOTICEABLE_SHIFT_SECONDS = 0.25
STILL_WITHOUT_FRAMES = "is a still image, and no frames are asked for; give a video, or a sound file for modal=a"


def read_clip(path: Path, spec: ClipSpec, *, spool: Spool | None = None) -> Clip:
    """Read frames and sound of a file as `spec` asks, each in a pass of its own, so that neither depends on the other.

    spool: where the motion stream goes; without one, to a new file among the temporary ones.

    Raises:
        MediaError: the file cannot be opened, breaks a limit, or has no picture that decodes although frames are
            asked for. A lack of sound is no error: the Clip says so.
    """
    pictures, *sound = spec.streams
    if sound:
        return with_sound(read_clip(path, pictures, spool=spool), partial(read_clip, path, sound[0]))
    budget = Budget(path, spec.patience)
    if is_image(budget):
        return _read_still(budget, spec)
    clip = None if spec.reads_pictures else _read_sound_file(budget, spec)
    if clip is not None:
        return clip
    if spec.motion is not None and spool is None:
        spool = new_spool(path)
    with open_container(budget) as container:
        if spec.audio is not None:
            return _read_sound(container, budget, spec.audio, spec.audio_as)
        clip = _read_pictures(container, budget, spec, spool) if spec.reads_pictures else Clip()
        is_gif = spec.image is not None and container.format.name == "gif"
        return _add(clip, ["a GIF is read as a video, not as a still image"] if is_gif else [])


def with_sound(pictures: Clip, read_sound: Callable[[], Clip]) -> Clip:
    """Join the pictures of a file with its sound; each was read as if the other were not there.

    Raises:
        MediaError: as `read_sound` does, but for a still image, which has no sound.
    """
    try:
        sound = read_sound()
    except MediaError as error:
        if error.reason != STILL_WITHOUT_FRAMES:
            raise
        sound = Clip(missing=("no audio track: the file is a still image",))
    missing = (*pictures.missing, *sound.missing, *_shift_notes(pictures, sound))
    return replace(
        pictures,
        seconds=sound.seconds if pictures.seconds is None else pictures.seconds,
        waveform_S=sound.waveform_S,
        fbank_RM=sound.fbank_RM,
        sound_start_seconds=sound.sound_start_seconds,
        missing=tuple(dict.fromkeys(missing)),  # damage of the file is met by both
    )


def new_spool(path: Path, folder: str | None = None) -> Spool:
    """Return a file for a clip's motion stream. Raises MediaError where none can be made."""
    try:
        return Spool.create(folder)
    except OSError as error:
        raise MediaError(
            path, f"needs a temporary file for its motion stream, which cannot be made ({error.strerror}); set TMPDIR"
        ) from error


def _read_still(budget: Budget, spec: ClipSpec) -> Clip:
    """A still image: tiles where the request says how to cut it, else a video of one frame, at second 0."""
    if not spec.reads_pictures and spec.image is None:
        budget.refuse(STILL_WITHOUT_FRAMES)
    image = read_image(budget)
    notes = list(image.notes)
    notes += [] if spec.motion is None else ["no motion: the file is a still image"]
    about: dict[str, Any] = {"seconds": 0.0, "num_frames": 1, "missing": tuple(notes)}
    if spec.image is not None:
        tiles, grid = spec.image.cut(image.rgb_HWC)
        return Clip(frames_FHWC=tiles, seconds_F=torch.zeros(len(tiles), dtype=torch.float64), image=grid, **about)
    still = StillFrames(image.rgb_HWC)
    pictures = take_pictures(still, replace(spec, motion=None), budget)
    return _with_pictures(Clip(**about), replace(pictures, notes=tuple(still.notes)))  # that it is short is plain


def _read_sound_file(budget: Budget, spec: ClipSpec) -> Clip | None:
    """The sound of a WAV, FLAC, ... file; None where the file is of another kind."""
    if spec.audio is None or budget.path.suffix.lower() not in SOUNDFILE or not budget.path.is_file():
        return None
    try:
        pcm_S, seconds = read_audio_file(budget, num_samples=spec.audio.num_samples)
    except UnreadableError:
        return None
    return _with_samples(Clip(seconds=seconds), pcm_S, spec.audio, spec.audio_as)


def _read_pictures(container: InputContainer, budget: Budget, spec: ClipSpec, spool: Spool | None) -> Clip:
    video = _video_track(container, budget, spec)
    pictures = _decord_pictures(video, budget, spec, spool) if spec.reader == "decord" else None
    is_decord = pictures is not None
    damage = None if is_decord else demux(container, [video], budget)
    pictures = pictures or take_pictures(PacketFrames(video, budget), spec, budget, spool=spool)
    clip = Clip(missing=(damage,) if damage else (), picture_start_seconds=pictures.start_seconds)
    return _with_length(_with_pictures(clip, pictures), pictures, video, is_whole=is_decord or video.is_whole)


def _read_sound(container: InputContainer, budget: Budget, window: AudioWindow, audio_as: AudioForm) -> Clip:
    tracks = audio_tracks(container, window)
    if not tracks:
        return Clip(missing=("no audio track",))
    damage = demux(container, tracks, budget)
    sound = first_sound(tracks, budget, window)
    clip = Clip(
        missing=(*((damage,) if damage else ()), *sound.notes),
        seconds=max(stated_seconds(container), sound.pcm_S.numel() / SAMPLE_RATE_HZ),
        sound_start_seconds=sound.start_seconds if sound.pcm_S.numel() else None,
    )
    return _with_samples(clip, sound.pcm_S, window, audio_as)


def _video_track(container: InputContainer, budget: Budget, spec: ClipSpec) -> Track:
    stream = choose_video(container)
    if stream is None:
        budget.refuse("has no video track; give a video, or use modal=a")
    return Track(stream, horizon_seconds=spec.horizon_seconds)


def audio_tracks(container: InputContainer, window: AudioWindow) -> list[Track]:
    """All audio tracks, the one that the ffmpeg program prefers first."""
    ranked = rank_audio(container)
    return [Track(stream, horizon_seconds=window.horizon_seconds, channels=channels) for stream, channels in ranked]


def first_sound(tracks: Sequence[Track], budget: Budget, window: AudioWindow) -> Sound:
    """The sound of the first demuxed track that has any, with a note where that is not the first track."""
    first = Sound(tracks[0], budget, window=window)
    if first.pcm_S.numel():
        return first
    for track in tracks[1:]:
        sound = Sound(track, budget, window=window)
        if sound.pcm_S.numel():
            sound.notes.insert(0, f"the default audio track holds no sound; track {track.stream.index} is read instead")
            return sound
    return first


def _decord_pictures(video: Track, budget: Budget, spec: ClipSpec, spool: Spool | None) -> Pictures | None:
    open_codec(video.stream, budget)  # for its checks of the declared size
    try:
        return take_pictures(DecordFrames(budget), spec, budget, spool=spool)
    except UnreadableError:
        return None


def _with_pictures(clip: Clip, pictures: Pictures) -> Clip:
    read = replace(clip, frames_FHWC=pictures.frames_FHWC, seconds_F=pictures.seconds_F, motion=pictures.motion)
    return _add(read, pictures.notes)


def _with_length(clip: Clip, pictures: Pictures, video: Track, *, is_whole: bool) -> Clip:
    """Length and number of frames: measured, or as the file states them where only its start was read."""
    if is_whole:
        return replace(clip, seconds=pictures.end_seconds, num_frames=pictures.num_frames)
    stream = video.stream
    seconds = float(stream.duration * stream.time_base) if stream.duration else stated_seconds(stream.container)
    num_frames = max(stream.frames, pictures.num_frames) if stream.frames else None
    return replace(clip, seconds=max(seconds, pictures.end_seconds), num_frames=num_frames)


def _with_samples(clip: Clip, pcm_S: Tensor, window: AudioWindow, audio_as: AudioForm) -> Clip:
    if pcm_S.numel() == 0:
        return _add(clip, ["the audio track holds no sound that can be decoded"])
    asked_seconds = window.shortest_seconds
    seconds = pcm_S.numel() / SAMPLE_RATE_HZ
    if asked_seconds is not None and seconds < asked_seconds - _NOTICEABLE_SECONDS:
        clip = _add(clip, [f"the sound lasts {seconds:.1f} s, shorter than the {asked_seconds:g} s asked for"])
    waveform_S = window.cut(pcm_S).float() / INT16_SCALE
    if audio_as == "fbank":
        return replace(clip, fbank_RM=sound_fbank(waveform_S))
    return replace(clip, waveform_S=waveform_S)


def _shift_notes(pictures: Clip, sound: Clip) -> list[str]:
    """Picture and sound are each counted from their own start, as the published code does; a gap is said."""
    if pictures.picture_start_seconds is None or sound.sound_start_seconds is None:
        return []
    shift_seconds = pictures.picture_start_seconds - sound.sound_start_seconds
    if abs(shift_seconds) < _NOTICEABLE_SHIFT_SECONDS:
        return []
    first, second = ("sound", "picture") if shift_seconds > 0 else ("picture", "sound")
    return [f"the {second} starts {abs(shift_seconds):.1f} s after the {first}; each is counted from its own start"]


def _add(clip: Clip, sentences: Iterable[str]) -> Clip:
    return replace(clip, missing=(*clip.missing, *sentences))
