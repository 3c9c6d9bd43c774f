"""VQA²'s scorers, with the small reference weights in the published layout: from files to scores as the original."""

import csv
import os
import subprocess
import sys

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import evqa
from evqa.errors import CheckpointError, ConfigError
from evqa.types import MEDIA, Clip, Record, Turn
from tests.models.samples import Frames
from tests.models.vqa2 import reference

pytestmark = pytest.mark.usefixtures("vqa2")
FLOAT32 = ["model.dtype=float32", "trainer.precision=32", "trainer.accelerator=cpu"]
# What each protocol of the original asks, and the frames of its motion stream.
FIRST_RELEASE = (
    f"The key frames of this video are:\n{MEDIA}. And the motion feature of the video is\n{MEDIA}. "
    "How would you rate the quality of this video?"
)
PROTOCOLS = {
    "vqa2_ugc_first_release": (FIRST_RELEASE, "The quality of the video is", 8),
    "vqa2_ugc_current": (MEDIA * 2, "", 1),
    "vqa2_streaming_first_release": (
        f"How would you rate the quality of this video?\n{MEDIA}", "The quality of the video is", None,
    ),
}  # fmt: skip
WEIGHTS = {"vqa2_ugc_current": [1, 0.8, 0.6, 0.4, 0.2]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return reference.write_checkpoint(tmp_path_factory.mktemp("published") / "vqa2 weights")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Clips of different lengths, rates and sizes, without loss."""
    home = tmp_path_factory.mktemp("videos")
    for index, (frames, fps, size) in enumerate([(40, 10, (64, 48)), (75, 25, (96, 80)), (66, 12, (50, 90))]):
        write_video(home / f"{index}.mkv", frames=frames, fps=fps, size=size, seed=index)
    return home


def write_video(path, *, frames, fps, size, seed):
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        for _ in range(frames):
            picture = random.integers(0, 256, (size[1] // 2, size[0] // 2, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def as_the_original_reads(path, stride, side):
    """Decode everything; key frames at the start of each second; motion in whole strides, then a multiple of four."""
    with av.open(str(path)) as container:
        fps = round(container.streams.video[0].average_rate)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    small = np.stack(
        [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in frames]
    )
    keys = torch.from_numpy(small[range(0, len(small), fps)])
    if stride is None:
        return Clip(frames_FHWC=keys)
    motion = small[: len(small) // stride * stride : stride]
    return Clip(frames_FHWC=keys, motion=Frames(torch.from_numpy(motion[: len(motion) // 4 * 4])))


@torch.no_grad()
def as_the_original_scores(model, clip, protocol):
    """Run the sequence through the network and weigh the level words' probabilities, in float64."""
    question, prefix, _ = PROTOCOLS[protocol]
    turns = (Turn(role="user", text=question), Turn(role="assistant", text=prefix))
    output = model(model.preparer.collate([model.preparer.prepare(turns, [clip])]))
    words = [model.chat.word_id(f" {word}") for word in ("high", "good", "fair", "poor", "low")]
    logits = output.logits(output.answer_BD())[0, words].double().numpy()
    weights = np.array(WEIGHTS.get(protocol, [1, 0.75, 0.5, 0.25, 0]))
    return float((np.exp(logits) / np.exp(logits).sum()) @ weights)


def records(videos):
    return [Record(id=path.name, paths=(path,)) for path in sorted(videos.iterdir())]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_files_are_scored_as_by_the_original(folder, videos, protocol, batch_size):
    side = reference.read_json("tiny.json")["vision"]["image_size"]
    model = reference.build(folder)
    scorer = evqa.load(folder, overrides=[*FLOAT32, f"prompt={protocol}"], batch_size=batch_size)
    scores = list(scorer.score(records(videos)))
    assert [score.failure for score in scores] == [None] * 3
    for score, record in zip(scores, records(videos), strict=True):
        clip = as_the_original_reads(record.paths[0], PROTOCOLS[protocol][2], side)
        assert score.value == pytest.approx(as_the_original_scores(model, clip, protocol), abs=1e-5)


def test_a_command_scores_a_folder_with_weights_of_the_published_layout(folder, videos, tmp_path):
    command = [sys.executable, "-m", "evqa.predict", str(videos), "--scorer", str(folder), "--out", "scores.csv"]
    more = [part for line in FLOAT32 for part in ("--override", line)]
    done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True, check=True, env=quiet())
    assert "it is read as vqa2_ugc. For vqa2_streaming or vqa2_image or vqa2_assistant" in " ".join(done.stderr.split())
    with (tmp_path / "scores.csv").open() as file:
        written = {row["Id"]: float(row["mos"]) for row in csv.DictReader(file)}
    by_name = evqa.load("vqa2_ugc", overrides=[*FLOAT32, f"model.checkpoint='{folder}'"])
    assert written == pytest.approx(
        {score.id.removesuffix(".mkv"): score.value for score in by_name.score(records(videos))}
    )


def test_scores_are_given_on_another_scale_where_one_is_named(folder, videos):
    given = [f"model.checkpoint='{folder}'", *FLOAT32]
    unit, stretched = (
        [score.value for score in evqa.load("vqa2_ugc", overrides=[*given, *more]).score(records(videos))]
        for more in ([], ["data.label.range=[1,5]"])
    )
    assert stretched == pytest.approx([1 + 4 * score for score in unit])


def test_a_renamed_key_ends_a_command_with_a_sentence(folder, videos, tmp_path):
    broken = reference.write_checkpoint(tmp_path / "broken")
    state = load_file(broken / "model.safetensors")
    state["model.layers.0.mlp.up_projection.weight"] = state.pop("model.layers.0.mlp.up_proj.weight")
    save_file(state, broken / "model.safetensors")
    command = [sys.executable, "-m", "evqa.predict", str(videos), "--scorer", str(broken)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=quiet())
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "1 missing: model.layers.0.mlp.up_proj.weight; 1 unexpected: model.layers.0.mlp.up_projection.weight" in said
    assert "Traceback" not in said


def test_what_the_original_skips_is_told(folder, tmp_path):
    write_video(tmp_path / "short.mkv", frames=30, fps=10, size=(64, 48), seed=0)
    write_video(tmp_path / "long.mkv", frames=260, fps=10, size=(64, 48), seed=0)
    given = [Record(id=name, paths=(tmp_path / f"{name}.mkv",)) for name in ("short", "long")]
    scorer = evqa.load(folder, overrides=[*FLOAT32, "model.motion.at_most=24"])
    short, long = (str(score.failure) for score in scorer.score(given))
    assert "has too few frames (30) for policy all with stride 8 and multiple_of 4" in short
    assert "has 32 frames to take (policy all of 260), more than the 24 allowed; raise its stride or at_most" in long


def test_the_assistant_answers_and_gives_no_scores(folder, videos):
    scorer = evqa.load("vqa2_assistant", overrides=[*FLOAT32, f"model.checkpoint='{folder}'"])
    answer = next(iter(scorer.ask(records(videos), question="Is it sharp?")))
    assert answer.failure is None
    with pytest.raises(ConfigError, match="gives no score"):
        next(iter(scorer.score(records(videos))))


def test_weights_that_are_not_here_say_how_to_get_them(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"q-future/VQA-UGC-Scorer-llava_qwen.* --revision 297de10254d0b4d4"):
        evqa.load("vqa2_ugc")


def quiet():
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "80"}
