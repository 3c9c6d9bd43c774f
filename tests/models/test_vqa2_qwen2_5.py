"""VQA²'s Qwen2.5-VL variant: motion tokens behind the video, each clip by itself, weights in the original's layout."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from evqa.errors import CheckpointError
from evqa.models.patches import CLIP_MEAN, CLIP_STD
from evqa.models.vqa2_qwen2_5 import Vqa2Qwen2_5
from evqa.types import MEDIA, Clip, Turn
from tests.asking import answers, question
from tests.models import samples
from tests.models.twins.vqa2_qwen2_5 import write


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return write(tmp_path_factory.mktemp("vqa2_qwen2_5"))


@pytest.fixture(scope="module")
def model(twin):
    return Vqa2Qwen2_5(samples.setting("v", logits=True), **twin).eval()


def a_clip(*, num_motion: int, num_frames: int = 4, seed: int = 0) -> Clip:
    generator = torch.Generator().manual_seed(seed)
    motion = torch.randint(0, 256, (num_motion, 192, 192, 3), dtype=torch.uint8, generator=generator)
    return replace(samples.clip("v", num_frames=num_frames, seed=seed), motion=samples.Frames(motion))


def test_sizes_and_counts_are_those_of_the_published_reader(model, vqa2):
    rows = json.loads((vqa2 / "qwen2_5_variant_tables.json").read_text())["rows"]
    assert rows
    for row in rows:
        budget = row["max_pixels"] or 768 * 28 * 28  # the reader's own
        resize = model.patches.resize(row["min_pixels"], budget)
        size = {"height": row["height"], "width": row["width"]}
        assert list(resize.target_hw(*size.values())) == row["resized_hw"]
        assert model.patches.tokens_of_clip(row["nframes"], resize, **size) == row["video_tokens"]
        motion = model.preparer.clip.motion
        seconds_N = [i / row["avg_fps"] for i in range(row["num_frames"])]
        taken = motion.sampling.choose(seconds_N, end_seconds=seconds_N[-1], average_fps=row["avg_fps"])
        assert taken == list(range(row["num_motion_frames"]))
        assert list(motion.resize.target_hw(*size.values())) == row["motion_resize_hw"]


def by_hand(model, original, clip: Clip) -> dict:
    """Inputs for transformers' own model: its tokenizer, plain loops, and a whole clip through the motion branch."""
    tokenizer = AutoTokenizer.from_pretrained(model.checkpoint.folder)
    patches = samples.naive_patches(clip.frames_FHWC, size=14, mean=CLIP_MEAN, std=CLIP_STD)
    grid = [len(clip.frames_FHWC) // 2, 4, clip.frames_FHWC.shape[2] // 14]
    text = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        + "<|video_pad|>" * (len(patches) // 4)
        + "<|vision_end|>"
        + "<|vision_pad|>" * clip.motion.num_frames
        + f"{question(samples.RECORD)}<|im_end|>\n<|im_start|>assistant\n{samples.ANSWER.prefix}"
    )
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    video, motion = tokenizer.convert_tokens_to_ids(["<|video_pad|>", "<|vision_pad|>"])
    positions = samples.naive_positions(ids[0], video, [(grid[0], 2, grid[2] // 2)], per_step=2.6 * 4)
    frames_TCHW = clip.motion.frames_THWC.permute(0, 3, 1, 2) / 255
    embeds = original.get_input_embeddings()(ids)
    embeds[ids == motion] = model.motion_projector(model.motion.pathway((frames_TCHW - 0.5) / 0.5))
    return {
        "input_ids": ids,
        "inputs_embeds": embeds,
        "position_ids": positions.T.unsqueeze(1),
        "pixel_values_videos": patches,
        "video_grid_thw": torch.tensor([grid]),
    }


@torch.no_grad()
def test_hidden_states_and_answers_are_those_of_qwen_with_motion_behind_the_video(model, twin):
    clip = a_clip(num_motion=40)  # more than a chunk
    original = Qwen2_5_VLForConditionalGeneration.from_pretrained(twin["checkpoint"]).eval()
    inputs = by_hand(model, original, clip)
    batch = model.preparer.collate([samples.prepared(model, clip, answer=replace(samples.ANSWER, target=None))])
    assert batch["text_BT"].tolist() == inputs["input_ids"].tolist()
    expected = original.model(**inputs).last_hidden_state
    torch.testing.assert_close(model(batch).hidden_BTD, expected, atol=1e-4, rtol=0)

    new = []
    for _ in range(4):
        token = original(**inputs).logits[0, -1].argmax()
        new.append(int(token))
        inputs["input_ids"] = torch.cat([inputs["input_ids"], token.view(1, 1)], dim=1)
        words = original.get_input_embeddings()(token).view(1, 1, -1)
        inputs["inputs_embeds"] = torch.cat([inputs["inputs_embeds"], words], dim=1)
        inputs["position_ids"] = torch.cat([inputs["position_ids"], inputs["position_ids"][..., -1:] + 1], dim=2)
    assert answers(model, batch, 4) == [model.chat.decode(new)]


def test_a_sample_keeps_its_hidden_states_and_its_answer_beside_other_motion_and_none(model):
    still = Clip(frames_FHWC=samples.clip("v").frames_FHWC[:1], missing=("no motion: the file is a still image",))
    items = [
        samples.prepared(model, a_clip(num_motion=4)),
        samples.prepared(model, still),
        samples.prepared(model, Clip()),
        samples.prepared(model, a_clip(num_motion=36, num_frames=8, seed=1), title="A long title <|vision_pad|>" * 9),
    ]
    assert samples.largest_difference_to_alone(model, items) < 1e-5
    together = answers(model, model.preparer.collate(items), 5)
    assert together == [answers(model, model.preparer.collate([item]), 5)[0] for item in items]


@torch.no_grad()
def test_motion_stands_in_its_own_place_where_a_question_has_two_a_file(model):
    clips = [a_clip(num_motion=4), a_clip(num_motion=8, seed=1)]

    def asked(text):
        return model.preparer.prepare([Turn(role="user", text=text)], clips)

    parted, joined = asked(f"{MEDIA}a{MEDIA}b{MEDIA}c{MEDIA}"), asked(f"{MEDIA}{MEDIA}")
    assert joined["ids_T"].tolist() == asked(MEDIA * 4)["ids_T"].tolist()
    ids = parted["ids_T"].tolist()
    runs = [len(run) for run in "".join("m" if token == model.motion_token else " " for token in ids).split()]
    assert runs == [4, 8]
    (a,) = model.chat.plain("a")
    assert ids[ids.index(model.video.end) + 1 :][:2] == [a, model.motion_token]
    batch = model.preparer.collate([parted])
    tokens_TD = model.words(batch)["inputs_embeds"][batch["text_BT"] == model.motion_token]
    expected_TD = torch.cat([model.encode_motion(clip.motion) for clip in clips])
    torch.testing.assert_close(tokens_TD, expected_TD, atol=1e-6, rtol=0)


def test_no_motion_is_read_where_none_is_asked_for(twin):
    model = Vqa2Qwen2_5(samples.setting("v"), **twin, motion=None)
    assert model.preparer.clip.motion is None
    assert [part.name for part in model.parts()] == ["vision", "connector", "language"]
    prepared = model.preparer.prepare([Turn(role="user", text=MEDIA * 2)], [samples.clip("v")])
    assert prepared["notes"] == ("no motion was read (model.motion=null); its place in the question is empty",)
    assert model.motion_token not in prepared["ids_T"]


def test_every_weight_of_every_part_is_trained(twin):
    model = Vqa2Qwen2_5(samples.setting("v", logits=True), **twin)
    names = ["vision", "connector", "language", "lm_head", "motion", "motion_connector"]
    assert [part.name for part in model.parts()] == names
    assert samples.trained_without_gradient(model, [samples.prepared(model, a_clip(num_motion=4))]) == []


def test_a_projector_that_is_trained_in_float32_fits_a_model_in_half_precision(twin):
    model = Vqa2Qwen2_5(samples.setting("v"), **twin | {"dtype": "bfloat16"}).eval()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    model.motion_projector.float()
    hidden = model(model.preparer.collate([samples.prepared(model, a_clip(num_motion=4))])).hidden_BTD
    assert hidden.dtype == torch.bfloat16
    assert hidden.isfinite().all()


def test_under_distributed_training_idle_towers_run_without_changing_the_result(model, monkeypatch):
    batch = model.preparer.collate([samples.prepared(model, Clip())])
    expected = model(batch).hidden_BTD
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    hidden = model(batch).hidden_BTD
    assert torch.equal(hidden, expected)
    hidden.sum().backward()
    prefixes = tuple(prefix for part in model.parts() if part.name != "lm_head" for prefix in part.prefixes)
    assert [n for n, p in model.named_parameters() if n.startswith(prefixes) and p.grad is None] == []
    model.zero_grad()


@pytest.mark.parametrize("more", [{}, {"motion": None}])
def test_an_export_holds_every_weight_of_the_base_also_those_that_nothing_reads(twin, tmp_path, more):
    model = Vqa2Qwen2_5(samples.setting("v", logits=not more), **twin, **more)
    model.export(tmp_path / "out", head_state={})
    base, out = (load_file(folder / "model.safetensors") for folder in (Path(twin["checkpoint"]), tmp_path / "out"))
    assert base.keys() == out.keys()
    assert all(torch.equal(tensor, out[key]) and tensor.dtype == out[key].dtype for key, tensor in base.items())
    again = Vqa2Qwen2_5(samples.setting("v"), **twin | {"checkpoint": str(tmp_path / "out")})
    assert again.motion is not None


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("slowfast_projector.2.bias", "keys 1 missing: slowfast_projector.2.bias; 1 unexpected: other.weight"),
        ("slowfast.feature_extraction.3.multipathway_blocks.1.res_blocks.1.branch2.norm_a.running_var",
         "1 missing: slowfast.feature_extraction.3.multipathway_blocks.1.res_blocks.1.branch2.norm_a.running_var; "
         "1 unexpected: other.weight"),
    ],
)  # fmt: skip
def test_a_renamed_weight_of_the_motion_branch_is_named(twin, tmp_path, key, sentence):
    weights = load_file(Path(twin["checkpoint"]) / "model.safetensors")
    weights["other.weight"] = weights.pop(key)
    save_file(weights, tmp_path / "model.safetensors")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((Path(twin["checkpoint"]) / name).read_bytes())
    with pytest.raises(CheckpointError) as caught:
        Vqa2Qwen2_5(samples.setting("v"), **twin | {"checkpoint": str(tmp_path)})
    assert sentence in str(caught.value)
