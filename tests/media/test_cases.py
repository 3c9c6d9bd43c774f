"""Files on which readers, this one included, were found wrong; what is right is what the ffmpeg program gives."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from evqa.machine.isolated import map_isolated
from evqa.media.audio import AudioWindow
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling

MOST_GREYS = 3.0
MOST_SAMPLES = 50  # at 16 kHz
# file: when its last frame comes up, counted from the first; samples of its sound at 16 kHz (0: it has none)
CASES = {
    "01_hflip_matrix.mp4": (1.9, 32_322),
    "01_vflip_matrix.mp4": (1.9, 32_322),
    "02_dual_mono_FC_FC.mov": (1.9, 32_000),
    "02_pcm_7_1.mov": (0.9, 16_000),
    "03_one_duplicate_timestamp.mkv": (9.5, 0),
    "03_zero_stts_delta.mp4": (9.0, 0),
    "04_avi_null_frames_h264.avi": (8.633 - 0.067, 0),  # the container counts from the first packet's decoding
    "05_empty_default_audio.mkv": (3.9, 64_645),
}
LAST = ClipSpec(frames=FrameStream(sampling=FrameSampling(policy="fps", fps=10.0, count=200), resize=Resize(size=32)))
EVENLY = ClipSpec(frames=FrameStream(sampling=FrameSampling(policy="uniform", count=12), resize=Resize(mode="native")))
SOUND = ClipSpec(audio=AudioWindow(policy="whole"))


def facts(path: Path) -> tuple[float, int]:
    """The last frame's time and the number of samples; importable, because a file may end the process that reads it."""
    waveform_S = read_clip(path, SOUND).waveform_S
    clip = read_clip(path, LAST)
    assert clip.seconds_F is not None
    return clip.seconds_F[-1].item(), 0 if waveform_S is None else waveform_S.numel()


def test_every_case_lasts_as_long_as_it_should(cases: Path):
    paths = [cases / "media" / name for name in CASES]
    for outcome in map_isolated(facts, paths, num_workers=1, seconds=60.0):
        assert outcome.value is not None, outcome.error
        name = paths[outcome.index].name
        assert outcome.value[0] == pytest.approx(CASES[name][0], abs=0.002), name
        assert outcome.value[1] == pytest.approx(CASES[name][1], abs=MOST_SAMPLES), name


def ffmpeg_frames(path: Path) -> tuple[np.ndarray, torch.Tensor]:
    """All frames as the ffmpeg program gives them, and when they come up, counted from the first."""
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-i", path, "-map", "0:v:0", "-vsync", "0", "-vf", "showinfo"]
    done = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    said = done.stderr.decode(errors="replace")
    seconds = np.asarray([float(time) for time in re.findall(r"pts_time:(-?[\d.]+)", said)])
    width, height = (int(side) for side in re.findall(r"Video: rawvideo.*?, (\d+)x(\d+)", said)[-1])
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
    return seconds - seconds[0], torch.from_numpy(frames.copy())


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg program to compare with")
@pytest.mark.parametrize("name", CASES)
def test_frames_are_those_of_the_ffmpeg_program_at_the_stated_times(name, cases: Path):
    seconds, frames = ffmpeg_frames(cases / "media" / name)
    clip = read_clip(cases / "media" / name, EVENLY)
    for time, shown in zip(clip.seconds_F.tolist(), clip.frames_FHWC, strict=True):
        at_that_time = frames[np.abs(seconds - time) < 0.0015]
        assert len(at_that_time), time
        differences = (at_that_time.float() - shown.float()).abs().mean((1, 2, 3))
        assert differences.min() < MOST_GREYS, time


def test_an_empty_default_track_is_passed_over_with_a_note(cases: Path):
    clip = read_clip(cases / "media/05_empty_default_audio.mkv", SOUND)
    assert clip.missing == ("the default audio track holds no sound; track 2 is read instead",)
