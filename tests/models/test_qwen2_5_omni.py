import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Qwen2_5OmniThinkerForConditionalGeneration, WhisperFeatureExtractor

from evqa.models.patches import CLIP_MEAN, CLIP_STD
from evqa.models.qwen2_5_omni import LogMel, Qwen2_5Omni, num_audio_tokens
from evqa.training.tuning import Tuning, apply_tuning, merge_adapters
from evqa.types import Clip
from tests.asking import Answer, answers, question
from tests.models import samples
from tests.models.twins.qwen2_5_omni import write


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return write(tmp_path_factory.mktemp("qwen2_5_omni"))


@pytest.fixture(scope="module")
def model(twin):
    return Qwen2_5Omni(samples.setting("av", logits=True), **twin).eval()


@pytest.mark.parametrize("num_samples", [480, 16_000, 16_001, 33_333])
def test_mel_rows_are_those_of_the_official_padding_to_five_minutes(num_samples):
    waveform = torch.randn(num_samples, generator=torch.Generator().manual_seed(0)) * 0.1
    official = WhisperFeatureExtractor(feature_size=16, chunk_length=300)(
        waveform.numpy(), sampling_rate=16_000, return_attention_mask=True, padding="max_length", return_tensors="pt"
    )
    rows = official["attention_mask"][0].bool()
    torch.testing.assert_close(LogMel(16)(waveform), official["input_features"][0].T[rows], atol=1e-5, rtol=0)


def by_hand(folder, clip, *, prefix):
    """Inputs for transformers' own model, made with its tokenizer, its feature extractor and plain loops."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    media, inputs = "", {}
    if clip.frames_FHWC is not None:
        patches = samples.naive_patches(clip.frames_FHWC, size=14, mean=CLIP_MEAN, std=CLIP_STD)
        grid = [(len(clip.frames_FHWC) + 1) // 2, 4, clip.frames_FHWC.shape[2] // 14]
        media += "<|vision_bos|>" + "<|VIDEO|>" * (len(patches) // 4) + "<|vision_eos|>"
        inputs["pixel_values_videos"], inputs["video_grid_thw"] = patches, torch.tensor([grid])
        inputs["video_second_per_grid"] = torch.tensor([2.6])
    if clip.waveform_S is not None:
        sound = WhisperFeatureExtractor(feature_size=16, chunk_length=300)(
            clip.waveform_S.numpy(), sampling_rate=16_000, return_attention_mask=True, return_tensors="pt"
        )
        count = num_audio_tokens(int(sound["attention_mask"].sum()))
        media += "<|audio_bos|>" + "<|AUDIO|>" * count + "<|audio_eos|>"
        inputs["input_features"], inputs["feature_attention_mask"] = sound["input_features"], sound["attention_mask"]
    text = (
        f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{media}"
        f"{question(samples.RECORD)}<|im_end|>\n<|im_start|>assistant\n{prefix}"
    )
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    return inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_audio_in_video": False}


@torch.no_grad()
@pytest.mark.parametrize("modal", ["a", "v", "av"])
def test_hidden_states_and_answers_are_those_of_transformers_own_thinker(twin, modal):
    clip = samples.clip(modal)
    original = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(twin["checkpoint"]).eval()
    original.config.vision_start_token_id = original.model.config.vision_start_token_id = AutoTokenizer.from_pretrained(
        twin["checkpoint"]
    ).convert_tokens_to_ids("<|vision_bos|>")
    inputs = by_hand(twin["checkpoint"], clip, prefix="The engagement of the video is")
    expected = original.model(**inputs).last_hidden_state

    model = Qwen2_5Omni(samples.setting(modal, logits=True), **twin).eval()
    answer = Answer(prefix="The engagement of the video is", target=None)
    batch = model.preparer.collate([samples.prepared(model, clip, answer=answer)])
    output = model(batch)
    torch.testing.assert_close(output.hidden_BTD, expected, atol=1e-5, rtol=0)
    new = original.generate(**inputs, do_sample=False, max_new_tokens=6, eos_token_id=model.chat.end, pad_token_id=0)
    assert answers(model, batch, 6) == [model.chat.decode(new[0, inputs["input_ids"].shape[1] :].tolist())]


def test_a_sample_keeps_its_hidden_states_and_its_answer_among_other_modalities(model):
    clips = [
        samples.clip("av", seconds=0.3, width=28),
        samples.clip("v", num_frames=8),
        samples.clip("a", seconds=2.5),
        Clip(missing=("no picture", "no audio track")),
    ]
    items = [samples.prepared(model, clip) for clip in clips]
    assert samples.largest_difference_to_alone(model, items) < 1e-5
    assert samples.largest_difference_to_alone(model, items[::-1]) < 1e-5
    together = answers(model, model.preparer.collate(items), 5)
    assert together == [answers(model, model.preparer.collate([item]), 5)[0] for item in items]


def test_a_batch_without_pictures_ignores_the_positions_of_the_batch_before(model):
    heard = model.preparer.collate([samples.prepared(model, samples.clip("a"))])
    before = model(heard).hidden_BTD
    answers(model, model.preparer.collate([samples.prepared(model, samples.clip("av"))]), 3)
    assert torch.equal(model(heard).hidden_BTD, before)


@pytest.mark.parametrize(
    ("modal", "parts"),
    [
        ("a", ["audio", "audio_connector", "language"]),
        ("v", ["vision", "connector", "language"]),
        ("av", ["vision", "connector", "audio", "audio_connector", "language"]),
    ],
)
def test_only_the_towers_of_the_modality_are_built_and_all_their_weights_are_trained(twin, modal, parts):
    model = Qwen2_5Omni(samples.setting(modal), **twin)
    assert [part.name for part in model.parts()] == parts
    assert any("visual" in name for name in model.state_dict()) == ("v" in modal)
    assert any("audio_tower" in name for name in model.state_dict()) == ("a" in modal)
    assert samples.trained_without_gradient(model, [samples.prepared(model, samples.clip(modal))]) == []


def test_a_sound_too_short_for_one_token_yields_none(model):
    assert [num_audio_tokens(rows) for rows in (1, 2, 3, 100)] == [0, 0, 1, 25]
    short = Clip(waveform_S=torch.ones(300))
    assert samples.prepared(model, short)["sounds"] == []


def test_the_thinker_of_a_full_checkpoint_is_read_and_its_voice_is_not(twin, model, tmp_path):
    source = Path(twin["checkpoint"])
    thinker = json.loads((source / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_omni", "thinker_config": thinker}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    weights = {f"thinker.{key}": tensor for key, tensor in load_file(source / "model.safetensors").items()}
    assert "thinker.model.embed_tokens.weight" in weights
    save_file(weights | {"talker.model.norm.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    loaded = Qwen2_5Omni(samples.setting("av", logits=True), **twin | {"checkpoint": str(tmp_path)})
    for (name, expected), found in zip(model.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(expected, found), name


def test_an_export_of_a_model_without_audio_encoder_takes_it_over_from_the_base(twin, tmp_path):
    model = Qwen2_5Omni(samples.setting("v"), **twin).eval()
    model.export(tmp_path / "out", head_state={})
    again = Qwen2_5Omni(samples.setting("v"), **twin | {"checkpoint": str(tmp_path / "out")}).eval()
    batch = model.preparer.collate([samples.prepared(model, samples.clip("v"))])
    assert torch.equal(again(batch).hidden_BTD, model(batch).hidden_BTD)


@torch.no_grad()
def test_adapters_reach_only_the_named_towers_and_fold_into_an_exported_folder(twin, tmp_path):
    model = Qwen2_5Omni(samples.setting("av"), **twin).eval()
    batch = model.preparer.collate([samples.prepared(model, samples.clip("av"))])
    apply_tuning(model, Tuning(method="lora", rank=2, adapt=("language", "vision"), train=()))
    adapted = [name for name, _ in model.named_parameters() if "lora_B" in name]
    assert {name.split(".")[1] for name in adapted} == {"language_model", "visual"}
    assert len(adapted) == 2 * 7 + 2 * 7
    for name in adapted:
        torch.nn.init.normal_(model.get_parameter(name), std=0.1)
    expected = model.eval()(batch).hidden_BTD
    merge_adapters(model)
    model.export(tmp_path / "out", head_state={})
    again = Qwen2_5Omni(samples.setting("av"), **twin | {"checkpoint": str(tmp_path / "out")}).eval()
    torch.testing.assert_close(again(batch).hidden_BTD, expected, atol=1e-4, rtol=0)


def test_under_distributed_training_idle_towers_run_without_changing_the_result(model, monkeypatch):
    batch = model.preparer.collate([samples.prepared(model, Clip())])
    expected = model(batch).hidden_BTD
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    hidden = model(batch).hidden_BTD
    assert torch.equal(hidden, expected)
    model.zero_grad()
    hidden.sum().backward()
    prefixes = tuple(p for part in model.parts() if part.name != "lm_head" for p in part.prefixes)
    idle = [n for n, p in model.named_parameters() if n.startswith(prefixes) and p.grad is None]
    assert idle == []
    model.zero_grad()
