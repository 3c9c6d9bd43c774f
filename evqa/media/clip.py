"""The one way from a media file to a `Clip`, shared by training, evaluation, prediction and the cache.

# S samples at 16 kHz
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from av.container import InputContainer
from torch import Tensor

from evqa.media.audio import AudioWindow
from evqa.media.audio_file import read_audio_file
from evqa.media.container import choose_video, open_container, rank_audio
from evqa.media.decord_reader import DecordFrames
from evqa.media.demux import Track, demux
from evqa.media.fbank import INT16_SCALE, sound_fbank
from evqa.media.limits import Budget, Limits
from evqa.media.packets import PacketFrames, open_codec
from evqa.media.pictures import Pictures, take_pictures
from evqa.media.reader import UnreadableError
from evqa.media.sound import Sound
from evqa.media.spec import ClipSpec, FrameStream, described
from evqa.media.suffixes import SOUNDFILE
from evqa.types import SAMPLE_RATE_HZ, Clip

__all__ = ["ClipSpec", "FrameStream", "Limits", "described", "read_clip"]

_NOTICEABLE_SECONDS = 0.1  # a shorter lack of sound is not worth a sentence
_NOTICEABLE_SHIFT_SECONDS = 0.25


def read_clip(path: Path, spec: ClipSpec) -> Clip:
    """Read frames and sound of a file as `spec` asks.

    Raises:
        MediaError: the file cannot be opened, breaks a limit, or has no picture that decodes although frames are
            asked for. A lack of sound is no error: the Clip says so.
    """
    budget = Budget(path, spec.limits)
    clip = _read_sound_file(budget, spec) if spec.frames is None else None
    if clip is not None:
        return clip
    with open_container(budget) as container:
        return _read_container(container, budget, spec)


def _read_sound_file(budget: Budget, spec: ClipSpec) -> Clip | None:
    """The sound of a WAV, FLAC, ... file; None where the file is of another kind."""
    if spec.audio is None or budget.path.suffix.lower() not in SOUNDFILE or not budget.path.is_file():
        return None
    try:
        pcm_S = read_audio_file(budget, num_samples=spec.audio.num_samples)
    except UnreadableError:
        return None
    return _with_sound(Clip(), pcm_S, spec, notes=())


def _read_container(container: InputContainer, budget: Budget, spec: ClipSpec) -> Clip:
    video = _video_track(container, budget, spec)
    sounds = [] if spec.audio is None else audio_tracks(container, spec.audio)
    pictures = _decord_pictures(video, budget, spec) if spec.reader == "decord" else None
    tracks = [*([] if video is None or pictures is not None else [video]), *sounds]
    damage = demux(container, tracks, budget) if tracks else None
    clip = Clip(missing=(damage,) if damage else ())
    if spec.frames is not None and video is not None:
        pictures = pictures or take_pictures(PacketFrames(video, budget), spec.frames, budget)
        clip = _with_pictures(clip, pictures)
    if spec.audio is None:
        return clip
    if not sounds:
        return _add(clip, ["no audio track"])
    sound = first_sound(sounds, budget, spec.audio)
    return _with_sound(clip, sound.pcm_S, spec, notes=[*sound.notes, *_shift_notes(pictures, sound)])


def _video_track(container: InputContainer, budget: Budget, spec: ClipSpec) -> Track | None:
    if spec.frames is None:
        return None
    stream = choose_video(container)
    if stream is None:
        budget.refuse("has no video track; give a video, or use modal=a")
    return Track(stream, horizon_seconds=spec.frames.sampling.horizon_seconds)


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


def _decord_pictures(video: Track | None, budget: Budget, spec: ClipSpec) -> Pictures | None:
    if spec.frames is None or video is None:
        return None
    open_codec(video.stream, budget)  # for its checks of the declared size
    try:
        return take_pictures(DecordFrames(budget), spec.frames, budget)
    except UnreadableError:
        return None


def _with_pictures(clip: Clip, pictures: Pictures) -> Clip:
    read = replace(clip, frames_FHWC=pictures.frames_FHWC, seconds_F=pictures.seconds_F)
    return _add(read, pictures.notes)


def _with_sound(clip: Clip, pcm_S: Tensor, spec: ClipSpec, *, notes: Iterable[str]) -> Clip:
    assert spec.audio is not None
    clip = _add(clip, notes)
    if pcm_S.numel() == 0:
        return _add(clip, ["the audio track holds no sound that can be decoded"])
    asked_seconds = spec.audio.shortest_seconds
    seconds = pcm_S.numel() / SAMPLE_RATE_HZ
    if asked_seconds is not None and seconds < asked_seconds - _NOTICEABLE_SECONDS:
        clip = _add(clip, [f"the sound lasts {seconds:.1f} s, shorter than the {asked_seconds:g} s asked for"])
    waveform_S = spec.audio.cut(pcm_S).float() / INT16_SCALE
    if spec.audio_as == "fbank":
        return replace(clip, fbank_RM=sound_fbank(waveform_S))
    return replace(clip, waveform_S=waveform_S)


def _shift_notes(pictures: Pictures | None, sound: Sound) -> list[str]:
    """Picture and sound are each counted from their own start, as the published code does; a gap is said."""
    if pictures is None or sound.start_seconds is None or sound.pcm_S.numel() == 0:
        return []
    shift_seconds = pictures.start_seconds - sound.start_seconds
    if abs(shift_seconds) < _NOTICEABLE_SHIFT_SECONDS:
        return []
    first, second = ("sound", "picture") if shift_seconds > 0 else ("picture", "sound")
    return [f"the {second} starts {abs(shift_seconds):.1f} s after the {first}; each is counted from its own start"]


def _add(clip: Clip, sentences: Iterable[str]) -> Clip:
    return replace(clip, missing=(*clip.missing, *sentences))
