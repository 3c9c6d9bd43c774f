"""What a Clip holds, and what it says is missing."""

from __future__ import annotations

import dataclasses
import errno
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from evqa.errors import MediaError
from evqa.media import container
from evqa.media.audio import AudioWindow
from evqa.media.audio_file import fft_resample, published_file_fbank
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.container import check_storage
from evqa.media.fbank import sound_fbank
from evqa.media.limits import Budget, Limits
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.types import Clip
from tests.golden import thinned

TWO_SECONDS = ClipSpec(
    frames=FrameStream(sampling=FrameSampling(count=4, seconds=2.0), resize=Resize(size=32)),
    audio=AudioWindow(seconds=2.0),
)


def same(a: Clip, b: Clip) -> bool:
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(Clip)]
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


def loudness(waveform_S: torch.Tensor) -> float:
    return waveform_S[2000:-2000].square().mean().sqrt().item()


def test_a_complete_clip_has_frames_times_and_sound_and_misses_nothing(make_video):
    clip = read_clip(make_video(tone_seconds=2.0), TWO_SECONDS)
    assert clip.frames_FHWC.shape == (4, 32, 32, 3)
    assert clip.frames_FHWC.dtype == torch.uint8
    assert clip.seconds_F.tolist() == [0.0, 0.5, 1.0, 1.5]
    assert clip.waveform_S.shape == (32_000,)
    assert clip.waveform_S.dtype == torch.float32
    assert clip.missing == ()


def test_frames_and_sound_are_alike_read_together_alone_or_in_threads(make_video):
    path = make_video(tone_seconds=2.0)
    clip = read_clip(path, TWO_SECONDS)
    alone = read_clip(path, dataclasses.replace(TWO_SECONDS, audio=None))
    heard = read_clip(path, dataclasses.replace(TWO_SECONDS, frames=None))
    assert torch.equal(alone.frames_FHWC, clip.frames_FHWC)
    assert alone.waveform_S is None
    assert torch.equal(heard.waveform_S, clip.waveform_S)
    assert heard.frames_FHWC is None
    with ThreadPoolExecutor(4) as pool:
        assert all(same(clip, other) for other in pool.map(lambda _: read_clip(path, TWO_SECONDS), range(8)))


def test_decord_and_packets_give_the_same_clip(make_video):
    path = make_video(tone_seconds=2.0)
    decord = read_clip(path, dataclasses.replace(TWO_SECONDS, reader="decord"))
    packets = read_clip(path, TWO_SECONDS)
    assert torch.equal(decord.frames_FHWC, packets.frames_FHWC)
    assert torch.allclose(decord.seconds_F, packets.seconds_F, atol=1e-4)
    assert torch.equal(decord.waveform_S, packets.waveform_S)


def test_where_decord_fails_packets_take_over(make_video, damage, capfd):
    path = damage(make_video(tone_seconds=2.0))
    decord = read_clip(path, dataclasses.replace(TWO_SECONDS, reader="decord"))
    assert same(decord, read_clip(path, TWO_SECONDS))
    assert any("damaged places in the picture" in sentence for sentence in decord.missing)
    assert capfd.readouterr() == ("", "")


def test_what_is_missing_is_said_in_sentences(make_video):
    short = make_video(seconds=[0.0, 0.1, 0.2], tone_seconds=0.3)
    assert read_clip(
        short,
        dataclasses.replace(
            TWO_SECONDS, frames=FrameStream(sampling=FrameSampling(), resize=Resize(size=32)), audio=AudioWindow()
        ),
    ).missing == (
        "the video lasts 0.3 s, shorter than the 8 s asked for",
        "different frames: 3 of the 8 asked for, the others are repeats",
        "the sound lasts 0.3 s, shorter than the 8 s asked for",
    )
    assert read_clip(make_video("silent.mp4"), TWO_SECONDS).missing == ("no audio track",)
    late = make_video("late.mp4", seconds=[1.0 + i / 30 for i in range(60)], tone_seconds=2.0)
    assert read_clip(late, TWO_SECONDS).missing == (
        "the picture starts 1.0 s after the sound; each is counted from its own start",
    )


def test_a_failing_disk_is_told_from_damage_that_looks_like_it(make_video):
    path = make_video()
    error = av.error.OSError(errno.EIO, "Input/output error")
    check_storage(error, Budget(path, Limits()))  # every byte can be read, so this is damage
    path.unlink()
    check_storage(av.error.InvalidDataError(1, "Invalid data"), Budget(path, Limits()))
    with pytest.raises(MediaError, match=r"cannot be read: no such file or directory; try again") as caught:
        check_storage(error, Budget(path, Limits()))
    assert isinstance(caught.value.__cause__, OSError)  # which the cache does not keep


def test_a_file_that_goes_away_while_it_is_opened_is_said_in_a_sentence(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(container, "_check_regular_file", lambda path: None)  # it was there a moment ago
    with pytest.raises(MediaError, match="cannot be read: no such file or directory") as caught:
        read_clip(tmp_path / "gone.mp4", TWO_SECONDS)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_sound_without_picture_is_enough_only_where_no_frames_are_asked_for(tmp_path: Path):
    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    heard = read_clip(path, ClipSpec(audio=AudioWindow(policy="whole")))
    assert abs(heard.waveform_S.numel() - 16_000) <= 2 * 1024  # whole AAC frames
    with pytest.raises(MediaError, match="has no video track; give a video, or use modal=a"):
        read_clip(path, TWO_SECONDS)


def test_a_video_that_exact_sampling_cannot_serve_is_refused_with_what_to_do(make_video):
    path = make_video("slow.mkv", seconds=[0.0, 4.0, 8.0, 12.0])
    spec = ClipSpec(frames=FrameStream(sampling=FrameSampling(policy="fps", fps=60.0, exact=True)))
    with pytest.raises(
        MediaError, match=r"has [\d.]+ frames a second, which exact sampling at 60 a second cannot divide"
    ):
        read_clip(path, spec)


def test_a_filter_bank_takes_the_place_of_the_samples(make_video):
    path = make_video(tone_seconds=2.0)
    clip = read_clip(path, dataclasses.replace(TWO_SECONDS, audio_as="fbank"))
    assert clip.waveform_S is None
    assert torch.equal(clip.fbank_RM, sound_fbank(read_clip(path, TWO_SECONDS).waveform_S))


def test_stereo_is_not_louder_than_mono(make_video):
    mono = read_clip(make_video("mono.mp4", tone_seconds=2.0), TWO_SECONDS).waveform_S
    stereo = read_clip(make_video("stereo.mp4", tone_seconds=2.0, tone_channels="stereo"), TWO_SECONDS).waveform_S
    assert loudness(mono) == pytest.approx(0.5 / 2**0.5, rel=0.02)
    assert loudness(stereo) == pytest.approx(loudness(mono), rel=0.02)


def test_reading_the_first_seconds_gives_the_start_of_the_whole(make_video):
    path = make_video(seconds=[i / 10 for i in range(100)], tone_seconds=10.0)
    whole = read_clip(path, dataclasses.replace(TWO_SECONDS, audio=AudioWindow(policy="whole"))).waveform_S
    assert torch.equal(read_clip(path, TWO_SECONDS).waveform_S, whole[:32_000])


def test_a_picture_that_changes_its_size_and_time_stamps_that_start_again_are_read_through(make_video):
    small, large = make_video("small.ts", size=(64, 48)), make_video("large.ts", size=(128, 96))
    small.write_bytes(small.read_bytes() + large.read_bytes())
    clip = read_clip(
        small, ClipSpec(frames=FrameStream(sampling=FrameSampling(policy="uniform"), resize=Resize(mode="native")))
    )
    assert clip.frames_FHWC.shape == (8, 48, 64, 3)
    corner = clip.frames_FHWC[:, :6, :8].float().mean((1, 2, 3))
    assert (corner[:4].diff() > 5).all()
    assert (corner[4:].diff() > 5).all()
    assert corner[4] < corner[3]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_sound_files_are_read_without_a_container(suffix, rate_hz, tmp_path: Path):
    path = tmp_path / f"tone{suffix}"
    wave = np.sin(np.arange(3 * rate_hz) * (2 * np.pi * 440 / rate_hz)) / 2
    soundfile.write(path, np.stack([wave, wave], axis=1), rate_hz)
    clip = read_clip(path, ClipSpec(audio=AudioWindow(seconds=2.0)))
    assert clip.waveform_S.shape == (32_000,)
    assert loudness(clip.waveform_S) == pytest.approx(0.5 / 2**0.5, rel=0.02)
    assert read_clip(path, ClipSpec(audio=AudioWindow())).missing == (
        "the sound lasts 3.0 s, shorter than the 8 s asked for",
    )


def test_published_rows_of_sound_files_are_met(golden: Path):
    paths = sorted((golden / "preprocess/videos").glob("*.flac"))
    if not paths:
        pytest.skip("no sound files in this copy of the reference numbers")
    for path in paths:
        stored = np.load(golden / f"preprocess/audiofile_{path.stem}.npz")
        rows, step = thinned(stored, "fbank_float32")
        seed = int(next(key for key in stored if key.startswith("fbank_float32")).rpartition("seed")[2])
        found = published_file_fbank(path, crop=random.Random(seed))
        assert (found.shape, found.dtype) == ((2998, 128), torch.float64)
        torch.testing.assert_close(found[::step], torch.from_numpy(rows).double(), atol=5e-3, rtol=0)


@pytest.mark.parametrize(("old", "new"), [(100, 50), (50, 100), (101, 57), (64, 64), (99, 200)])
def test_spectral_resampling_equals_scipy(old, new):
    from scipy.signal import resample

    sound = np.random.default_rng(old).standard_normal(old)
    assert np.allclose(fft_resample(sound, new), resample(sound, new), atol=1e-12)


# ---- length and number of frames

START = ClipSpec(frames=FrameStream(sampling=FrameSampling(count=2, seconds=1.0), resize=Resize(size=8)))
ALL = ClipSpec(frames=FrameStream(sampling=FrameSampling(policy="uniform", count=2), resize=Resize(size=8)))


@pytest.mark.parametrize(("name", "stated_frames"), [("a.mp4", 240), ("a.mkv", None)])
def test_a_clip_tells_its_length_and_frames_also_where_only_its_start_is_read(make_video, name, stated_frames):
    path = make_video(name, seconds=[i / 30 for i in range(240)])
    whole, start = read_clip(path, ALL), read_clip(path, START)
    assert (whole.num_frames, whole.seconds) == (240, pytest.approx(8.0, abs=0.01))
    assert (start.num_frames, start.seconds) == (stated_frames, pytest.approx(8.0, abs=0.01))


def test_sound_alone_has_a_length_and_no_frames(make_video, tmp_path):
    video = make_video(tone_seconds=3.0)
    sound = tmp_path / "a.wav"
    soundfile.write(sound, np.zeros(44_100 * 3), 44_100)
    for path in (video, sound):
        clip = read_clip(path, ClipSpec(audio=AudioWindow(seconds=1.0)))
        assert (clip.num_frames, clip.seconds) == (None, pytest.approx(3.0, abs=0.06))
        assert clip.waveform_S.numel() == 16_000
