import pytest
import torch
from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration

from evqa.models.qwen3_vl import Qwen3VL
from evqa.types import Clip
from tests.asking import Answer, answers, question
from tests.models import samples
from tests.models.twins.qwen3_vl import write


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return write(tmp_path_factory.mktemp("qwen3_vl"))


@pytest.fixture(scope="module")
def model(twin):
    return Qwen3VL(samples.setting("v", logits=True), **twin).eval()


@torch.no_grad()
def test_hidden_states_and_answers_are_those_of_transformers_own_model(twin, model):
    clip = samples.clip("v")  # five frames 1.3 s apart: pairs at 0-1.3, 2.6-3.9 and 5.2 s
    original = Qwen3VLForConditionalGeneration.from_pretrained(twin["checkpoint"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(twin["checkpoint"])
    patches = samples.naive_patches(clip.frames_FHWC, size=14, mean=(0.5,) * 3, std=(0.5,) * 3)
    pair = "<|vision_start|>" + "<|video_pad|>" * 6 + "<|vision_end|>"
    media = "".join(f"<{time} seconds>{pair}" for time in ("0.7", "3.2", "5.2"))
    text = f"<|im_start|>user\n{media}{question(samples.RECORD)}<|im_end|>\n<|im_start|>assistant\nIt is"
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values_videos": patches,
        "video_grid_thw": torch.tensor([[3, 4, 6]]),
        "mm_token_type_ids": 2 * (ids == tokenizer.convert_tokens_to_ids("<|video_pad|>")).int(),
    }
    expected = original.model(**inputs).last_hidden_state
    batch = model.preparer.collate([samples.prepared(model, clip, answer=Answer(prefix="It is"))])
    output = model(batch)
    torch.testing.assert_close(output.hidden_BTD, expected, atol=1e-5, rtol=0)
    new = original.generate(**inputs, do_sample=False, max_new_tokens=6, eos_token_id=model.chat.end, pad_token_id=0)
    assert answers(model, batch, 6) == [model.chat.decode(new[0, ids.shape[1] :].tolist())]


def test_a_sample_keeps_its_hidden_states_and_its_answer_among_longer_neighbours(model):
    items = [
        samples.prepared(model, samples.clip("v", num_frames=3, width=28)),
        samples.prepared(model, Clip()),
        samples.prepared(model, samples.clip("v", num_frames=8, seed=1), title="A long title " * 20),
    ]
    assert samples.largest_difference_to_alone(model, items) < 1e-5
    together = answers(model, model.preparer.collate(items), 5)
    assert together == [answers(model, model.preparer.collate([item]), 5)[0] for item in items]


def test_every_weight_of_every_part_is_trained(twin):
    model = Qwen3VL(samples.setting("v", logits=True), **twin)
    assert [part.name for part in model.parts()] == ["vision", "connector", "language", "lm_head"]
    claimed = tuple(prefix for part in model.parts() for prefix in part.prefixes)
    assert all(name.startswith(claimed) for name, _ in model.named_parameters())
    assert samples.trained_without_gradient(model, [samples.prepared(model, samples.clip("v"))]) == []


def test_under_distributed_training_idle_encoders_run_without_changing_the_result(model, monkeypatch):
    batch = model.preparer.collate([samples.prepared(model, Clip())])
    expected = model(batch).hidden_BTD
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    hidden = model(batch).hidden_BTD
    assert torch.equal(hidden, expected)
    hidden.sum().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if n.startswith("body.visual."))
    model.zero_grad()
