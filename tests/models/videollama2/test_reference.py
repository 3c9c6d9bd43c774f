"""Every stage against the numbers of the original code; dimensions come from the files."""

import pytest
import torch
from torch.nn import functional

from evqa.models.videollama2.beats import position_buckets
from evqa.models.videollama2.layout import HEAD
from evqa.training.losses import Plcc
from tests.models.videollama2 import reference
from tests.models.videollama2.reference import relative


def record(module, name, kept):
    def keep(_module, _inputs, output):
        kept[name] = getattr(output, "last_hidden_state", output)

    return module.register_forward_hook(keep)


@pytest.fixture
def kept(twin):
    """What every module of the twin returns during a test, under the names of the reference files."""
    outputs, beats = {}, twin.audio_tower
    named = {
        "vision.embeddings": twin.vision_tower.embeddings,
        "vision.features": twin.vision_tower,
        **{f"stc.{name}": getattr(twin.mm_projector, name) for name in ("s1", "sampler", "s2", "readout")},
        **{f"beats.{name}": getattr(beats, name) for name in ("patch_embedding", "layer_norm", "post_extract_proj")},
        "beats.pos_conv": beats.encoder.pos_conv,
        "beats.encoder_layer_norm": beats.encoder.layer_norm,
        "beats.encoder_out": beats.encoder,
        **{f"beats.layer{index}": layer for index, layer in enumerate(beats.encoder.layers)},
        "audio_projector": twin.mm_projector_a,
        **{f"out.llm.layer{index}": layer for index, layer in enumerate(twin.language.layers)},
    }
    hooks = [record(module, name, outputs) for name, module in named.items()]
    yield outputs
    for hook in hooks:
        hook.remove()


def batch_of(name):
    case = reference.read_tensors(f"case_{name}")
    return case, reference.case_inputs(case, reference.case_kinds(name))


@torch.no_grad()
def test_vision_and_audio_encoders_give_the_original_intermediate_values(twin, kept):
    inputs = reference.read_tensors("inputs")
    pixels, fbank = inputs["pixel_values"], inputs["fbank"]
    twin.encode_frames(pixels.flatten(0, 1), [pixels.shape[1]] * len(pixels))
    twin.encode_audio(fbank, [fbank.shape[1]] * len(fbank))
    expected = reference.read_tensors("encoders_v") | reference.read_tensors("encoders_a")
    num_tokens = len(kept["beats.encoder_out"][0])
    kept["beats.position_bias"] = twin.audio_tower.encoder.position_bias(num_tokens).repeat(len(fbank), 1, 1)
    errors = {name: relative(kept[name], value) for name, value in expected.items()}
    assert max(errors.values()) < reference.RELATIVE, errors


@torch.no_grad()
@pytest.mark.parametrize("name", reference.case_names())
def test_sequences_hidden_states_and_scores_are_the_originals(twin, kept, pixels_given, name):
    case, batch = batch_of(name)
    spliced, head = twin.sequence(batch), reference.original_head(twin)
    output = twin(batch)
    found = kept | {
        "out.spliced.inputs_embeds": spliced.embeds_BTD,
        "out.llm.last_hidden": output.hidden_BTD,
        "out.pooled": output.hidden_BTD.mean(1),
        "out.reg.fc1": head.fc1(output.hidden_BTD.mean(1)),
        "out.reg.out": head(output)[:, None],
    }
    compared = [key for key in found if key in case]
    errors = {key: relative(found[key], case[key]) for key in compared}
    assert max(errors.values()) < reference.RELATIVE, errors
    if "out.spliced.attention_mask" in case:
        assert torch.equal(output.mask_BT, case["out.spliced.attention_mask"])
    torch.testing.assert_close(head(output), case["out.score"], atol=reference.SCORE, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", reference.case_names())
def test_losses_are_the_originals(twin, pixels_given, name):
    case, batch = batch_of(name)
    score, mos = reference.original_head(twin)(twin(batch)), case["in.mos"][:, 0]
    assert float(functional.mse_loss(score, mos)) == pytest.approx(float(case["out.loss_mse"]), rel=reference.LOSS)
    if len(mos) > 1 and "out.loss_plcc" in case:
        loss = Plcc()(score, mos)
        assert float(loss) == pytest.approx(float(case["out.loss_plcc"]), rel=reference.LOSS)


@torch.no_grad()
@pytest.mark.parametrize("modal", ["a", "v"])
def test_a_model_without_eyes_or_ears_scores_as_the_original_with_one_input(folder, pixels_given, modal):
    case, batch = batch_of(f"{modal}_b3")
    model = reference.build(folder, modal)
    score = reference.original_head(model)(model(batch))
    torch.testing.assert_close(score, case["out.score"], atol=reference.SCORE, rtol=0)


@torch.no_grad()
def test_a_masked_mean_gives_every_sample_the_score_it_has_alone(twin, pixels_given):
    summary, head = reference.read_json("model/summary.json"), reference.original_head(twin)
    head.pooling = "masked"
    for name, expected in ((n, c["score_each_alone_b1"]) for n, c in summary["cases"].items() if n.endswith("_b3")
                           and "score_each_alone_b1" in c):  # fmt: skip
        score = head(twin(batch_of(name)[1]))
        torch.testing.assert_close(score, torch.tensor(expected), atol=reference.SCORE, rtol=0)


@torch.no_grad()
def test_eager_attention_gives_the_original_scores(folder, pixels_given):
    model = reference.build(folder, attention="eager")
    expected = reference.read_json("model/summary.json")["eager_attention_scores"]["av"]
    score = reference.original_head(model)(model(batch_of("av_b3")[1]))
    torch.testing.assert_close(score, torch.tensor(expected), atol=reference.SCORE, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["fbank_bf16", "pixel_half", "fbank_bf16_then_half_and_pixel_half"])
def test_rounded_inputs_move_the_scores_as_in_the_original(twin, pixels_given, kind):
    _, batch = batch_of("av_b3")
    given = batch.tensors
    given["fbank_NRM"] = given["fbank_NRM"].bfloat16() if "fbank" in kind else given["fbank_NRM"]
    given["frames_NHWC"] = given["frames_NHWC"].half().float() if "pixel" in kind else given["frames_NHWC"]
    expected = reference.read_json("model/summary.json")["input_cast_sensitivity"]["av"][kind]
    score = reference.original_head(twin)(twin(batch))
    torch.testing.assert_close(score, torch.tensor(expected), atol=reference.SCORE, rtol=0)


def probe_names():
    names = reference.read_tensors("probes")
    return [name.removesuffix(".in") for name in names if name.endswith(".in") and name != "vision.in"]


@torch.no_grad()
@pytest.mark.parametrize("name", probe_names())
def test_single_parts_agree_on_unusual_inputs(twin, name):
    probes, head = reference.read_tensors("probes"), reference.original_head(twin)
    value = probes[f"{name}.in"]
    run = {
        "stc": twin.mm_projector,
        "beats": twin.audio_tower,
        "llm": lambda embeds: twin.language(inputs_embeds=embeds).last_hidden_state,
        "reg": lambda pooled: head.fc2(head.fc1(pooled).relu()),
    }[name.split(".")[0]]
    tolerance = 5e-4 if name == "beats.near_mean" else reference.RELATIVE
    assert relative(run(value), probes.get(f"{name}.out")) < tolerance


@torch.no_grad()
def test_hidden_states_of_the_vision_tower_are_the_originals(twin):
    probes, states = reference.read_tensors("probes"), []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: states.append(out))
        for layer in twin.vision_tower.encoder.layers
    ]
    states.append(twin.vision_tower.embeddings(probes["vision.in"]))
    twin.vision_tower(probes["vision.in"])
    for hook in hooks:
        hook.remove()
    errors = [relative(state, probes[f"vision.hidden_states.{index}"]) for index, state in enumerate(states)]
    assert max(errors) < reference.RELATIVE, errors


@torch.no_grad()
def test_position_buckets_and_the_position_weight_are_the_originals(twin):
    probes, sizes = reference.read_tensors("probes"), reference.read_json("model/config.json")["beats_config"]
    for key, (num_buckets, max_distance) in {
        "beats.bucket_real_config": (320, 800),
        "beats.bucket_tiny_config": (sizes["num_buckets"], sizes["max_distance"]),
    }.items():
        expected = probes[key]
        ours = position_buckets((len(expected) + 1) // 2, num_buckets=num_buckets, max_distance=max_distance)
        assert torch.equal(ours, expected)
    weight = twin.audio_tower.encoder.pos_conv[0].weight()
    assert relative(weight, probes["beats.pos_conv_weight"]) < reference.RELATIVE


def trained_twin(folder):
    model = reference.build(folder, "av")
    return model.requires_grad_(True), reference.original_head(model)


def published_gradients(model, head):
    ours = {model.key_adapter.key_of(name): value.grad for name, value in model.named_parameters()}
    ours |= {HEAD + name: value.grad for name, value in head.named_parameters()}
    return {name: value for name, value in ours.items() if value is not None}


def test_gradients_are_the_originals_and_reach_the_same_parameters(folder, pixels_given):
    model, head = trained_twin(folder)
    case, batch = batch_of("av_b3")
    functional.mse_loss(head(model(batch)), case["in.mos"][:, 0]).backward()
    ours, expected = published_gradients(model, head), reference.read_tensors("grads_av_b3_mse")
    summary = reference.read_json("model/summary.json")
    assert ours.keys() == summary["grads_mse"]["l2"].keys()
    assert not ours.keys() & set(summary["no_grad_parameters"])
    # The gradient of a key's bias is zero in theory: softmax does not see it.
    biases = {name for name in expected if name.startswith("model.audio_tower") and name.endswith("k_proj.bias")}
    errors = {name: relative(ours[name], expected[name]) for name in expected.keys() - biases}
    assert max(errors.values()) < reference.GRADIENT, max(errors.items(), key=lambda item: item[1])
    assert all((ours[name] - expected[name]).abs().max() < 1e-5 for name in biases)
    for name, norm in summary["grads_mse"]["l2"].items():
        assert float(ours[name].double().norm()) == pytest.approx(norm, rel=reference.GRADIENT, abs=1e-4)


def test_five_optimizer_steps_follow_the_original(folder, pixels_given):
    model, head = trained_twin(folder)
    case, batch = batch_of("av_b3")
    summary = reference.read_json("model/summary.json")
    expected = next(value for key, value in summary.items() if key.startswith("five_adamw_steps"))["mse"]
    parameters = [*model.parameters(), *head.parameters()]
    optimizer, losses = torch.optim.AdamW(parameters, lr=1e-4), []
    for _ in expected["loss_before_each_step"]:
        optimizer.zero_grad()
        loss = functional.mse_loss(head(model(batch)), case["in.mos"][:, 0])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses == pytest.approx(expected["loss_before_each_step"], rel=1e-3)
    with torch.no_grad():
        assert head(model(batch)).tolist() == pytest.approx(expected["scores_after_5_steps"], abs=3e-3)
