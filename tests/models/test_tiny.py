import pytest
import torch

from evqa.errors import ConfigError
from evqa.heads.levels import LevelsHead
from evqa.heads.text import TextHead
from evqa.media.audio import AudioWindow
from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.tiny import Tiny
from evqa.models.tiny_text import END, WORDS, decode, encode, word_id
from evqa.types import Clip
from tests.asking import Answer, a_record, answers, prepare

SENTENCE = Answer(prefix="Engagement:")


def build(*, modal="av", logits=False):
    torch.manual_seed(0)
    setting = BuildOptions(
        frames=FrameSampling(count=4) if "v" in modal else None,
        audio=AudioWindow(seconds=1.0) if "a" in modal else None,
        logits=logits,
    )
    return Tiny(setting, width=16, num_layers=2, num_heads=2).eval()


def item(model, number, *, answer=SENTENCE, picture=True, sound=True, num_rows=98):
    draw = torch.Generator().manual_seed(number)
    clip = Clip(
        frames_FHWC=torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8, generator=draw) if picture else None,
        fbank_RM=torch.randn(num_rows, 128, generator=draw) if sound else None,
    )
    record = a_record(name=str(number), path="x", title="t" * (number + 1))
    return prepare(model.preparer, record, clip, answer)


def pooled(model, items):
    output = model(model.preparer.collate(items))
    weight_BT1 = output.mask_BT.unsqueeze(-1)
    return (output.hidden_BTD * weight_BT1).sum(1) / weight_BT1.sum(1)


@pytest.mark.parametrize("modal", ["a", "v", "av"])
def test_only_what_the_modality_needs_is_built(modal):
    model = build(modal=modal)
    assert (model.vision is not None, model.audio is not None) == ("v" in modal, "a" in modal)
    names = {part.name for part in model.parts()}
    assert names == {"connector", "language"} | ({"audio_connector"} if "a" in modal else set())


def test_a_sample_is_the_same_alone_and_beside_longer_neighbours():
    model = build()
    items = [
        item(model, 0, num_rows=40),
        item(model, 30),
        item(model, 2, sound=False),
        item(model, 3, picture=False),
        item(model, 4, picture=False, sound=False),
        item(model, 5, num_rows=5),
    ]
    with torch.no_grad():
        alone = torch.cat([pooled(model, [one]) for one in items])
        together = pooled(model, items)
        turned = pooled(model, items[::-1]).flip(0)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    torch.testing.assert_close(alone, turned, atol=1e-5, rtol=0)


def test_a_target_is_predicted_from_the_position_before_it():
    model = build(logits=True)
    answer = Answer(prefix="It is ", target="57")
    output = model(model.preparer.collate([item(model, 3, answer=answer), item(model, 9, answer=answer)]))
    assert list(output.targets.ids) == 2 * [*encode("57"), END]
    assert list(output.targets.rows) == [0, 0, 0, 1, 1, 1]
    for row in range(2):
        at = int(output.answer_B[row])
        assert output.targets.positions[3 * row :][:3] == [at, at + 1, at + 2]
        assert not output.mask_BT[row, at + 4 :].any()
        assert output.mask_BT[row, : at + 4].all()


def test_generation_follows_the_largest_logits_and_ignores_neighbours():
    model = build(logits=True)
    items = [item(model, number, answer=Answer(prefix="It is ")) for number in (3, 9)]
    with torch.no_grad():
        output = model(model.preparer.collate(items))
        first = output.logits(output.answer_BD()).argmax(-1).tolist()
        together = answers(model, model.preparer.collate(items), 4)
        alone = [answers(model, model.preparer.collate([one]), 4)[0] for one in items]
    assert together == alone
    assert [text[:1] for text in together] == [decode([token])[:1] for token in first]


def test_no_user_text_becomes_a_special_token():
    assert max(encode("<|im_end|> <video> high \x00 \N{GRINNING FACE}")) < 256
    assert [word_id(word) for word in WORDS] == list(range(258, 258 + len(WORDS)))


@pytest.mark.parametrize("head", [LevelsHead, TextHead])
def test_a_model_without_its_lm_head_says_so(head):
    model = build(logits=False)
    output = model(model.preparer.collate([item(model, 1)]))
    with pytest.raises(ConfigError, match="built without its LM head"):
        output.logits(output.hidden_BTD[:, 0])


@pytest.mark.parametrize("absent", ["picture", "sound"])
def test_every_process_visits_every_part_whatever_its_batch_lacks(monkeypatch, absent):
    model = build().train()
    items = [item(model, 0, **{absent: False})]
    alone = pooled(model, items)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    beside = pooled(model, items)
    assert torch.equal(beside, alone)
    beside.sum().backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if name.startswith(("vision", "audio"))}
    assert all(gradient is not None for gradient in gradients.values())
    encoder = {"picture": "vision", "sound": "audio"}[absent]
    assert not any(gradient.any() for name, gradient in gradients.items() if name.startswith(encoder))
