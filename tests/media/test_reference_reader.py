"""Against what the published reader (decord 0.6, the ffmpeg 5.1 program) got from real files of every kind.

Where readers differ for good reason is written in ../shared/media/README.md; those files are named here, too.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from evqa.media.audio import AudioWindow
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.fbank import padded_fbank
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from tests.golden import frame_checksums, thinned

OTHER_COLOURS = {"bear-vp9-odd-dimensions.webm", "h265_10bits.mp4"}  # RGB conversion differs between FFmpeg versions
OTHER_COUNT = {"sample_edit_list_only_preroll_sync_sample.mp4"}  # decord counts a packet that is never shown
MIRRORED = {"sample_rotate_and_reflect.mp4"}  # decord honours only the angle of a display matrix, ffmpeg all of it
OTHER_PRIMING = {"jobs.mp4"}  # FFmpeg 5.1 drops the priming samples twice
WHOLE = AudioWindow(policy="whole")


def native(policy: str, *, count: int) -> ClipSpec:
    return ClipSpec(
        frames=FrameStream(
            sampling=FrameSampling(policy=policy, count=count, exact=True), resize=Resize(mode="native")
        ),
        audio=WHOLE,
    )


def test_frames_and_sound_equal_the_published_readers_on_every_file(media: Path):
    reference = json.loads((media / "reference.json").read_text())
    (count,) = {len(facts["rgb_crc32"]) for facts in reference.values() if "rgb_crc32" in facts}
    compared = 0
    for name, expected in reference.items():
        clip = read_clip(media / name, native("first_n_seconds", count=count))
        num_samples = 0 if clip.waveform_S is None else clip.waveform_S.numel()
        if name not in OTHER_PRIMING:
            assert num_samples == expected["audio_samples_16k"], name
        if "rgb_crc32" not in expected or name in OTHER_COUNT:
            assert clip.frames_FHWC.shape[0] == count, name  # decord cannot open it, or counts otherwise
            continue
        assert list(clip.frames_FHWC.shape[1:3]) == expected["frame_hw"], name
        if name in OTHER_COLOURS:
            means = clip.frames_FHWC.float().mean((1, 2))
            assert (means - torch.tensor(expected["rgb_mean"])).abs().max() < 1.0, name
            continue
        frames_FHWC = clip.frames_FHWC.flip(2) if name in MIRRORED else clip.frames_FHWC
        assert [zlib.crc32(frame.numpy().tobytes()) for frame in frames_FHWC] == expected["rgb_crc32"], name
        compared += 1
    assert compared >= 20


def test_preprocessing_of_synthetic_videos_equals_the_published_one(golden: Path):
    check_folder(golden / "preprocess/videos", golden)


def test_preprocessing_of_real_videos_equals_the_published_one(golden: Path, media: Path):
    check_folder(media, golden)


def check_folder(folder: Path, golden: Path) -> None:
    videos = json.loads((golden / "preprocess/videos.json").read_text())["videos"]
    present = [name for name in videos if (folder / name).is_file()]
    assert present
    for name in present:
        for policy in ("uniform", "first_n_seconds"):
            stored = frame_checksums(videos[name], policy)
            assert stored, (name, policy)
            for count, expected in stored.items():
                clip = read_clip(folder / name, native(policy, count=count))
                found = [hashlib.sha256(frame.numpy().tobytes()).hexdigest() for frame in clip.frames_FHWC]
                assert found == expected, (name, policy, count)
        if videos[name]["has_audio_track"]:
            check_sound(clip.waveform_S, videos[name]["audio"], golden / f"preprocess/audio_{Path(name).stem}.npz")
        else:
            assert clip.waveform_S is None
            assert "no audio track" in clip.missing


def check_sound(waveform_S: torch.Tensor, expected: dict, stored_at: Path) -> None:
    assert waveform_S.numel() == expected["waveform"]["samples"]
    if not stored_at.is_file():
        return
    stored = np.load(stored_at)
    samples = (waveform_S * 32768).round().to(torch.int16).numpy().astype(int)
    kept, step = thinned(stored, "waveform_int16")
    assert np.abs(samples[::step] - kept).max() <= 1  # one step of int16 between FFmpeg versions
    fbank = padded_fbank(AudioWindow(policy="clips_8x2").cut(waveform_S))
    rows, step = thinned(stored, "fbank_float32")
    difference = (fbank[::step] - torch.from_numpy(rows)).abs()
    assert difference.mean() < 2e-3  # that one step, in near-silent bins


def test_among_several_streams_picture_and_sound_follow_decord_and_the_ffmpeg_program(media: Path):
    clip = read_clip(media / "nasa_13013.mp4", native("first_n_seconds", count=8))
    assert clip.frames_FHWC.shape[1:] == (270, 480, 3)  # the second video track
    assert clip.waveform_S.numel() / 16_000 == pytest.approx(13.056, abs=0.01)  # the first audio track (8 kHz)
