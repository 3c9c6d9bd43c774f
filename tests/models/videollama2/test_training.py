"""What training does to the model: what gets gradients, what is recomputed, what is dropped."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional

from evqa.errors import ConfigError, MissingDependencyError
from evqa.media.audio import AudioWindow
from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.random_weights import MOST_DRAWN, random_weights
from evqa.models.videollama2.model import Videollama2
from evqa.training.tuning import Tuning, apply_tuning, is_adapter, part_of
from evqa.types import Clip
from tests.asking import Answer, a_record, answers, prepare


def build(modal="av", **more):
    asked = BuildOptions(
        frames=FrameSampling() if "v" in modal else None,
        audio=AudioWindow() if "a" in modal else None,
        logits=more.pop("logits", False),
    )
    return Videollama2(asked, size="tiny", **{"dtype": "float32"} | more)


def batch_of(model, *, modal="av", num=2):
    generator = torch.Generator().manual_seed(1)
    items = []
    for index in range(num):
        frames = torch.randint(0, 256, (4, 56, 56, 3), dtype=torch.uint8, generator=generator)
        sound = torch.randn(50 + 16 * index, 128, generator=generator)
        clip = Clip(frames_FHWC=frames if "v" in modal else None, fbank_RM=sound if "a" in modal else None)
        items.append(prepare(model.preparer, a_record(name="a", path="a"), clip, Answer(prefix="The", target=" good")))
    return model.preparer.collate(items)


def gradients(model, batch, *, seed=0):
    model.zero_grad()
    torch.manual_seed(seed)
    model(batch).hidden_BTD.square().sum().backward()
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("modal", ["a", "v", "av"])
def test_everything_that_is_not_frozen_gets_a_gradient(modal):
    model = build(modal).train()
    apply_tuning(model, Tuning())
    found = gradients(model, batch_of(model, modal=modal))
    wanted = {name for name, _ in model.named_parameters() if part_of(model, name) != "vision"}
    assert found.keys() == wanted


def test_the_vision_tower_learns_only_where_a_recipe_asks_and_never_in_the_exact_mode():
    for exact, learns in ((False, True), (True, False)):
        model = build("v", exact=exact).train()
        apply_tuning(model, Tuning(freeze=()))
        found = gradients(model, batch_of(model, modal="v"))
        assert any(part_of(model, name) == "vision" for name in found) == learns


def test_audio_layers_are_dropped_in_training_only_and_by_torchs_generator():
    model = build("a")
    dims = model.audio_tower.encoder.dims
    assert dims.encoder_layerdrop == 0.05
    fbank = torch.randn(1, 64, 128)
    expected = model.eval().audio_tower(fbank)
    object.__setattr__(dims, "encoder_layerdrop", 0.5)
    assert torch.equal(model.audio_tower(fbank), expected)
    model.train()
    outputs = []
    for seed in (0, 0, 1, 2, 3, 4):
        torch.manual_seed(seed)
        outputs.append(model.audio_tower(fbank))
    object.__setattr__(dims, "encoder_layerdrop", 0.05)
    assert torch.equal(outputs[0], outputs[1])
    assert len({float(output.detach().sum()) for output in outputs}) > 2


def test_adapters_train_the_language_models_projections_and_the_connectors():
    model = build().train()
    apply_tuning(model, Tuning(method="lora", rank=2))
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):  # the first step moves only one factor of each adapter
        gradients(model, batch_of(model))
        optimizer.step()
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    connectors = {name for name in before if part_of(model, name) in ("connector", "audio_connector")}
    assert changed == connectors | {name for name in before if is_adapter(name)}
    assert {name.split(".")[4] for name in changed if is_adapter(name)} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}  # fmt: skip


def test_random_weights_depend_on_their_seed_alone():
    torch.manual_seed(1)
    one = build("a").state_dict()
    torch.manual_seed(2)
    two, three = build("a").state_dict(), build("a", init_seed=1).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["language.embed_tokens.weight"], three["language.embed_tokens.weight"])


def test_a_large_random_weight_repeats_what_was_drawn_but_no_row():
    layer = nn.Linear(1024, 2 * MOST_DRAWN // 1024 + 1, bias=False)
    random_weights(layer, seed=0, device="cpu", language=())
    weight = layer.weight.detach()
    assert torch.equal(weight.view(-1)[:1000], weight.view(-1)[MOST_DRAWN : MOST_DRAWN + 1000])
    assert len(torch.unique(weight[:, :8], dim=0)) == len(weight)
    assert float(weight.std()) == pytest.approx(1024**-0.5, rel=0.01)


def test_building_leaves_the_callers_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    build("a")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("logits", [True, False])
def test_half_precision_trains_and_scores(logits):
    model = build(dtype="bfloat16", logits=logits).train()
    batch = batch_of(model)
    found = gradients(model, batch)
    assert all(torch.isfinite(value).all() for value in found.values())
    output = model.eval()(batch)
    assert output.hidden_BTD.dtype == torch.bfloat16
    if logits:
        assert output.logits(output.hidden_BTD[:, -1]).shape == (2, model.dims.language.vocab_size)
        assert len(answers(model, batch, 3)) == 2


def test_gelu_of_halves_is_the_rounded_one_of_float32():
    """As the original's BEATs computes it, for every number of bfloat16 that is not below float32's own smallest."""
    halves = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16)
    halves = halves[halves.isfinite() & ((halves.abs() > 1e-37) | (halves == 0))]
    assert torch.equal(functional.gelu(halves), functional.gelu(halves.float()).bfloat16())


def test_trained_parts_may_be_kept_in_float32_beside_a_frozen_half():
    model = build(dtype="bfloat16").train()
    model.mm_projector.float()
    model.mm_projector_a.float()
    batch = batch_of(model)
    assert gradients(model, batch)["mm_projector.readout.0.weight"].dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert gradients(model, batch)["mm_projector_a.0.weight"].dtype == torch.float32


def test_casting_the_model_keeps_its_positions_exact():
    model = build("a")
    expected = model.language.rotary_emb.inv_freq.clone()
    torch.nn.ModuleDict({"model": model}).to(torch.bfloat16)
    assert model.language.norm.weight.dtype == torch.bfloat16
    assert torch.equal(model.language.rotary_emb.inv_freq, expected)


def test_automatic_mixed_precision_accepts_float32_weights():
    model = build().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(batch_of(model)).hidden_BTD.float().square().sum()
    loss.backward()
    assert torch.isfinite(loss)


def test_a_process_without_media_still_visits_every_trained_part(monkeypatch):
    model = build().train()
    batch = batch_of(model, modal="")
    visited = {part_of(model, name) for name in gradients(model, batch)}
    assert visited == {"language"}
    expected = model(batch).hidden_BTD
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    found = gradients(model, batch)
    assert {part_of(model, name) for name in found} == {"language", "connector", "audio", "audio_connector"}
    assert all(value.abs().max() == 0 for name, value in found.items() if part_of(model, name) != "language")
    assert torch.equal(model(batch).hidden_BTD, expected)


def test_attention_that_is_not_installed_says_what_to_install():
    if find_spec("flash_attn"):
        pytest.skip("flash-attn is installed")
    with pytest.raises(MissingDependencyError, match=r"model.attention=flash_attention_2 needs the package flash-attn"):
        build(attention="flash_attention_2")


def test_logits_without_an_lm_head_are_refused():
    model = build("a")
    output = model(batch_of(model, modal="a"))
    with pytest.raises(ConfigError, match="built without its LM head"):
        output.logits(output.hidden_BTD[:, -1])
