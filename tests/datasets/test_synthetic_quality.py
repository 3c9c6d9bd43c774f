from dataclasses import replace

import numpy as np
import pytest

from evqa.datasets.impairments import FPS, IMPAIRMENTS, SECONDS, ImpairedScene, draw_content, impair, write_impaired
from evqa.datasets.synthetic_quality import SyntheticQuality, draw_scenes, mos_of
from evqa.errors import ConfigError
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.types import LabelScale

EVERY = ClipSpec(frames=FrameStream(sampling=FrameSampling(policy="all"), resize=Resize(mode="native")))
LUMINANCE = np.array([0.299, 0.587, 0.114])


def with_grades(seed=0, **grades):
    return ImpairedScene(id="clip", grades=dict.fromkeys(IMPAIRMENTS, 0) | grades, seed=(seed,))


def decoded(path):
    """Luminance [F, H, W] of a written clip."""
    return read_clip(path, EVERY).frames_FHWC.numpy() @ LUMINANCE


def measure(luma_FHW):
    """Return one number for each impairment that grows with it; what stands still is taken off for blur and blocks."""
    moving_FHW = luma_FHW - luma_FHW.mean(0)
    second = moving_FHW[..., 4:] - 2 * moving_FHW[..., 2:-2] + moving_FHW[..., :-4]
    step2_W = (np.diff(moving_FHW) ** 2).mean((0, 1))
    at_edge = np.arange(1, luma_FHW.shape[2]) % 8 == 0
    return {
        "blur": -np.log((second**2).mean()),
        "blocks": np.log(step2_W[at_edge].mean() / step2_W[~at_edge].mean()),
        "noise": np.median(np.abs(np.diff(luma_FHW, n=4))),
        "drops": (np.abs(np.diff(luma_FHW, axis=0)).mean((1, 2)) < 1.5).mean(),
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", IMPAIRMENTS)
def test_each_grade_shows_in_the_written_clip_by_a_measure_of_its_own(name, seed, tmp_path):
    found = []
    for grade in range(5):
        write_impaired(with_grades(seed, **{name: grade}), folder=tmp_path)
        found.append(measure(decoded(tmp_path / "clip.mp4"))[name])
    assert found == sorted(set(found))
    if name == "drops":
        assert [round(share * (FPS * SECONDS - 1)) for share in found] == [0, 4, 8, 13, 17]


def test_each_grade_can_be_told_beside_the_others(tmp_path):
    scenes = draw_scenes(range(100), seed=1)
    for scene in scenes:
        write_impaired(scene, folder=tmp_path)
    found = [measure(decoded(tmp_path / f"{scene.id}.mp4")) for scene in scenes]
    for name, least in {"blur": 0.85, "blocks": 0.88, "noise": 0.98, "drops": 0.98}.items():
        pairs = [(measured[name], scene.grades[name]) for measured, scene in zip(found, scenes, strict=True)]
        assert np.corrcoef(np.transpose(pairs))[0, 1] > least, name


def test_the_encoder_adds_less_than_the_lowest_grade_of_noise(tmp_path):
    for scene in (with_grades(), with_grades(blur=4, blocks=4)):
        write_impaired(scene, folder=tmp_path)
        drawn = impair(draw_content(scene), scene) @ LUMINANCE
        assert (decoded(tmp_path / "clip.mp4") - drawn).std() < IMPAIRMENTS["noise"] / 2


def test_key_frames_do_not_show_drops():
    whole, dropped = (
        impair(draw_content(scene), scene) for scene in (with_grades(noise=1), with_grades(noise=1, drops=4))
    )
    np.testing.assert_array_equal(whole[::FPS], dropped[::FPS])
    assert len(np.unique(dropped, axis=0)) == 24 - 17


def test_grades_are_balanced_and_every_one_lowers_the_mos_alike():
    scenes = draw_scenes(range(300, 500), seed=0)
    for name in IMPAIRMENTS:
        assert np.bincount([scene.grades[name] for scene in scenes]).tolist() == [40] * 5
    grades = np.array([list(scene.grades.values()) for scene in scenes])
    assert np.abs(np.corrcoef(grades.T) - np.eye(4)).max() < 0.2
    assert np.std([mos_of(scene) for scene in scenes]) == pytest.approx(4 * 12**-0.5, abs=0.1)
    worse = [replace(scenes[0], grades=scenes[0].grades | {name: scenes[0].grades[name] + 1}) for name in IMPAIRMENTS]
    assert len({mos_of(scene) for scene in worse}) == 1
    assert mos_of(worse[0]) < mos_of(scenes[0])
    assert 1 < mos_of(with_grades(**dict.fromkeys(IMPAIRMENTS, 4))) < mos_of(with_grades()) < 5


def test_made_clips_are_read_with_their_mos_and_their_grades_as_tags(tmp_path):
    annotations = SyntheticQuality(folder=str(tmp_path), num_train=20, num_val=16).load()
    assert {name: len(records) for name, records in annotations.splits.items()} == {"train": 20, "val": 16}
    assert not annotations.rejects
    scenes = draw_scenes(range(20, 36), seed=0)
    for record, scene in zip(annotations.splits["val"], scenes, strict=True):
        assert record.label == pytest.approx(mos_of(scene), abs=1e-5)
        assert record.tags == {name: str(grade) for name, grade in scene.grades.items()}
    assert len(read_clip(record.paths[0], EVERY).frames_FHWC) == FPS * SECONDS


def test_another_scale_is_refused_before_clips_are_made(tmp_path):
    data = SyntheticQuality(folder=str(tmp_path / "clips"), label=LabelScale(name="mos", range=(0, 100)))
    rule = r"label\.range=\[0\.0, 100\.0\]: synthetic labels lie in 1-5; leave it at \[1,5\]"
    with pytest.raises(ConfigError, match=rule):
        data.load()
    assert not (tmp_path / "clips").exists()
