import csv
import threading
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from evqa.datasets.scenes import GRADED_WORDS, choose_words, draw_frames, make_sound
from evqa.datasets.synthetic import SHARES, Synthetic, draw_factors, mix_label, scenes_of
from evqa.errors import ConfigError
from evqa.media.audio import AudioWindow
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling


@pytest.mark.parametrize("number", [16, 100, 256, 512])
def test_factors_are_uncorrelated_exactly_and_labels_nearly_uniform(number: int) -> None:
    factors = draw_factors(number, seed=(0, 1))
    np.testing.assert_allclose(factors.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(factors.T @ factors / number, np.eye(4), atol=1e-9)
    labels = np.array(mix_label(factors))
    assert labels.std() == pytest.approx(12**-0.5, abs=0.03)
    assert labels.min() > 0
    assert labels.max() < 1


def test_the_best_scores_are_known() -> None:
    factors = draw_factors(512, seed=(3, 0))
    z, weights = [NormalDist().inv_cdf(label) for label in mix_label(factors)], np.sqrt(list(SHARES.values()))
    for known, highest in (((0, 2), 0.7483), ((1, 2), 0.7483), ((0, 1, 2), 0.9327)):
        best = factors[:, known] @ weights[list(known)]
        assert np.corrcoef(best, z)[0, 1] == pytest.approx(highest, abs=1e-4)


def test_picture_sound_and_words_carry_the_factors() -> None:
    factors = draw_factors(96, seed=(0, 0))
    scenes = scenes_of(factors, range(96), seed=0)
    redness = [float((frames[..., 0].astype(float) - frames[..., 2]).mean()) for frames in map(draw_frames, scenes)]
    assert np.corrcoef(redness, factors[:, 0])[0, 1] > 0.85
    power = [np.abs(np.fft.rfft(make_sound(scene))) ** 2 for scene in scenes]
    balance = [np.log(p[4000:7000].sum() / p[400:800].sum()) for p in power]
    assert np.corrcoef(balance, factors[:, 1])[0, 1] > 0.9
    said = [set(" ".join(choose_words(scene)).split()) & set(GRADED_WORDS) for scene in scenes]
    assert [{GRADED_WORDS[scene.grade]} for scene in scenes] == said
    assert np.corrcoef([scene.grade for scene in scenes], factors[:, 2])[0, 1] > 0.95
    texts = [choose_words(scene) for scene in scenes]
    assert any(not title for title, _ in texts)
    assert any(not description for _, description in texts)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    data = Synthetic(folder=str(tmp_path_factory.mktemp("synthetic")), num_train=20, num_val=16)
    makers = [threading.Thread(target=data.read) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    return data


def test_two_makers_at_the_same_time_leave_one_whole_folder(data: Synthetic) -> None:
    assert [path.name for path in Path(data.folder).iterdir()] == [data.home().name]
    annotations = data.load()
    assert {name: len(records) for name, records in annotations.splits.items()} == {"train": 20, "val": 16}
    assert not annotations.rejects
    with (data.home() / "factors.csv").open(newline="") as file:
        rows = {row["Id"]: [float(row[name]) for name in SHARES] for row in csv.DictReader(file)}
    labels = mix_label(np.array([rows[record.id] for record in annotations.splits["val"]]))
    assert [record.label for record in annotations.splits["val"]] == pytest.approx(labels, abs=1e-5)


def test_the_same_seed_gives_the_same_bytes(data: Synthetic, tmp_path: Path) -> None:
    again = Synthetic(folder=str(tmp_path), num_train=20, num_val=16)
    again.read()
    for path in (path for path in data.home().rglob("*") if path.is_file()):
        assert path.read_bytes() == (again.home() / path.relative_to(data.home())).read_bytes()


def test_the_clips_have_picture_and_sound(data: Synthetic) -> None:
    spec = ClipSpec(
        frames=FrameStream(sampling=FrameSampling(policy="uniform", count=4), resize=Resize(size=64)),
        audio=AudioWindow(policy="whole"),
    )
    clip = read_clip(data.load().splits["train"][0].paths[0], spec)
    assert clip.frames_FHWC is not None
    assert clip.frames_FHWC.shape == (4, 64, 64, 3)
    assert clip.waveform_S is not None
    assert len(clip.waveform_S) == pytest.approx(32000, abs=1100)
    assert not clip.missing


def test_folds_divide_the_training_clips(data: Synthetic) -> None:
    splits = Synthetic(folder=data.folder, num_train=20, num_val=16, folds=4, fold=1).load().splits
    assert {name: len(records) for name, records in splits.items()} == {"train": 15, "val": 5, "holdout": 16}


def test_too_few_clips_and_another_scale_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.num_val=3: give at least 16"):
        Synthetic(num_val=3)
