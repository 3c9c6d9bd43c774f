"""From a media file to the original's score, with the small reference weights."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from evqa.media.clip import read_clip
from evqa.models.pixels import normalise
from evqa.prompts.defaults import ENGAGEMENT
from evqa.types import Clip
from tests.asking import Answer, a_record, prepare
from tests.golden import media, small_pixels, thinned
from tests.models.videollama2 import reference

OTHER_DECODER = 5e-3  # as in the README of the reference numbers, for a decoder that differs by one last bit
SCORES = reference.read_json("model/end_to_end.json")
IMAGE_SIZE = reference.read_json("model/config.json")["vision_config"]["image_size"]
VIDEOS = reference.read_json("preprocess/videos.json")["videos"]


def find(name):
    """The media file, where it is at hand unchanged."""
    for folder in (reference.GOLDEN / "preprocess/videos", media()):
        path = folder / name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == VIDEOS[name]["sha256"]:
            return path
    return None


AT_HAND = [name for name in SCORES["videos"] if find(name)]


def pixels_of(name):
    path = reference.GOLDEN / f"preprocess/pixels_{name.rpartition('.')[0]}.npz"
    found = small_pixels(path, "none") if path.is_file() else None
    return found[0] if found and found[1:] == (reference.NUM_FRAMES, IMAGE_SIZE) else None


@pytest.fixture(scope="module")
def models(folder):
    """One model for every combination of inputs; sampling is the preparer's."""
    return {modal: reference.build(folder, modal) for modal in ("av", "v", "a")}


def load(name):
    path = reference.GOLDEN / f"preprocess/{name}.npz"
    with np.load(path) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def read(model, name, policy):
    """Read a file as the audio-visual model asks, with other sampling."""
    stream = model.preparer.clip.frames
    frames = replace(stream, sampling=replace(stream.sampling, policy=policy))
    return read_clip(find(name), replace(model.preparer.clip, frames=frames))


def prepared(model, name, clip):
    words = SCORES["prompt"]
    record = a_record(name=name, path=find(name), title=words["title"], description=words["description"])
    return prepare(model.preparer, record, clip, Answer(prefix=ENGAGEMENT.answer))


@torch.no_grad()
@pytest.mark.parametrize("name", AT_HAND)
@pytest.mark.parametrize("policy", ["uniform", "first_n_seconds"])
def test_a_video_gets_the_original_score(models, name, policy):
    clip, expected = read(models["av"], name, policy), SCORES["videos"][name][f"float32_{policy}"]
    scores = {modal: reference.original_head(model)(model(model.preparer.collate([prepared(model, name, clip)])))
              for modal, model in models.items()}  # fmt: skip
    assert {modal: score.item() for modal, score in scores.items()} == pytest.approx(expected, abs=OTHER_DECODER)


@pytest.mark.parametrize(
    "path", sorted((reference.GOLDEN / "preprocess").glob("audio_*.npz")), ids=lambda path: path.stem
)
def test_the_filter_bank_of_a_waveform_is_the_originals(twin, path):
    given = load(path.stem)
    if "waveform_int16" not in given:
        pytest.skip("the whole waveform is not part of the reference numbers")
    waveform_S = twin.preparer.clip.audio.cut(given["waveform_int16"]).float() / 32768
    (fbank,) = prepare(twin.preparer, a_record(path=path), Clip(waveform_S=waveform_S), Answer())["fbanks"]
    assert fbank.dtype == torch.bfloat16
    expected, step = thinned(given, "fbank_bf16_as_float32")
    ours = fbank[::step]
    assert ours.shape == expected.shape
    # One bfloat16 step, where float32 noise crosses a rounding border (empty bins of a pure tone hold noise alone).
    assert (ours.float() - expected).abs().max() <= 0.125
    assert (ours.float() != expected).float().mean() < 2e-2


def test_missing_sound_is_thirty_seconds_of_zeros_as_in_the_original(models):
    name = next((name for name in AT_HAND if not VIDEOS[name]["has_audio_track"]), None)
    if name is None:
        pytest.skip("every video at hand has sound")
    (fbank,) = prepared(models["av"], name, read(models["av"], name, "uniform"))["fbanks"]
    audio = VIDEOS[name]["audio"]
    assert list(fbank.shape) == audio["fbank_shape"]
    assert (fbank == torch.tensor(audio["silence_value"]).bfloat16()).all()


@pytest.mark.parametrize("name", [name for name in AT_HAND if pixels_of(name) is not None])
def test_pixels_of_a_video_are_the_originals(models, name):
    (frames,) = prepared(models["v"], name, read(models["av"], name, "uniform"))["frames"]
    torch.testing.assert_close(normalise(frames), torch.from_numpy(pixels_of(name)), atol=1e-6, rtol=0)
