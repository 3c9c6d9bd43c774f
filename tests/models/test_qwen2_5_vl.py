import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, GenerationConfig, Qwen2_5_VLForConditionalGeneration

from evqa.errors import CheckpointError, ConfigError
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.sampling import FrameSampling
from evqa.models.patches import CLIP_MEAN, CLIP_STD, Patches
from evqa.models.pretrained import vision_marks
from evqa.models.qwen2_5_vl import Qwen2_5_VL
from evqa.models.qwen_preparer import QwenPreparer, Timing
from evqa.models.splice import Targets
from evqa.prompts.chat import Chat
from evqa.prompts.prompt import Prompt
from evqa.types import Clip, LabelScale
from tests.asking import Answer, a_record, answers, prepare, question
from tests.golden import find, thinned
from tests.models import samples
from tests.models.twins.qwen2_5_vl import write

ROOT = Path(__file__).parents[2]
GOLDEN = find() or Path("nowhere")
needs_golden = pytest.mark.skipif(
    not (GOLDEN / "prompt/qwen2_5_vl.json").is_file(),
    reason="qwen2_5_vl.json is not in this copy of the reference numbers",
)


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return write(tmp_path_factory.mktemp("qwen2_5_vl"))


@pytest.fixture(scope="module")
def model(twin):
    return Qwen2_5_VL(samples.setting("v", logits=True), **twin).eval()


RECIPE = yaml.safe_load((ROOT / "experiments/paper_qwen2_5_vl.yaml").read_text())
PAPER_PROMPT = Prompt(**RECIPE["prompt"]).fitted(LabelScale())


@pytest.fixture(scope="module")
def paper():
    """The preparer of the recipe experiments/paper_qwen2_5_vl.yaml, with the reference tokenizer."""
    node = RECIPE["model"]
    patches = Patches(size=14, merge=2, temporal=2)
    frames = FrameSampling(**{key: value for key, value in RECIPE["frames"].items() if key != "_target_"})
    tokenizer = AutoTokenizer.from_pretrained(GOLDEN / "prompt/tokenizer_qwen2_5_vl")
    chat = Chat(
        tokenizer.backend_tokenizer,
        name="golden",
        pad=tokenizer.pad_token_id,
        system="You are a helpful assistant.",
        special_text=node["special_text"],
    )
    return QwenPreparer(
        ClipSpec(
            frames=FrameStream(
                sampling=frames,
                resize=patches.resize(node["min_pixels"], node["max_pixels"], exact=node["exact_pixels"]),
            )
        ),
        chat=chat,
        patches=patches,
        video=vision_marks(chat, pad=chat.token("<|video_pad|>")),
        timing=Timing(times_per_second=2, seconds_per_grid=node["seconds_per_grid"]),
    )


@pytest.fixture(scope="module")
def golden():
    return json.loads((GOLDEN / "prompt/qwen2_5_vl.json").read_text())


def texts(name):
    entry = next(e for e in json.loads((GOLDEN / "prompt/prompts.json").read_text())["prompts"] if e["name"] == name)
    words = [entry[field] for field in ("title", "description")]
    title, description = (None if w["kind"] in ("none", "nan") else str(w["value"]) for w in words)
    return a_record(name=name, path=name, title=title, description=description)


@needs_golden
def test_the_paper_recipe_writes_the_original_prompts_token_for_token(paper, golden):
    assert golden["prompts"]
    for entry in golden["prompts"]:
        turns = (*PAPER_PROMPT.turns(texts(entry["name"]), []), *Answer().turns())
        ids = list(paper.chat.encode(turns, [paper.video.around(1)]).ids)
        assert ids == entry["input_ids_before_video_expansion"], entry["name"]


@needs_golden
def test_the_paper_recipe_sees_the_original_frames_grids_and_pixels(paper, golden):
    pixels = np.load(GOLDEN / "prompt/qwen2_5_vl_pixels.npz")
    videos = [path for path in sorted((GOLDEN / "preprocess/videos").glob("*.mp4")) if path.name in golden["videos"]]
    assert videos
    for path in videos:
        expected = golden["videos"][path.name]
        clip = read_clip(path, paper.clip)
        inputs = prepare(paper, texts(expected["prompt"]), clip, Answer(), PAPER_PROMPT)
        batch = paper.collate([inputs])
        rows = paper.patches.normalise(batch["patches_NP"])
        kept, step = thinned(pixels, rf"{re.escape(path.stem)}\.pixel_values_videos_rows")
        wanted = torch.from_numpy(kept)
        assert len(clip.frames_FHWC) == len(expected["frame_indices"])
        assert list(batch.host["grids"]) == [size for grid in expected["video_grid_thw"] for size in grid]
        assert [video["seconds_per_grid"] for video in inputs["videos"]] == expected["second_per_grid_ts"]
        assert batch["text_BT"].shape[1] == expected["input_ids_length"]
        assert list(rows.shape) == expected["pixel_values_videos_shape"]
        torch.testing.assert_close(rows[::step][: len(wanted)], wanted, atol=1e-5, rtol=0)
        assert batch["text_BT"][0].tolist() == expected.get("input_ids", batch["text_BT"][0].tolist())


def by_hand(folder, clip, *, prefix, target=""):
    """Inputs for transformers' own model, made with its tokenizer and plain loops."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    patches = samples.naive_patches(clip.frames_FHWC, size=14, mean=CLIP_MEAN, std=CLIP_STD)
    grid = [(len(clip.frames_FHWC) + 1) // 2, 4, clip.frames_FHWC.shape[2] // 14]
    text = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        + "<|video_pad|>" * (len(patches) // 4)
        + f"<|vision_end|>{question(samples.RECORD)}<|im_end|>\n<|im_start|>assistant\n{prefix}{target}"
    )
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    video = tokenizer.convert_tokens_to_ids("<|video_pad|>")
    positions = samples.naive_positions(ids[0], video, [(grid[0], 2, grid[2] // 2)], per_step=2.6 * 4)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "position_ids": positions.T.unsqueeze(1),
        "pixel_values_videos": patches,
        "video_grid_thw": torch.tensor([grid]),
    }


@torch.no_grad()
@pytest.mark.parametrize("num_frames", [4, 5])
def test_hidden_states_and_answers_are_those_of_transformers_own_model(twin, model, num_frames):
    clip = samples.clip("v", num_frames=num_frames)
    original = Qwen2_5_VLForConditionalGeneration.from_pretrained(twin["checkpoint"]).eval()
    answer = samples.ANSWER
    inputs = by_hand(twin["checkpoint"], clip, prefix=answer.prefix, target=answer.target)
    expected = original.model(**inputs)
    batch = model.preparer.collate([samples.prepared(model, clip)])
    output = model(batch)
    torch.testing.assert_close(output.hidden_BTD, expected.last_hidden_state, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.logits(output.hidden_BTD), original(**inputs).logits, atol=1e-4, rtol=0)

    start = by_hand(twin["checkpoint"], clip, prefix=answer.prefix)
    greedy = GenerationConfig(do_sample=False, max_new_tokens=6, eos_token_id=model.chat.end, pad_token_id=0)
    new = original.generate(**start, generation_config=greedy)[0, start["input_ids"].shape[1] :]
    assert answers(model, batch, 6) == [model.chat.decode(new.tolist())]


def test_targets_are_learned_from_the_end_of_the_prefix_to_the_end_token(model):
    items = [samples.prepared(model, samples.clip("v")), samples.prepared(model, Clip(), answer=Answer(prefix="Yes"))]
    batch = model.preparer.collate(items)
    output = model(batch)
    place = int(output.answer_B[0])
    assert output.targets == Targets(
        rows=(0, 0), positions=(place, place + 1), ids=(model.chat.word_id(" good"), model.chat.end)
    )
    assert batch["text_BT"][0, place + 1] == model.chat.word_id(" good")
    assert output.answer_B[1] == output.mask_BT[1].sum() - 1


def test_a_sample_keeps_its_hidden_states_and_its_answer_among_longer_neighbours(model):
    items = [
        samples.prepared(model, samples.clip("v", num_frames=3, width=28), answer=Answer(prefix="Yes")),
        samples.prepared(model, Clip(missing=("no picture",))),
        samples.prepared(model, samples.clip("v", num_frames=8, seed=1), title="A long title " * 20),
    ]
    assert samples.largest_difference_to_alone(model, items) < 1e-5
    together = answers(model, model.preparer.collate(items), 5)
    assert together == [answers(model, model.preparer.collate([item]), 5)[0] for item in items]


def test_every_weight_of_every_part_is_trained(twin):
    model = Qwen2_5_VL(samples.setting("v", logits=True), **twin)
    assert [part.name for part in model.parts()] == ["vision", "connector", "language", "lm_head"]
    assert samples.trained_without_gradient(model, [samples.prepared(model, samples.clip("v"))]) == []


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("logits", [False, True])
def test_published_and_newer_key_names_load_alike(twin, model, tmp_path, newer, logits):
    weights = load_file(Path(twin["checkpoint"]) / "model.safetensors")
    assert "visual.patch_embed.proj.weight" in weights
    assert "model.embed_tokens.weight" in weights
    if newer:
        weights = {renamed(key): tensor for key, tensor in weights.items()}
    if not logits:
        del weights["lm_head.weight"]  # not needed, so not missed
    loaded = Qwen2_5_VL(samples.setting("v", logits=logits), **copy_with(twin, tmp_path, weights))
    for (name, expected), found in zip(model.body.named_parameters(), loaded.body.parameters(), strict=True):
        assert torch.equal(expected, found), name
    assert (loaded.lm_head is None) == (not logits)


def renamed(key):
    if key.startswith("visual."):
        return f"model.{key}"
    return key.replace("model.", "model.language_model.", 1) if key.startswith("model.") else key


def copy_with(twin, folder, weights=None, **config):
    source = Path(twin["checkpoint"])
    settings = json.loads((source / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(settings))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    if weights is not None:
        save_file(weights, folder / "model.safetensors")
    return twin | {"checkpoint": str(folder)}


@torch.no_grad()
def test_the_flat_configuration_of_the_published_checkpoints_gives_the_same_hidden_states(twin, model, tmp_path):
    new = json.loads((Path(twin["checkpoint"]) / "config.json").read_text())
    text = {key: value for key, value in new.pop("text_config").items() if key not in ("model_type", "layer_types")}
    rope = text.pop("rope_parameters")
    flat = text | {"rope_theta": rope["rope_theta"], "tie_word_embeddings": False}
    flat["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    vision = {key: value for key, value in new["vision_config"].items() if key != "rope_parameters"}
    folder = copy_with(twin, tmp_path, load_file(Path(twin["checkpoint"]) / "model.safetensors"))
    published = {key: value for key, value in new.items() if key != "vision_config"} | flat
    published["vision_config"] = vision | {"model_type": "qwen2_5_vl"}
    (tmp_path / "config.json").write_text(json.dumps(published))
    loaded = Qwen2_5_VL(samples.setting("v"), **folder).eval()
    batch = model.preparer.collate([samples.prepared(model, samples.clip("v"))])
    assert torch.equal(loaded(batch).hidden_BTD, model(batch).hidden_BTD)


def test_weights_that_do_not_fit_are_listed(twin, tmp_path):
    weights = load_file(Path(twin["checkpoint"]) / "model.safetensors")
    del weights["visual.merger.mlp.0.bias"]
    weights["model.norm.weight"] = torch.ones(7)
    with pytest.raises(CheckpointError) as caught:
        Qwen2_5_VL(samples.setting("v"), **copy_with(twin, tmp_path, weights))
    assert "keys 1 missing: visual.merger.mlp.0.bias; 1 of another shape: model.norm.weight has shape (7,), but" in str(
        caught.value
    )
    assert "describes a model with (32,)" in str(caught.value)


def test_a_checkpoint_of_another_kind_is_refused(twin, tmp_path):
    other = copy_with(twin, tmp_path, model_type="qwen2_vl")
    with pytest.raises(CheckpointError, match="holds a model of type 'qwen2_vl', not 'qwen2_5_vl'"):
        Qwen2_5_VL(samples.setting("v"), **other)


def test_a_folder_without_weights_is_reported(twin, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no weights; expected model\.safetensors or pytorch_model\.bin"):
        Qwen2_5_VL(samples.setting("v"), **copy_with(twin, tmp_path))


def test_a_model_that_only_sees_refuses_sound(twin):
    with pytest.raises(ConfigError, match=r"Qwen2\.5-VL has no audio encoder"):
        Qwen2_5_VL(samples.setting("av"), **twin)


def test_tied_embeddings_need_no_weights_for_the_lm_head(twin, tmp_path):
    weights = load_file(Path(twin["checkpoint"]) / "model.safetensors")
    del weights["lm_head.weight"]
    tied = Qwen2_5_VL(samples.setting("v", logits=True), **copy_with(twin, tmp_path, weights, tie_word_embeddings=True))
    assert tied.lm_head.weight is tied.body.language_model.embed_tokens.weight
    assert [part.name for part in tied.parts()] == ["vision", "connector", "language"]


def test_the_structure_is_built_without_weights_for_a_cost_card(twin):
    bare = samples.setting("v")
    bare = type(bare)(frames=bare.frames, audio=None, load=False)
    model = Qwen2_5_VL(bare, **twin)
    assert all(parameter.is_meta for parameter in model.parameters())
    height, width = model.preparer.clip.frames.resize.target_hw(854, 480)
    assert model.tokens_per_sample()["picture"] == 4 * (height // 28) * (width // 28)


@torch.no_grad()
@pytest.mark.parametrize("logits", [False, True])
def test_an_exported_folder_gives_the_same_hidden_states_here_and_in_transformers(twin, tmp_path, logits):
    model = Qwen2_5_VL(samples.setting("v", logits=logits), **twin).eval()
    for parameter in model.parameters():
        parameter.mul_(1.01)
    model.export(tmp_path / "out", head_state={})
    batch = model.preparer.collate([samples.prepared(model, samples.clip("v"))])
    again = Qwen2_5_VL(samples.setting("v", logits=logits), **twin | {"checkpoint": str(tmp_path / "out")}).eval()
    assert torch.equal(again(batch).hidden_BTD, model(batch).hidden_BTD)
    inputs = by_hand(tmp_path / "out", samples.clip("v"), prefix=samples.ANSWER.prefix, target=samples.ANSWER.target)
    theirs = AutoModel.from_pretrained(tmp_path / "out").eval()(**inputs).last_hidden_state
    torch.testing.assert_close(theirs, model(batch).hidden_BTD, atol=1e-5, rtol=0)


def test_half_precision_holds_bfloat16_weights(twin):
    model = Qwen2_5_VL(samples.setting("v"), **twin | {"dtype": "bfloat16"}).eval()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model(model.preparer.collate([samples.prepared(model, samples.clip("v"))])).hidden_BTD.isfinite().all()


def test_frames_of_another_size_than_asked_for_are_refused(model):
    odd = Clip(frames_FHWC=torch.zeros(2, 56, 57, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="frames of 56x57 pixels: both sides must be multiples of 28"):
        samples.prepared(model, odd)
