"""Frame choice: by time for us, by the published arithmetic for parity."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evqa.errors import ConfigError
from evqa.media.reader import UnfitVideoError
from evqa.media.sampling import FrameSampling, exact_numbers

POLICIES = ("first_n_seconds", "uniform", "fps", "fps_first_half")


def choose(sampling: FrameSampling, seconds_N: list[float], end: float | None = None, fps: float = 30.0) -> list[int]:
    return sampling.choose(seconds_N, end_seconds=end or seconds_N[-1] + 1 / fps, average_fps=fps)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("count", [1, 2, 8, 16])
def test_chosen_frames_are_sorted_inside_the_clip_and_exactly_as_many_as_asked(policy, count):
    draw = np.random.default_rng(count)
    for num_frames in (1, 2, 3, 7, 40, 500):
        gaps = draw.exponential(0.04, num_frames)
        seconds_N = (np.cumsum(gaps) - gaps[0]).tolist()
        numbers = choose(FrameSampling(policy=policy, count=count), seconds_N)
        assert len(numbers) == count
        assert numbers == sorted(numbers)
        assert 0 <= numbers[0] <= numbers[-1] < num_frames


def test_a_variable_frame_rate_is_sampled_by_time_not_by_number():
    seconds_N = [i / 100 for i in range(100)] + [1.0 + i for i in range(8)]  # 100 fps for 1 s, then 1 fps
    assert choose(FrameSampling(), seconds_N) == [0, 100, 101, 102, 103, 104, 105, 106]


def test_the_frame_on_display_is_chosen_although_time_stamps_are_rounded():
    seconds_N = [round(i / 30, 3) for i in range(300)]
    assert choose(FrameSampling(count=4, seconds=4.0), seconds_N) == [0, 30, 60, 90]
    assert choose(FrameSampling(policy="fps", count=3, fps=2.0), seconds_N) == [0, 15, 30]
    assert choose(FrameSampling(policy="uniform", count=2), seconds_N, end=10.0) == [75, 225]


def test_a_short_video_is_spread_for_first_seconds_and_ends_in_repeats_for_fps():
    seconds_N = [i / 4 for i in range(8)]
    assert choose(FrameSampling(), seconds_N, end=2.0) == list(range(8))
    assert choose(FrameSampling(policy="fps"), seconds_N, end=2.0) == [0, 4, 7, 7, 7, 7, 7, 7]


@pytest.mark.parametrize(
    ("seconds", "fps", "expected"),
    [
        (20.0, 1.0, [0, 13, 26, 39, 53, 66, 79, 92]),  # 20 asked, 16 at most: every 1.327 s up to the middle
        (10.0, 1.0, [0, 11, 22, 33, 44, 55, 66, 77]),  # 10 instants from 0 to 9.9 s: every 1.1 s
        (10.0, 0.5, [0, 33, 66, 99, 99, 99, 99, 99]),  # 5 asked, 4 when even: the last one is repeated
        (10.0, 0.1, [0, 33, 66, 99, 99, 99, 99, 99]),  # never fewer than 4
        (9.1, 1.0, [0, 12, 25, 38, 51, 64, 77, 90]),  # 9.1 asked, 8 when even
    ],
)
def test_the_first_half_rule_by_hand(seconds, fps, expected):
    sampling = FrameSampling(policy="fps_first_half", fps=fps)
    seconds_N = [i / 10 for i in range(round(seconds * 10))]
    assert choose(sampling, seconds_N, end=seconds) == expected


def test_one_frame_asked_of_the_first_half_is_the_first():
    assert choose(FrameSampling(policy="fps_first_half", count=1), [0.0, 0.5, 1.0, 1.5]) == [0]


def test_exact_sampling_goes_by_frame_numbers_and_the_stated_rate():
    seconds_N = [0.0, *(5.0 + i / 25 for i in range(149))]  # frames by time would be others
    for policy in POLICIES:
        sampling = FrameSampling(policy=policy, exact=True)
        assert choose(sampling, seconds_N, fps=25.0) == exact_numbers(sampling, 150, 25.0)


def test_only_policies_that_need_the_whole_clip_have_no_horizon():
    assert FrameSampling(seconds=5.0).horizon_seconds == 5.0
    assert FrameSampling(policy="fps", count=6, fps=2.0).horizon_seconds == 3.0
    assert FrameSampling(policy="uniform").horizon_seconds is None
    assert FrameSampling(exact=True).horizon_seconds is None


def test_exact_numbers_equal_the_published_function_on_its_whole_grid(golden: Path):
    path = golden / "preprocess/frame_sample.json"
    if not path.is_file():
        pytest.skip("the grid of frame_sample.json is not in this copy of the reference numbers")
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) > 400
    for mode, num_frames, fps, count, expected in rows:
        sampling = FrameSampling(policy=mode, count=count or 10**6, seconds=float(count or 8), exact=True)
        if isinstance(expected, str):
            with pytest.raises(ValueError, match=r"has 0\.5 frames a second, which exact sampling at 1 a second"):
                exact_numbers(sampling, num_frames, fps)
        else:
            assert exact_numbers(sampling, num_frames, fps) == expected, (mode, num_frames, fps, count)


def test_exact_numbers_by_hand():
    def numbers(policy: str, num_frames: int, fps: float, **how: float) -> list[int]:
        return exact_numbers(FrameSampling(policy=policy, exact=True, **how), num_frames, fps)

    assert numbers("uniform", 150, 25.0) == [9, 28, 47, 65, 84, 102, 121, 140]
    assert numbers("first_n_seconds", 480, 29.97) == [0, 29, 59, 89, 119, 149, 179, 209]
    assert numbers("first_n_seconds", 150, 25.0) == [0, 21, 42, 63, 85, 106, 127, 149]
    assert numbers("fps", 150, 25.0) == [12, 37, 62, 87, 112, 137]
    assert numbers("fps_first_half", 480, 24.0) == [0, 32, 64, 96, 128, 160, 192, 224]
    assert numbers("first_n_seconds", 480, 24.0, count=4) == [0, 48, 96, 144]  # every two seconds
    assert numbers("fps", 30, 7.0, count=3) == [3, 10, 17]  # half of 7 is 3
    twice, half = (FrameSampling(policy="fps_first_half", exact=True, fps=fps, count=4) for fps in (2.0, 0.5))
    assert exact_numbers(twice, 240, 24.0) == [0, 34, 68, 102]  # 20 asked, 8 at most: every 34.14
    assert exact_numbers(half, 240, 24.0) == [0, 80, 159, 239]  # 5 asked, 4 when even
    assert numbers("fps_first_half", 2, 0.5) == [0, 1]
    assert all(type(n) is int for policy in POLICIES for n in numbers(policy, 100, 25.0))


@pytest.mark.parametrize(
    ("policy", "num_frames", "fps", "sentence"),
    [
        ("fps_first_half", 1, 25.0, "has 1 frames at 25 a second; the exact rule needs two frames and a frame rate"),
        ("fps_first_half", 9, 0.0, "has 9 frames at 0 a second; the exact rule needs two frames and a frame rate"),
        ("fps", 9, 0.5, "has 0.5 frames a second, which exact sampling at 1 a second cannot divide"),
    ],
)
def test_what_the_published_code_cannot_sample_says_what_to_do(policy, num_frames, fps, sentence):
    with pytest.raises(ValueError, match="has ") as error:
        exact_numbers(FrameSampling(policy=policy, exact=True), num_frames, fps)
    assert str(error.value) == f"{sentence}; use frames.exact=false"


def test_the_qwen_rule_equals_the_published_frames(golden: Path):
    path = golden / "prompt/qwen2_5_vl.json"
    if not path.is_file():
        pytest.skip("qwen2_5_vl.json is not in this copy of the reference numbers")
    sampling = FrameSampling(policy="fps_first_half", exact=True)
    for num_frames, fps, spread in json.loads(path.read_text())["smart_nframes"]:
        assert len(exact_numbers(sampling, num_frames, fps)) == min(spread, 8)
    videos = json.loads((golden / "preprocess/videos.json").read_text())["videos"]
    for name, facts in json.loads(path.read_text())["videos"].items():
        decord = videos[name]
        found = exact_numbers(sampling, decord["num_frames_decord"], decord["avg_fps_decord"])
        assert found == facts["frame_indices"], name


def test_frames_spread_at_a_rate_are_those_of_the_published_reader(vqa2):
    rows = json.loads((vqa2 / "qwen2_5_variant_tables.json").read_text())["rows"]
    assert rows
    for row in rows:
        seconds_N = [i / row["avg_fps"] for i in range(row["num_frames"])]
        exactly = FrameSampling(policy="fps_spread", fps=row["fps"], exact=True)
        assert choose(exactly, seconds_N, fps=row["avg_fps"]) == row["frame_indices"], row
        by_time = choose(replace(exactly, exact=False), seconds_N, fps=row["avg_fps"])
        assert np.abs(np.subtract(by_time, row["frame_indices"])).max() <= 1  # on display, not the nearest


def test_frames_spread_at_a_rate_are_four_or_more_of_a_clip_of_any_length():
    sampling = FrameSampling(policy="fps_spread")
    assert choose(sampling, [0.0]) == [0, 0, 0, 0]  # a still image
    assert choose(sampling, [i / 30 for i in range(20)]) == [0, 6, 12, 19]
    assert choose(replace(sampling, exact=True), [0.0, 0.1, 0.2]) == [0, 2]
    uneven = [i / 100 for i in range(101)] + [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]  # 100 fps for 1 s, then 1 fps
    assert choose(sampling, uneven) == [0, 100, 101, 103, 104, 106]


def test_impossible_settings_are_refused_together():
    with pytest.raises(ConfigError) as caught:
        FrameSampling(count=0, seconds=0.0, fps=-1.0)
    assert caught.value.problems == [
        "frames.count is 0; it must be greater than 0.",
        "frames.seconds is 0.0; it must be greater than 0.",
        "frames.fps is -1.0; it must be greater than 0.",
    ]


# ---- as many frames as the clip has to give


def test_each_second_shows_what_is_on_display_at_each_whole_second_whatever_the_frame_rate():
    sampling = FrameSampling(policy="each_second")
    steady = [i / 12.5 for i in range(40)]  # 3.2 s
    assert choose(sampling, steady, fps=12.5) == [0, 12, 25, 37]
    assert choose(replace(sampling, whole_seconds=True), steady, fps=12.5) == [0, 12, 25]
    slow = [0.0, 2.5, 2.6]  # the first picture stays for 2.5 s
    assert choose(sampling, slow, end=4.0) == [0, 0, 0, 2]
    assert choose(sampling, [0.0], end=0.0) == [0]  # a still image
    assert choose(sampling, [round(i / 30, 3) for i in range(60)], end=2.0) == [0, 30]


def test_each_second_exactly_is_the_published_arithmetic(vqa2):
    for row in json.loads((vqa2 / "tables.json").read_text())["key_frame_indices"]:
        seconds_N = [i / row["avg_fps"] for i in range(row["num_frames"])]
        scoring = FrameSampling(policy="each_second", exact=True)
        assert choose(scoring, seconds_N, fps=row["avg_fps"]) == row["interpreting"], row
        if row["conversation"]:
            training = replace(scoring, whole_seconds=True)
            assert choose(training, seconds_N, fps=row["avg_fps"]) == row["conversation"], row
        motion = FrameSampling(policy="all", multiple_of=4, exact=True)
        if row["num_motion_frames"]:
            assert choose(motion, seconds_N) == list(range(row["num_motion_frames"])), row


def test_frames_of_the_published_cases_are_chosen(vqa2):
    for name, case in json.loads((vqa2 / "cases.json").read_text()).items():
        if "motion_frame_indices" not in case:
            continue
        stride = 8 if case["protocol"] == "ugc_first_release" else 1
        seconds_N = [i / case["fps"] for i in range(case["num_raw_frames"])]
        motion = FrameSampling(policy="all", stride=stride, multiple_of=4, exact=True)
        assert choose(motion, seconds_N) == case["motion_frame_indices"], name
        keys = FrameSampling(policy="each_second", exact=True)
        assert choose(keys, seconds_N, fps=case["fps"]) == case["key_frame_indices"], name


@pytest.mark.parametrize(
    ("num_frames", "exact", "expected"),
    [(57, True, [0, 8, 16, 24]), (57, False, list(range(0, 64, 8))), (63, True, [0, 8, 16, 24])],
)
def test_all_takes_a_last_incomplete_stride_unless_it_is_exact(num_frames, exact, expected):
    sampling = FrameSampling(policy="all", stride=8, multiple_of=4, exact=exact)
    assert choose(sampling, [i / 30 for i in range(num_frames)]) == expected


@pytest.mark.parametrize(
    ("how", "num_frames", "sentence"),
    [
        (
            {"policy": "all", "at_most": 100},
            300,
            "has 300 frames to take (policy all of 300), more than the 100 allowed; raise its stride or at_most, or "
            "cut the video",
        ),
        (
            {"policy": "each_second", "at_most": 9},
            300,
            "has 10 frames to take (policy each_second of 300), more than the 9 allowed; raise its at_most, or cut the "
            "video",
        ),
        (
            {"policy": "fps_spread", "at_most": 9, "exact": True},
            300,
            "has 10 frames to take (policy fps_spread of 300), more than the 9 allowed; raise its at_most, or cut the "
            "video",
        ),
        (
            {"policy": "all", "multiple_of": 4},
            3,
            "has too few frames (3) for policy all with stride 1 and multiple_of 4, which can take none; lower them, "
            "or give a longer video",
        ),
        (
            {"policy": "each_second", "whole_seconds": True},
            3,
            "is shorter than a second, so that policy each_second has no whole second to take; use whole_seconds=false",
        ),
    ],
)
def test_too_many_frames_or_none_are_refused_and_never_cut(how, num_frames, sentence):
    with pytest.raises(UnfitVideoError) as caught:
        choose(FrameSampling(**how), [i / 30 for i in range(num_frames)])
    assert str(caught.value) == sentence


def test_exact_seconds_need_a_frame_rate():
    with pytest.raises(UnfitVideoError, match=r"has 0\.4 frames a second, .* use exact=false"):
        choose(FrameSampling(policy="each_second", exact=True), [0.0, 2.5], fps=0.4)


def test_the_usual_count_is_that_of_a_clip_of_the_seconds_named():
    assert FrameSampling(count=5).usual_count == 5
    assert FrameSampling(policy="each_second", seconds=9.5).usual_count == 10
    assert FrameSampling(policy="each_second", seconds=9.5, whole_seconds=True).usual_count == 9
    assert FrameSampling(policy="all", seconds=1.5, multiple_of=4).usual_count == 44
    assert FrameSampling(policy="fps_spread", seconds=9.5).usual_count == 8
