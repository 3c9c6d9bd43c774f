"""Videos cut into seconds of their play time: which frames each second has, at any frame rate."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import av
import pytest
import torch
from PIL import Image

from evqa.errors import MediaError
from evqa.media import seconds
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.media.seconds import read_seconds

KEYS = FrameStream(sampling=FrameSampling(policy="uniform", count=5), resize=Resize(size=32))
EVERY = FrameStream(sampling=FrameSampling(policy="all", at_most=5000), resize=Resize(size=16))
IRREGULAR = [0, 0.2, 0.21, 0.9, 1.0, 1.5, 1.999, 2.0, 2.3, 2.6, 2.9, 4.0, 4.1, 4.2, 4.3, 4.4]  # none in second 3


def spec(**motion: int) -> ClipSpec:
    sampling = FrameSampling(policy="all", **motion)
    return ClipSpec(frames=KEYS, motion=FrameStream(sampling=sampling, resize=EVERY.resize))


def numbers_by_second(path: Path) -> dict[int, list[int]]:
    """Numbers of the frames that come up in every second, by PyAV's own times."""
    with av.open(str(path)) as container:
        times = sorted(frame.time for frame in container.decode(video=0))
    found = defaultdict(list)
    for number, time in enumerate(times):
        found[int(time - times[0] + 1e-6)].append(number)
    return found


def motion_of(second: seconds.VideoSecond) -> torch.Tensor:
    return torch.cat(list(second.clip.motion.chunks(7)))


def check_frames(path: Path) -> int:
    """Compare every second's frames with all frames of the file, read at once; returns the number of seconds."""
    every = read_clip(path, ClipSpec(frames=EVERY)).frames_FHWC
    keys = read_clip(path, ClipSpec(frames=FrameStream(sampling=EVERY.sampling, resize=KEYS.resize))).frames_FHWC
    found = list(read_seconds(path, spec()))
    expected = numbers_by_second(path)
    assert [second.number for second in found] == list(range(found[0].of))
    for second in found:
        numbers = expected[second.number]
        if not numbers:
            assert "too few frames come up in this second for its motion" in second.reason
            continue
        assert torch.equal(motion_of(second), every[numbers])
        assert torch.equal(second.clip.frames_FHWC, keys[numbers[:1]])
        assert second.clip.motion.seconds_N[0] == second.clip.seconds_F[0] == 0
    assert sum(map(len, expected.values())) == sum(second.clip.motion.num_frames for second in found if second.clip)
    return len(found)


@pytest.mark.parametrize("span", [1, 2, 30])
def test_a_second_has_exactly_the_frames_that_come_up_in_it(make_video, monkeypatch, span):
    monkeypatch.setattr(seconds, "SPAN_SECONDS", span)
    assert check_frames(make_video(seconds=IRREGULAR)) == 5


@pytest.mark.parametrize("name", ["rotated180_vfr_10fps.mp4", "no_duration.webm"])
def test_so_it_is_with_variable_frame_rates_of_real_files(media, name, monkeypatch):
    monkeypatch.setattr(seconds, "SPAN_SECONDS", 3)
    assert check_frames(media / name) > 1


def test_a_second_in_which_nothing_comes_up_shows_what_is_on_display(make_video):
    path = make_video(seconds=IRREGULAR)
    still = list(read_seconds(path, ClipSpec(frames=KEYS)))[3].clip
    before = read_clip(path, ClipSpec(frames=FrameStream(sampling=EVERY.sampling, resize=KEYS.resize))).frames_FHWC[10]
    assert torch.equal(still.frames_FHWC, before[None])


def test_motion_follows_the_rule_of_a_file_of_its_own(make_video):
    """30 frames a second, and 5 in a last part of a second."""
    path = make_video(seconds=[i / 30 for i in range(65)])
    counts = [second.clip and second.clip.motion.num_frames for second in read_seconds(path, spec(multiple_of=4))]
    assert counts == [28, 28, 4]
    thin = list(read_seconds(path, spec(multiple_of=4, stride=2)))
    assert [second.clip and second.clip.motion.num_frames for second in thin] == [12, 12, None]
    assert thin[2].reason.endswith("(model.motion: stride 2, multiple_of 4)")
    assert thin[0].clip.seconds == 1
    with pytest.raises(MediaError, match=r"has 30 frames to take .* more than the 20 allowed"):
        list(read_seconds(path, spec(at_most=20)))


def test_what_has_no_seconds_is_a_sentence(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"bad\.mp4"):
        list(read_seconds(tmp_path / "bad.mp4", spec()))
    Image.new("RGB", (64, 64)).save(tmp_path / "still.png")
    with pytest.raises(MediaError, match="is a still image and has no seconds; ask about it as a whole"):
        list(read_seconds(tmp_path / "still.png", spec()))
