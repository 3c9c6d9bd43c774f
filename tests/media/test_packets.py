"""Decoding only what is needed gives the frames of complete decoding, bit for bit."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evqa.media.container import choose_video, open_container
from evqa.media.decord_reader import DecordFrames
from evqa.media.demux import Track, demux
from evqa.media.limits import Budget, Limits
from evqa.media.packets import PacketFrames
from evqa.media.reader import FrameReader, Shot

OPEN_GROUPS = {"x264-params": "keyint=12:bframes=3:b-pyramid=2:ref=3:open-gop=1:scenecut=0"}
CLOSED_GROUPS = {"x264-params": "keyint=10:bframes=2:b-pyramid=0:scenecut=0"}
ONE_GROUP = {"x264-params": "keyint=300:bframes=3"}
HEVC = {"x265-params": "keyint=12:open-gop=1:log-level=none:bframes=3:scenecut=0:pools=none:frame-threads=1"}
STRUCTURES = {
    "open groups": ("video.mp4", "libx264", OPEN_GROUPS),
    "closed groups": ("video.mkv", "libx264", CLOSED_GROUPS),
    "one group": ("video.mp4", "libx264", ONE_GROUP),
    "hevc": ("video.mp4", "libx265", HEVC),
    "vp9": ("video.webm", "libvpx-vp9", {"cpu-used": "8", "g": "20"}),
    "without time stamps": ("video.avi", "mpeg4", {"bf": "2", "g": "12"}),
}


class Counting(PacketFrames):
    num_decoded = 0

    def _decode(self, packet):
        self.num_decoded += packet is not None
        return super()._decode(packet)


def shots(path: Path, numbers: Sequence[int] | None, *, slowly: bool = False) -> tuple[dict[int, Shot], Counting]:
    budget = Budget(path, Limits(timeout_seconds=60.0))
    with open_container(budget) as container:
        track = Track(choose_video(container), horizon_seconds=None)
        demux(container, [track], budget)
        reader = Counting(track, budget)
        numbers = range(len(reader.seconds_N)) if numbers is None else numbers
        found = reader._decode_everything(numbers) if slowly else reader.frames(numbers)
        return {shot.number: shot for shot in found}, reader


def print_of(shot: Shot) -> tuple[float, int]:
    return shot.seconds, zlib.crc32(shot.rgb_HWC.tobytes())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_chosen_frames_equal_those_of_complete_decoding(structure, make_video):
    name, codec, options = STRUCTURES[structure]
    path = make_video(name, codec=codec, options=options)
    everything, _ = shots(path, None, slowly=True)
    assert len({print_of(shot) for shot in everything.values()}) == 60
    draw = random.Random(0)
    for count in (1, 1, 2, 5, 8, 60):
        numbers = sorted(draw.sample(range(60), count))
        chosen, _ = shots(path, numbers)
        assert {n: print_of(s) for n, s in chosen.items()} == {n: print_of(everything[n]) for n in numbers}


def test_pictures_that_nothing_refers_to_and_groups_without_a_target_cost_nothing(make_video):
    path = make_video(options=CLOSED_GROUPS)
    _, reader = shots(path, [0, 41])
    assert reader.num_decoded < 2 * 10
    _, reader = shots(path, [3])
    assert reader.num_decoded <= 10


def test_frames_are_numbered_by_display_time_in_a_variable_frame_rate(make_video):
    seconds = [0.0, 0.1, 0.15, 0.5, 0.55, 1.5, 1.6, 2.9]
    chosen, reader = shots(make_video(seconds=seconds, options=ONE_GROUP), None)
    assert np.allclose(reader.seconds_N, seconds, atol=1e-3)
    assert [chosen[n].seconds for n in range(8)] == list(reader.seconds_N)
    corner = [int(chosen[n].rgb_HWC[:8, :8].mean()) for n in range(8)]
    assert corner == sorted(corner)  # the corner's grey tells the number


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (-90, 3), (180, 2)])
def test_rotation_is_honoured(degrees, quarters, make_video):
    upright, _ = shots(make_video("upright.mp4", seconds=[0.0, 0.1]), [0, 1])
    rotated, _ = shots(make_video("rotated.mp4", seconds=[0.0, 0.1], rotation=degrees), [0, 1])
    for number in (0, 1):
        assert np.array_equal(rotated[number].rgb_HWC, np.rot90(upright[number].rgb_HWC, quarters))


def test_a_damaged_video_shows_the_same_frames_whatever_else_is_asked_for(make_video, damage):
    path = damage(make_video(options=CLOSED_GROUPS))
    everything, _ = shots(path, None, slowly=True)
    few, reader = shots(path, [1, 20, 35, 59])
    assert {n: print_of(s) for n, s in few.items()} == {n: print_of(everything[n]) for n in (1, 20, 35, 59)}
    assert any(note.startswith("damaged places in the picture, skipped or patched: ") for note in reader.notes)


@pytest.mark.parametrize("rotation", [0, 90])
def test_decord_gives_the_same_frames_and_times(rotation, make_video):
    path = make_video(size=(160, 96), options=OPEN_GROUPS, rotation=rotation)
    ours, packets = shots(path, [0, 7, 30, 59])
    budget = Budget(path, Limits())
    decord: FrameReader = DecordFrames(budget)
    theirs = {shot.number: shot for shot in decord.frames([0, 7, 30, 59])}
    assert np.allclose(packets.seconds_N, decord.seconds_N, atol=1e-4)
    assert packets.average_fps == pytest.approx(decord.average_fps)
    assert packets.end_seconds == pytest.approx(decord.end_seconds, abs=1e-3)
    for number, shot in theirs.items():
        assert np.array_equal(shot.rgb_HWC, ours[number].rgb_HWC)
