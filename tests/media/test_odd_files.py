"""One odd packet moves no other picture: frames are those of the times that are stated.

Every picture carries its number as a grey in its corner, so that a test sees which one is shown when.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.probe import probe
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from tests.media import odd_files as odd
from tests.media.odd_files import B_FRAMES, NO_B_FRAMES, plain, remux

Shown = list[tuple[float, int]]  # when, and which picture
HIDDEN = {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "4", "b": "200k", "deadline": "good"}
CONSTANT_RATE = {"x264-params": "bframes=3:keyint=30:force-cfr=1:fps=30"}  # said in the stream itself
HEVC = {"x265-params": "log-level=none:pools=none:frame-threads=1:keyint=30:bframes=3"}
EVEN: Shown = [(number / 30, number) for number in range(60)]


def without(*numbers: int) -> Shown:
    return [(seconds, number) for seconds, number in EVEN if number not in numbers]


def repeated(*numbers: int) -> Shown:
    stamps = [number / 30 for number in range(60)]
    return [(stamps[number - 1] if number in numbers else seconds, number) for seconds, number in EVEN]


def uneven(*zero: int) -> Shown:
    """Times of `odd.UNEVEN` when the durations of some pictures are zero."""
    steps = [0.0 if number in zero else step for number, step in enumerate(np.diff(odd.UNEVEN))]
    return [(float(seconds), number) for number, seconds in enumerate([0.0, *np.cumsum(steps)])]


def h264(folder: Path, name: str, change: odd.Change, options: dict[str, str] = NO_B_FRAMES) -> Path:
    return remux(plain(folder, "plain.mp4", options=options), name, change)


# what it is: how to make it, when which of its pictures comes up (counted from the first)
KINDS: dict[str, tuple[Callable[[Path], Path], Shown]] = {
    "a repeated stamp": (lambda d: h264(d, "a.mkv", odd.repeat_stamps(20)), repeated(20)),
    "a repeated stamp at the start": (lambda d: h264(d, "a.mkv", odd.repeat_stamps(1)), repeated(1)),
    "a repeated stamp at the end": (lambda d: h264(d, "a.mkv", odd.repeat_stamps(59)), repeated(59)),
    "several repeated stamps": (lambda d: h264(d, "a.mkv", odd.repeat_stamps(9, 10, 44)), repeated(9, 10, 44)),
    "a repeated stamp among B frames": (lambda d: h264(d, "a.mkv", odd.repeat_stamps(20), B_FRAMES), EVEN),
    "a stamp far away": (lambda d: h264(d, "a.mkv", odd.misplace_stamp(20, seconds=30.0)), EVEN),
    "messages alone": (lambda d: h264(d, "a.mp4", odd.add_messages(odd.SEI), B_FRAMES), EVEN),
    "delimiters and messages alone": (lambda d: h264(d, "a.mkv", odd.add_messages(odd.DELIMITER, odd.SEI)), EVEN),
    "messages alone, HEVC": (
        lambda d: remux(plain(d, "b.mp4", codec="libx265", options=HEVC), "a.mp4", odd.add_messages(odd.HEVC_SEI)),
        EVEN,
    ),
    "hidden frames, VP9": (
        lambda d: remux(
            plain(d, "b.mkv", codec="libvpx-vp9", options=HIDDEN),
            "a.mkv",
            odd.unchanged,
            filters="vp9_superframe_split",
        ),
        EVEN,
    ),
    "hidden frames, VP8": (lambda d: plain(d, "a.mkv", codec="libvpx", options=HIDDEN), EVEN),
    "no stamps at all": (lambda d: plain(d, "a.h264", options=CONSTANT_RATE), EVEN),
    "no stamps at all, HEVC": (lambda d: plain(d, "a.hevc", codec="libx265", options=HEVC), EVEN),
    "decoding times alone": (lambda d: plain(d, "a.avi", codec="mpeg4", options={"bf": "2", "b": "4M"}), EVEN),
    "packets of no bytes": (
        lambda d: remux(plain(d, "b.avi", codec="mpeg4", options={"b": "4M"}), "a.avi", odd.drop(*range(20, 40))),
        without(*range(20, 40)),
    ),
    "missing stamps": (lambda d: odd.remove_transport_stamps(plain(d, "a.ts", options=B_FRAMES), [7, 30, 31]), EVEN),
    "stamps that overflow": (lambda d: h264(d, "a.ts", odd.delay(2**33 / 90_000 - 1.0)), EVEN),
    "durations of zero": (
        lambda d: odd.patch_sample_durations(plain(d, "a.mp4", seconds=odd.UNEVEN, options=NO_B_FRAMES), [20, 21, 40]),
        uneven(20, 21, 40),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_is_shown_at_its_own_time(kind, tmp_path: Path):
    make, pictures = KINDS[kind]
    path = make(tmp_path)
    spec = ClipSpec(
        frames=FrameStream(sampling=FrameSampling(policy="uniform", count=24), resize=Resize(mode="native"))
    )
    clip = read_clip(path, spec)
    numbers = clip.frames_FHWC[:, 4:10, 4:14].float().mean((1, 2, 3)) - 16  # see `conftest.picture`
    for time, shown in zip(clip.seconds_F.tolist(), numbers.tolist(), strict=True):
        assert any(abs(seconds - time) < 2e-3 and abs(number - shown) < 2.5 for seconds, number in pictures), (
            time,
            shown,
        )
    assert clip.seconds_F[-1] > 0.9 * pictures[-1][0]
    assert not [note for note in clip.missing if "damage" in note]


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_counted_and_not_packets(kind, tmp_path: Path):
    make, pictures = KINDS[kind]
    info = probe(make(tmp_path))
    assert info.num_frames == len(pictures)
    assert info.duration == pytest.approx(pictures[-1][0], abs=0.15)
