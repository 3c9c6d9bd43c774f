import shutil
from collections import Counter
from itertools import groupby

import numpy as np
import pytest
from PIL import Image

from evqa.datasets.distortions import GRADES, MOTION, SPATIAL, crf_of
from evqa.datasets.synthetic_distortions import ALL, DistortedClip, SyntheticDistortions, write_distorted
from evqa.errors import AnnotationError, ConfigError
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling

EVERY = ClipSpec(frames=FrameStream(sampling=FrameSampling(policy="all"), resize=Resize(mode="native")))
LUMINANCE = np.array([0.299, 0.587, 0.114])


def written(folder, distortion, grade, *, seed=0, clean=None):
    """The frames [F, H, W, C] of a distorted clip, as they are decoded."""
    clip = DistortedClip(id="clip", distortion=distortion, absent="", grade=grade, clean=clean, seed=(seed,))
    write_distorted(clip, folder=folder)
    return read_clip(folder / "clip.mp4", EVERY).frames_FHWC.numpy().astype(float)


def detail(frames):
    return np.abs(np.diff(frames @ LUMINANCE, n=2)).mean()


def at_edges(frames):
    """How much larger steps are at the edges of 8 x 8 blocks."""
    step_W = np.abs(np.diff(frames @ LUMINANCE)).mean((0, 1))
    at_edge = np.arange(1, frames.shape[2]) % 8 == 0
    return step_W[at_edge].mean() / step_W[~at_edge].mean()


def chroma(frames):
    return np.abs(frames - (frames @ LUMINANCE)[..., None]).mean()


def longest_stop(frames):
    """Frames in a row that show the same, the first included."""
    moves = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3)) > 1.5
    return 1 + max((len(list(same)) for moving, same in groupby(moves) if not moving), default=0)


def num_stops(frames):
    return (np.abs(np.diff(frames, axis=0)).mean((1, 2, 3)) < 1.5).sum()


def jolts(frames):
    return np.abs(np.diff(frames @ LUMINANCE, n=2, axis=0)).mean()


GROWS = {
    "compression artifact": lambda frames: -detail(frames),
    "spatial blur": lambda frames: -detail(frames),
    "motion blur": lambda frames: -detail(frames),
    "noise": detail,
    "overexposure": np.mean,
    "underexposure": lambda frames: -frames.mean(),
    "low contrast": lambda frames: -(frames @ LUMINANCE).std(),
    "high contrast": lambda frames: (frames @ LUMINANCE).std(),
    "oversaturation": chroma,
    "desaturation": lambda frames: -chroma(frames),
    "block effect": at_edges,
    "stall": longest_stop,
    "stutter": num_stops,
    "shake": jolts,
    "flicker": lambda frames: frames.mean((1, 2, 3)).std(),
}


@pytest.mark.parametrize("distortion", ALL)
def test_every_grade_shows_more_of_its_distortion_than_the_one_below(distortion, tmp_path):
    found = [GROWS[distortion](written(tmp_path, distortion, grade, seed=3)) for grade in GRADES]
    assert found == sorted(set(found))


def test_a_stall_and_dropped_frames_are_as_long_as_their_grade_says(tmp_path):
    assert [longest_stop(written(tmp_path, "stall", grade)) for grade in (1, 4)] == [5, 15]  # of 24, the first included
    assert [num_stops(written(tmp_path, "stutter", grade)) for grade in (1, 4)] == [4, 17]  # of 21 that may be dropped


def test_the_still_image_is_the_frame_in_the_middle_as_it_is_decoded(tmp_path):
    frames = written(tmp_path, "noise", 2)
    image = np.asarray(Image.open(tmp_path / "clip.png"), dtype=float)
    np.testing.assert_array_equal(image, frames[len(frames) // 2])
    (tmp_path / "clip.png").unlink()
    written(tmp_path, "shake", 2)
    assert not (tmp_path / "clip.png").exists()  # a still shows nothing of it


def test_only_compression_is_left_to_the_encoder():
    assert {crf_of(name, grade=2) for name in ALL if name != "compression artifact"} == {10}
    assert crf_of("compression artifact", grade=4) == 49


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    data = SyntheticDistortions(folder=str(tmp_path_factory.mktemp("made")), num_train=120, num_val=60)
    return data.load().splits


def test_a_question_says_nothing_about_its_answer(made):
    asked = [record for record in made["train"] if "asked" in record.tags]
    answers = Counter((record.tags["asked"], record.turns[1].text) for record in asked)
    assert answers == dict.fromkeys([(name, answer) for name in ALL for answer in ("Yes.", "No.")], 8)
    assert all(
        (record.tags["asked"] == record.tags["distortion"]) == (record.turns[1].text == "Yes.") for record in asked
    )
    assert all(f"Is {record.tags['asked']} present in this video?" == record.turns[0].text for record in asked)


def test_every_distortion_has_every_grade_equally_often(made):
    clips = {record.group: (record.tags["distortion"], record.tags["grade"]) for record in made["train"]}
    assert Counter(clips.values()) == dict.fromkeys([(name, str(grade)) for name in ALL for grade in GRADES], 2)


def test_distortions_are_named_in_stills_or_clips(made):
    named = [record for record in made["val"] if "asked" not in record.tags]
    assert len(named) == 60
    for record in named:
        question, answer = record.turns
        kind, shown = ("spatial", "image") if record.tags["distortion"] in SPATIAL else ("motion", "video")
        assert question.text == f"What is the main {kind} distortion presented in this {shown}?"
        assert (answer.text, answer.learn) == (f"It is {record.tags['distortion']}.", True)
        assert record.paths[0].suffix == (".png" if kind == "spatial" else ".mp4")


def test_clean_clips_of_ones_own_stay_on_one_side(tmp_path):
    clean = tmp_path / "clean"
    clean.mkdir()
    for name in ("a", "b", "c", "d", "e", "f"):
        written(clean, "shake", 1, seed=ord(name))
        (clean / "clip.mp4").rename(clean / f"{name}.mp4")
    data = SyntheticDistortions(folder=str(tmp_path / "made"), clean=str(clean), num_train=20, num_val=16)
    parts = data._clean()
    assert (len(parts["train"]), len(parts["val"])) == (5, 1)
    assert not set(parts["train"]) & set(parts["val"])
    records = data.load().splits
    clip = read_clip(next(record.paths[0] for record in records["val"] if record.paths[0].suffix == ".mp4"), EVERY)
    assert (clip.num_frames, clip.seconds) == (72, pytest.approx(3.0))  # 24 frames a second
    assert clip.frames_FHWC.shape[1] % 8 == 0


def test_a_clean_file_that_cannot_be_used_is_named(tmp_path):
    clean = tmp_path / "clean"
    with pytest.raises(AnnotationError, match=r"data.clean=.*clean: cannot be read \(No such file"):
        SyntheticDistortions(folder=str(tmp_path / "made"), clean=str(clean)).load()
    clean.mkdir()
    with pytest.raises(AnnotationError, match="holds 0 videos; give at least two"):
        SyntheticDistortions(folder=str(tmp_path / "made"), clean=str(clean)).load()
    written(clean, "noise", 1)
    shutil.move(clean / "clip.mp4", clean / "good.mp4")
    (clean / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(AnnotationError, match=r"clip_\d+ not made: its clean clip bad.mp4 is not a video"):
        SyntheticDistortions(folder=str(tmp_path / "made"), clean=str(clean), num_train=16, num_val=16).load()
    assert not list((tmp_path / "made").glob("v*"))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"distortions": ("haze", "noise")}, "there is no 'haze'. Give null for all, or some of: compression artifact"),
        ({"distortions": ("noise",)}, "give each once, two at least"),
        ({"questions": ("how",)}, "there is no 'how'"),
        ({"questions": ()}, "give one at least"),
        (
            {"questions": ("motion",), "distortions": SPATIAL[:2]},
            f"motion needs one of these in .*: {', '.join(MOTION)}",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(settings, rule):
    with pytest.raises(ConfigError, match=rule):
        SyntheticDistortions(**settings)
