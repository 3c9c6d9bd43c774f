"""A copy is scored as a file of its own would be, and what is hidden is hidden from the model."""

import json
import math

import av
import numpy as np
import pytest
import torch

import evqa
from evqa.errors import ConfigError
from evqa.explain import main
from evqa.explaining.explain import explain
from evqa.media.altered import (
    pictures_of_opening,
    track_of,
    with_sound_of,
    without_pictures_of_second,
    without_sound_of_second,
)
from evqa.media.audio import AudioWindow
from evqa.media.clip import read_clip
from evqa.media.sampling import FrameSampling
from evqa.media.spec import ClipSpec, FrameStream
from evqa.types import Clip, Record

TEXTS = {"title": "A dog", "description": "It runs."}


@pytest.fixture(scope="module")
def scorer(finished):
    return evqa.load(finished.path)


@pytest.fixture(scope="module")
def video(workplace, finished):
    return min(next((workplace / "synthetic").glob("v*-40-16/videos")).iterdir())


@pytest.fixture(scope="module")
def found(scorer, video):
    return explain(scorer, Record(id="mine", paths=(video,), texts=TEXTS))


def make(path, *, seconds):
    """Write 8 frames a second, each a picture of its own, so that a shorter file holds the first of a longer one."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=8)
        stream.width = stream.height = 64
        for number in range(8 * seconds):
            cells = np.random.default_rng(number).integers(0, 8 + 7 * number, (8, 8, 3), dtype=np.uint8)
            pixels = cells.repeat(8, 0).repeat(8, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def long_and_short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    return make(folder / "long.mkv", seconds=4), make(folder / "short.mkv", seconds=2)


def test_a_beginning_is_scored_as_a_file_that_ends_there(scorer, long_and_short, found):
    assert [opening.seconds for opening in found.openings] == list(range(1, math.ceil(found.seconds)))
    long, short = long_and_short
    explained, (alone,) = explain(scorer, long), scorer.score([short])
    assert [opening.seconds for opening in explained.openings] == [1, 2, 3]
    assert explained.openings[1].score == pytest.approx(alone.value, abs=1e-6)
    assert abs(explained.score - alone.value) > 5e-5


@pytest.mark.parametrize("window", [AudioWindow(), AudioWindow(policy="whole")])
@pytest.mark.parametrize("form", ["fbank", "waveform"])
def test_the_sound_of_a_beginning_is_what_is_read_of_that_much(video, window, form):
    spec = ClipSpec(audio=window, audio_as=form)
    track_S = read_clip(video, track_of(spec)).waveform_S
    expected = read_clip(video, ClipSpec(audio=AudioWindow(seconds=1.0), audio_as=form))
    opening = with_sound_of(Clip(), track_S[:16_000], spec)
    for name in ("waveform_S", "fbank_RM"):
        own, other = getattr(opening, name), getattr(expected, name)
        assert own is other is None or torch.equal(own, other)


def test_scattered_clips_of_sound_are_cut_from_the_beginning_too(video):
    spec = ClipSpec(audio=AudioWindow(policy="clips_8x2"))
    track_S = read_clip(video, track_of(spec)).waveform_S
    assert torch.equal(with_sound_of(Clip(), track_S, spec).waveform_S, read_clip(video, spec).waveform_S)
    assert with_sound_of(Clip(waveform_S=track_S), None, spec).waveform_S is None


@pytest.mark.parametrize("policy", ["first_n_seconds", "uniform", "fps_first_half", "fps_spread", "each_second", "all"])
@pytest.mark.parametrize("exact", [False, True])
def test_the_frames_of_a_beginning_are_those_of_a_file_that_ends_there(long_and_short, policy, exact):
    long, short = long_and_short
    spec = ClipSpec(frames=FrameStream(sampling=FrameSampling(policy=policy, count=5, exact=exact)))
    expected, opening = read_clip(short, spec), read_clip(long, pictures_of_opening(spec, 2.0))
    assert torch.equal(opening.seconds_F, expected.seconds_F)
    assert torch.equal(opening.frames_FHWC, expected.frames_FHWC)


def test_whole_and_hidden_modalities_have_the_scores_that_they_have_alone(scorer, video, found):
    (whole,) = scorer.score([Record(id="mine", paths=(video,), texts=TEXTS)])
    (silent,) = scorer.score([Record(id="mine", paths=(video,))])
    assert found.score == pytest.approx(whole.value, abs=1e-5)
    by_name = {hidden.what: hidden for hidden in found.hidden_modalities}
    assert list(by_name) == ["picture", "sound", "text"]
    assert by_name["text"].score == pytest.approx(silent.value, abs=1e-5)
    assert by_name["text"].change == by_name["text"].score - found.score != 0
    assert len({hidden.score for hidden in found.hidden_modalities}) == 3


def test_the_hidden_second_alone_is_grey_and_silent(video):
    stream = FrameStream(sampling=FrameSampling(policy="all"))
    clip = read_clip(video, ClipSpec(frames=FrameStream(sampling=FrameSampling(count=8)), motion=stream))
    hidden = without_pictures_of_second(clip, 1)
    assert clip.seconds_F.max() >= 1
    changed_F = (hidden.frames_FHWC != clip.frames_FHWC).flatten(1).any(1)
    assert changed_F.tolist() == [1 <= seconds < 2 for seconds in clip.seconds_F.tolist()]
    assert (hidden.frames_FHWC[changed_F] == 127).all()
    for size, overlap in ((7, 3), (64, 0)):
        pairs = zip(hidden.motion.chunks(size, overlap=overlap), clip.motion.chunks(size, overlap=overlap), strict=True)
        begin = 0
        for chunk_NHWC, own_NHWC in pairs:
            seconds_N = clip.motion.seconds_N[begin : begin + len(own_NHWC)]
            grey_N = (seconds_N >= 1) & (seconds_N < 2)
            assert (chunk_NHWC[grey_N] == 127).all()
            assert torch.equal(chunk_NHWC[~grey_N], own_NHWC[~grey_N])
            begin += len(own_NHWC) - overlap
    silent_S = without_sound_of_second(torch.ones(40_000), 1)
    assert np.flatnonzero(silent_S.numpy() == 0).tolist() == list(range(16_000, 32_000))


def test_each_second_is_hidden_once_and_those_behind_the_last_are_counted(scorer, video, found):
    assert [hidden.what for hidden in found.hidden_seconds] == [
        f"second {number}" for number in range(math.ceil(found.seconds))
    ]
    assert any(abs(hidden.change) > 1e-4 for hidden in found.hidden_seconds)
    few = explain(scorer, video, seconds=1)
    assert len(few.openings) == len(few.hidden_seconds) == 1
    assert f"the first 1 of {few.seconds:.1f} s were looked at one by one" in few.notes
    assert [hidden.what for hidden in few.hidden_modalities] == ["picture", "sound"]  # it has no texts


def test_a_part_of_the_modalities_and_a_still_image_have_less_to_hide(finished, video, tmp_path):
    pictures = explain(evqa.load(finished.path, modal="v"), video, seconds=1)
    assert pictures.modal == "v"
    assert not pictures.hidden_modalities
    with av.open(str(video)) as container:
        next(container.decode(video=0)).to_image().save(tmp_path / "still.png")
    still = explain(evqa.load(finished.path), tmp_path / "still.png")
    assert still.seconds == 0
    assert not [*still.openings, *still.hidden_seconds, *still.hidden_modalities]
    assert "a still image has no seconds that could be hidden" in still.notes


def test_pairs_are_refused(scorer, video):
    with pytest.raises(ConfigError, match="has 2 files; one video at a time"):
        explain(scorer, Record(id="pair", paths=(video, video)))


def test_the_command_writes_numbers_and_a_picture_and_prints_them(finished, video, tmp_path, capsys):
    main([str(video), "--scorer", str(finished.path), "--out", str(tmp_path), "--seconds", "2", "--title", "A dog"])
    printed = capsys.readouterr()
    content = json.loads((tmp_path / f"{video.stem}.json").read_text())
    lines = [line.split("\t") for line in printed.out.splitlines()]
    assert lines[0] == ["whole", f"{content['score']:.6g}", ""]
    scores = [*content["openings"], *content["hidden_seconds"], *content["hidden_modalities"]]
    assert [line[1] for line in lines[1:]] == [f"{one['score']:.6g}" for one in scores]
    assert (content["label"], content["range"]) == ("ECR", [0.0, 1.0])
    assert "not what makes people stay" in content["caution"]
    assert (tmp_path / f"{video.stem}.png").read_bytes().startswith(b"\x89PNG")
    assert f"written: {tmp_path / video.stem}.json" in printed.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["absent.mp4"], "absent.mp4: cannot be opened: no such file or directory."),
        (["VIDEO", "--seconds", "0"], "--seconds 0: give a whole number of seconds from 1 on."),
        (["BROKEN"], "broken.mp4: "),
    ],
)
def test_what_cannot_be_explained_is_a_sentence(finished, video, tmp_path, capsys, arguments, sentence):
    (tmp_path / "broken.mp4").write_text("no video")
    places = {"VIDEO": str(video), "BROKEN": str(tmp_path / "broken.mp4")}
    named = [places.get(argument, argument) for argument in arguments]
    with pytest.raises(SystemExit) as end:
        main([*named, "--scorer", str(finished.path), "--out", str(tmp_path / "out")])
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err
