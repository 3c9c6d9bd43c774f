"""Answers of every model that generates, found by listing conf/model at toy size."""

from dataclasses import replace

import pytest
import torch
from transformers import GenerationConfig

from evqa.errors import ConfigError
from evqa.models.tiny import Text
from evqa.models.tiny_text import END, decode
from evqa.prompts.decoding import Decoding
from evqa.training.build import build_model
from evqa.training.plan import read_plan
from tests.models.toys import MODELS, configure, samples

LONG = 12
SAMPLED = Decoding(max_new_tokens=LONG, temperature=1.0, top_k=50, top_p=0.95, seed=5)
PENALISED = Decoding(max_new_tokens=LONG, repetition_penalty=1.4)
DECODINGS = [Decoding(max_new_tokens=LONG), PENALISED, SAMPLED]


@pytest.fixture(scope="module", params=list(MODELS))
def made(request, twin):
    """A model with its largest modality, and inputs of different lengths, one without media."""
    name, torch_threads = request.param, torch.get_num_threads()
    torch.set_num_threads(1)
    modal = MODELS[name][1][-1]
    torch.manual_seed(0)
    scorer = build_model(read_plan(configure(name, modal, "text", arguments=twin(name))))
    scorer.model.eval()
    yield scorer.model, samples(scorer, modal, learn=False), samples(scorer, modal, learn=True)
    torch.set_num_threads(torch_threads)


def answers(model, items, decoding):
    pieces = list(model.generate(model.preparer.collate(items), decoding))
    return ["".join(parts) for parts in zip(*pieces, strict=True)]


@pytest.mark.parametrize("decoding", DECODINGS, ids=["greedy", "penalised", "sampled"])
def test_an_answer_is_the_same_alone_among_neighbours_and_a_second_time(made, decoding):
    model, items, _ = made
    together = answers(model, items, decoding)
    assert all(together)
    assert together == [answers(model, [item], decoding)[0] for item in items]
    assert together == answers(model, items[::-1], decoding)[::-1]


def test_settings_of_the_decoding_change_the_answers(made):
    model, items, _ = made
    by_settings = [answers(model, items, one) for one in (*DECODINGS, replace(SAMPLED, seed=6))]
    assert all(one != other for place, one in enumerate(by_settings) for other in by_settings[:place])


def test_a_longer_answer_begins_as_the_shorter_one(made):
    model, items, _ = made
    longer = answers(model, items, Decoding(max_new_tokens=LONG))
    for short, long in zip(answers(model, items, Decoding(max_new_tokens=5)), longer, strict=True):
        assert long.startswith(short.rstrip("\N{REPLACEMENT CHARACTER}"))


def test_one_row_stops_at_its_stop_text_and_the_others_go_on(made):
    model, items, _ = made
    before = answers(model, items, SAMPLED)
    stop = before[0][2:5]
    after = answers(model, items, replace(SAMPLED, stop=(stop,)))
    assert after[0] == before[0][: before[0].index(stop)]
    assert all(full.startswith(cut) for cut, full in zip(after, before, strict=True))
    assert after[1] == before[1].partition(stop)[0]


def layers(model):
    trunk = getattr(model, "trunk", None) or getattr(model, "language", None) or model.body.language_model
    return trunk.layers


def encoders(model):
    names = ("vision", "audio", "vision_tower", "audio_tower", "body.visual", "body.audio_tower")
    modules = dict(model.named_modules())
    return {name: modules[name] for name in names if name in modules}


def test_encoders_and_trunk_read_the_prompt_once_and_then_one_token_at_a_time(made):
    model, items, _ = made
    lengths, calls, hooks = [], [], []
    first = layers(model)[0]
    hooks.append(first.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1])))
    for name, encoder in encoders(model).items():
        hooks.append(encoder.register_forward_pre_hook(lambda *_, name=name: calls.append(name)))
    inputs = model.preparer.collate(items)
    assert any(answers(model, items, Decoding(max_new_tokens=LONG)))
    for hook in hooks:
        hook.remove()
    once_a_forward = len(calls)
    with torch.no_grad():
        hooks = [
            encoder.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
            for name, encoder in encoders(model).items()
        ]
        model(inputs)
        for hook in hooks:
            hook.remove()
    assert set(calls) == set(encoders(model))
    assert len(calls) == 2 * once_a_forward  # as often as one forward pass calls them
    prefill, *steps = lengths
    assert prefill > LONG
    assert steps == [1] * len(steps)
    assert len(steps) == LONG - 1


def test_targets_in_the_inputs_are_not_read(made):
    model, items, with_targets = made
    assert model.preparer.collate(with_targets).host["target_ids"]
    assert answers(model, with_targets, PENALISED) == answers(model, items, PENALISED)


@pytest.mark.parametrize("made", ["tiny"], indirect=True)
def test_the_embedded_models_cache_changes_nothing(made):
    model, items, _ = made
    cached = answers(model, items, Decoding(max_new_tokens=LONG))
    for item, answer in zip(items, cached, strict=True):
        inputs = model.preparer.collate([item])
        with torch.no_grad():
            prompt_BTD, new = model._spliced(inputs).embeds_BTD, list[int]()
            while len(new) < LONG and END not in new:
                words_BTD = model.text(torch.cat([inputs["text_BT"], torch.tensor([new]).long()], dim=1))
                following_BTD = words_BTD[:, inputs["text_BT"].shape[1] :]
                hidden_BTD = model.trunk(torch.cat([prompt_BTD, following_BTD], dim=1))
                new.append(int(model.lm_head(hidden_BTD[0, -1]).argmax()))
        assert decode(new) == answer


@pytest.mark.parametrize("made", ["videollama2", "vqa2"], indirect=True)
def test_the_cache_of_spliced_models_changes_nothing(made):
    model, items, _ = made
    cached = answers(model, items, Decoding(max_new_tokens=LONG))
    for item, answer in zip(items, cached, strict=True):
        with torch.no_grad():
            spliced, new = model.sequence(model.preparer.collate([item])), list[int]()
            prompt_BTD = spliced.embeds_BTD[:, : spliced.answer_B + 1]
            while len(new) < LONG and model.chat.end not in new:
                following_BTD = model.trunk.embed_tokens(torch.tensor([new]).long())
                embeds_BTD = torch.cat([prompt_BTD, following_BTD], dim=1)
                whole = replace(spliced, embeds_BTD=embeds_BTD, mask_BT=torch.ones(embeds_BTD.shape[:2]).bool())
                new.append(int(model.lm_head(model.read(whole)[0, -1]).argmax()))
        assert model.chat.decode(new) == answer


def test_an_answer_that_outgrows_the_embedded_model_is_told(twin):
    scorer = build_model(read_plan(configure("tiny", "v", "text", arguments=twin("tiny") | {"max_tokens": 60})))
    item = samples(scorer, "v", learn=False)[0]
    model = scorer.model.eval()
    assert 40 < item["answer"] < 50
    with pytest.raises(ConfigError, match=r"model\.max_tokens=60: a sample has 61 tokens"):
        answers(model, [item], Decoding(max_new_tokens=100, temperature=1.0))


def named_media(model, item):
    """One sample's pictures and sound as transformers' own model takes them."""
    media = {}
    for video in item["videos"]:
        media |= {"pixel_values_videos": model.patches.normalise(video["patches_NP"])}
        media |= {"video_grid_thw": video["grid_3"].unsqueeze(0)}
    for mel in item["sounds"]:
        media |= {"input_features": mel.T.unsqueeze(0)}
        media |= {"feature_attention_mask": torch.ones(1, len(mel), dtype=torch.long)}
    return media


@pytest.mark.parametrize("made", [name for name in MODELS if name.startswith("qwen")], indirect=True)
@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_qwens_answers_are_those_of_transformers_own_generation(made, penalty):
    model, items, _ = made
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=LONG,
        repetition_penalty=penalty,
        eos_token_id=[model.chat.end, model.chat.pad],
        pad_token_id=model.chat.pad,
    )
    together = answers(model, items, Decoding(max_new_tokens=LONG, repetition_penalty=penalty))
    (whole,) = model._whole
    original = type(whole).from_pretrained(model.checkpoint.folder).eval()
    for item, ours in zip(items, together, strict=True):
        inputs = model.preparer.collate([item])
        ids = original.generate(
            input_ids=inputs["text_BT"],
            attention_mask=inputs["mask_BT"].long(),
            position_ids=inputs["position_3BT"],
            generation_config=settings,
            **named_media(model, item),
        )
        assert ours == model.chat.decode(ids[0, inputs["text_BT"].shape[1] :].tolist())


def test_a_model_without_its_lm_head_says_that_it_cannot_generate(twin):
    scorer = build_model(read_plan(configure("tiny", "v", "regression", arguments=twin("tiny"))))
    inputs = scorer.model.preparer.collate(samples(scorer, "v", learn=False))
    with pytest.raises(ConfigError, match="without its LM head"):
        scorer.model.generate(inputs, Decoding())


@pytest.mark.parametrize("made", [name for name in MODELS if name.startswith("qwen")], indirect=True)
def test_the_penalty_counts_a_prompt_as_written_and_neither_padding_nor_targets(made):
    model, _, with_targets = made
    prompts = model.prefill(model.preparer.collate(with_targets)).prompts
    assert prompts == [item["ids_T"][: item["answer"] + 1].tolist() for item in with_targets]
    assert any(len(item["ids_T"]) > item["answer"] + 1 for item in with_targets)


@pytest.mark.parametrize("made", ["tiny", "videollama2"], indirect=True)
def test_the_penalty_counts_new_tokens_alone_where_embeddings_are_read(made):
    model, items, _ = made
    inputs = model.preparer.collate(items[:1])
    once = next(model.generate(inputs, Decoding(max_new_tokens=2, repetition_penalty=1e6)))
    assert once == next(model.generate(inputs, Decoding(max_new_tokens=2)))


def test_a_row_that_has_ended_does_not_outgrow_the_embedded_model(twin):
    scorer = build_model(read_plan(configure("tiny", "v", "text", arguments=twin("tiny"))))
    model, items = scorer.model.eval(), samples(scorer, "v", learn=False)
    shorter, longer = items[0], items[2]
    settings = Decoding(max_new_tokens=8)
    stop = answers(model, [longer], settings)[0][0]
    alone = answers(model, [shorter], settings)
    assert stop not in alone[0]
    limit = len(longer["ids_T"]) + 5
    model.trunk.position.weight = torch.nn.Parameter(model.trunk.position.weight[:limit].detach())
    assert answers(model, [longer, shorter], replace(settings, stop=(stop,))) == ["", *alone]


@pytest.mark.parametrize("length", [1, 3, 7, 8, 9, 20])
def test_a_token_is_embedded_alone_as_in_its_text(length):
    torch.manual_seed(0)
    text, ids_BT = Text(16), torch.randint(0, 255, (2, length))
    window_BR = text.last_window(ids_BT, [length - 1, length // 2])
    whole_BTD = text(ids_BT)
    expected_BD = torch.stack([whole_BTD[0, length - 1], whole_BTD[1, length // 2]])
    torch.testing.assert_close(text.embed_last(window_BR), expected_BD)
