import copy
import json
import sys
from types import SimpleNamespace

import peft
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from evqa.errors import ConfigError, MissingDependencyError
from evqa.media.audio import AudioWindow
from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.four_bit import hold_in_four_bits
from evqa.models.tiny import Tiny
from evqa.training.adapted_linear import AdaptedLinear
from evqa.training.tuning import (
    Tuning,
    apply_tuning,
    is_adapter,
    merge_adapters,
    part_of,
    save_adapter,
    trained_parts,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Tiny(BuildOptions(frames=FrameSampling(), audio=AudioWindow()), width=16, num_heads=2)


def trained_names(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_full_tuning_trains_everything_but_the_frozen_parts(model):
    apply_tuning(model, Tuning(freeze=("connector",)))
    assert {part_of(model, name) for name in trained_names(model)} == {"audio_connector", "language"}


def test_lora_trains_adapters_and_connectors_and_nothing_else(model):
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    apply_tuning(model, Tuning(method="lora", rank=2))
    names = trained_names(model)
    adapters = {name for name in names if is_adapter(name)}
    assert len(adapters) == 2 * 6 * 2  # A and B of six projections in two layers
    assert {part_of(model, name) for name in names - adapters} == {"connector", "audio_connector"}
    assert all(
        torch.equal(before[n.replace(".base_layer", "")], p) for n, p in model.named_parameters() if n not in adapters
    )


def test_merged_adapters_leave_the_same_function_and_the_old_names(model):
    names = set(dict(model.named_parameters()))
    apply_tuning(model, Tuning(method="lora", rank=2, dropout=0.0))
    for name, parameter in model.named_parameters():
        if is_adapter(name):
            nn.init.normal_(parameter, std=0.1)
    embeds = torch.randn(1, 5, 16)
    with torch.no_grad():
        expected = model.trunk(embeds)
        merge_adapters(model)
        torch.testing.assert_close(model.trunk(embeds), expected, atol=1e-5, rtol=1e-5)
    assert set(dict(model.named_parameters())) == names


def test_the_table_counts_every_parameter_once(model):
    apply_tuning(model, Tuning(method="lora", rank=2))
    head = nn.Linear(16, 1)
    rows = trained_parts(model, head)
    assert {row.name for row in rows} == {"connector", "audio_connector", "language", "language (LoRA)", "head"}
    assert sum(row.total for row in rows) == sum(p.numel() for m in (model, head) for p in m.parameters())
    assert next(row.trained for row in rows if row.name == "language") == 0


def test_each_row_of_the_table_has_its_own_numbers(model):
    sizes = {
        part.name: sum(p.numel() for n, p in model.named_parameters() if part_of(model, n) == part.name)
        for part in model.parts()
    }
    apply_tuning(model, Tuning(method="lora", rank=2))
    rows = {row.name: (row.total, row.trained) for row in trained_parts(model, nn.Linear(16, 1))}
    adapters = sum(p.numel() for n, p in model.named_parameters() if is_adapter(n))
    assert rows == {
        "connector": (sizes["connector"], sizes["connector"]),
        "audio_connector": (sizes["audio_connector"], sizes["audio_connector"]),
        "language": (sizes["language"], 0),
        "language (LoRA)": (adapters, adapters),
        "head": (17, 17),
    }


def test_what_no_part_claims_is_called_other_and_prefixes_are_whole_names(model):
    assert part_of(model, "trunk.layers.0.weight") == "language"
    assert part_of(model, "trunk") == "language"
    assert part_of(model, "trunks.weight") == "other"
    assert is_adapter("trunk.q_proj.lora_A.default.weight")
    assert not is_adapter("trunk.lora.weight")


def test_frozen_parts_are_the_models_own_choice_unless_given(model, monkeypatch):
    monkeypatch.setattr(type(model), "frozen_parts", lambda self: ("language",))
    apply_tuning(model, Tuning())
    assert {part_of(model, name) for name in trained_names(model)} == {"connector", "audio_connector"}
    apply_tuning(model, Tuning(freeze=()))
    assert {part_of(model, name) for name in trained_names(model)} == {"connector", "audio_connector", "language"}


def test_adapters_have_the_rank_scale_and_dropout_that_were_asked_for(model):
    apply_tuning(model, Tuning(method="lora", rank=3, alpha=12, dropout=0.25))
    layers = [module for module in model.modules() if hasattr(module, "lora_A")]
    assert len(layers) == 12
    for layer in layers:
        assert layer.lora_A["default"].weight.shape[0] == 3
        assert layer.scaling["default"] == 4.0
        assert layer.lora_dropout["default"].p == 0.25
        assert layer.lora_A["default"].bias is None
    defaults = Tuning(method="lora")
    assert (defaults.rank, defaults.alpha, defaults.dropout) == (16, 32, 0.0)


def test_what_is_trained_beside_a_half_precision_base_is_float32(model):
    apply_tuning(model.to(torch.bfloat16), Tuning(method="lora", rank=2))
    assert {(parameter.requires_grad, parameter.dtype) for parameter in model.parameters()} == {
        (True, torch.float32),
        (False, torch.bfloat16),
    }


def test_full_tuning_keeps_the_precision_it_finds(model):
    apply_tuning(model.to(torch.bfloat16), Tuning())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def written_adapter(model, tuning, folder, *, revision=None):
    apply_tuning(model, tuning)
    save_adapter(model, tuning, folder, base="org/base", revision=revision)
    return json.loads((folder / "adapter_config.json").read_text()), load_file(folder / "adapter_model.safetensors")


def test_a_saved_adapter_names_its_base_layers_and_whole_modules(model, tmp_path):
    tuning = Tuning(method="lora", rank=3, alpha=12, dropout=0.25)
    config, state = written_adapter(model, tuning, tmp_path, revision="abc123")
    assert {key: config[key] for key in ("r", "lora_alpha", "lora_dropout", "bias", "inference_mode")} == {
        "r": 3,
        "lora_alpha": 12,
        "lora_dropout": 0.25,
        "bias": "none",
        "inference_mode": True,
    }
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/base", "abc123")
    adapted = {name.partition(".lora_")[0] for name in trained_names(model) if is_adapter(name)}
    assert set(config["target_modules"]) == adapted
    assert set(config["modules_to_save"]) == {"vision", "audio", "text"}
    weights = {name.replace(".default.", "."): p for name, p in model.named_parameters() if p.requires_grad}
    assert set(state) == {f"base_model.model.{name}" for name in weights}
    with safe_open(tmp_path / "adapter_model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert all(torch.equal(state[f"base_model.model.{name}"], p) for name, p in weights.items())


def test_an_adapter_alone_saves_no_whole_module_and_a_base_without_revision_has_none(model, tmp_path):
    config, state = written_adapter(model, Tuning(method="lora", rank=2, train=()), tmp_path)
    assert (config["modules_to_save"], config["revision"], config["task_type"]) == (None, None, None)
    assert all(is_adapter(name) for name in state)


def test_an_adapter_says_its_task_where_its_base_has_a_published_class(model, tmp_path, monkeypatch):
    monkeypatch.setattr(type(model), "published_class", lambda self: "Qwen2ForCausalLM")
    assert written_adapter(model, Tuning(method="lora", rank=2), tmp_path)[0]["task_type"] == "CAUSAL_LM"


def test_a_list_of_modules_is_saved_one_by_one(model, tmp_path):
    model.vision = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    config, _ = written_adapter(model, Tuning(method="lora", rank=2), tmp_path)
    assert set(config["modules_to_save"]) == {"vision.0", "vision.1", "audio", "text"}


def test_a_model_without_adapters_is_not_saved_as_one(model, tmp_path):
    with pytest.raises(ConfigError) as error:
        written_adapter(model, Tuning(), tmp_path)
    assert error.value.problems == [
        "--adapter: the run trained no adapter (lora=none); leave the flag out to export it whole."
    ]
    assert not list(tmp_path.iterdir())


FLAG = "is_loaded_in_4bit"


class Linear4bit(nn.Linear):
    """What bitsandbytes would be asked for, on a machine without it."""

    def __init__(self, inputs, outputs, bias, *, compute_dtype, device):
        super().__init__(inputs, outputs, bias, device=device)
        self.asked = (inputs, outputs, bias, compute_dtype)


class Params4bit(nn.Parameter):
    def __new__(cls, data, *, requires_grad, quant_type):
        made = super().__new__(cls, data, requires_grad)
        made.quant_type = quant_type
        return made


def test_layers_become_four_bit_ones_with_the_weights_and_bias_they_had(model, monkeypatch):
    stub = SimpleNamespace(nn=SimpleNamespace(Linear4bit=Linear4bit, Params4bit=Params4bit))
    monkeypatch.setitem(sys.modules, "bitsandbytes", stub)
    block = nn.Module()
    block.deep = nn.Module()
    block.deep.inner = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2, bias=False))
    layers = block.deep.inner
    before, bias = [layer.weight.clone() for layer in layers], layers[0].bias
    hold_in_four_bits(block, ["deep.inner.0", "deep.inner.1"])
    assert [layer.asked for layer in layers] == [
        (4, 3, True, torch.bfloat16),
        (3, 2, False, torch.bfloat16),
    ]
    for layer, weight in zip(layers, before, strict=True):
        assert torch.equal(layer.weight, weight)
        assert (layer.weight.requires_grad, layer.weight.quant_type) == (False, "nf4")
    assert layers[0].bias is bias
    assert layers[1].bias is None


@pytest.mark.parametrize(("method", "told"), [("lora", None), ("qlora", True)])
def test_peft_is_told_that_the_layers_below_its_adapters_have_four_bits(model, monkeypatch, method, told):
    seen = []
    monkeypatch.setattr(
        "evqa.training.tuning.hold_in_four_bits", lambda _, names, **__: seen.append(("quantised", len(names)))
    )
    monkeypatch.setattr("peft.inject_adapter_in_model", lambda config, model: seen.append(vars(model).get(FLAG)))
    apply_tuning(model, Tuning(method=method, rank=2))
    assert seen == ([("quantised", 12), True] if told else [None])


def test_without_bitsandbytes_four_bits_say_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingDependencyError) as error:
        apply_tuning(model, Tuning(method="qlora"))
    assert str(error.value) == "lora=qlora needs bitsandbytes: pip install 'evqa[qlora]'"


class WithMotion(Tiny):
    """A model with a part that no other has; this instance was built without it."""

    part_names = (*Tiny.part_names, "motion")


def test_a_recipe_may_name_parts_that_this_model_lacks_or_that_were_not_built(model):
    recipe = Tuning(
        method="lora", rank=2, adapt=("language", "audio", "vision"), train=("lm_head",), freeze=("vision",)
    )
    apply_tuning(model, recipe)
    with pytest.raises(ConfigError, match="no model has a part 'motion'"):
        apply_tuning(model, Tuning(method="lora", train=("motion",)))
    built = WithMotion(BuildOptions(frames=FrameSampling(), audio=None), width=16, num_heads=2)
    apply_tuning(built, Tuning(method="lora", rank=2, train=("motion",)))
    assert all(is_adapter(name) for name in trained_names(built))


def test_unknown_parts_and_parts_without_layers_are_refused(model):
    known = "This one has: audio, audio_connector, connector, language, lm_head, vision."
    for place in ("adapt", "train", "freeze"):
        with pytest.raises(ConfigError) as error:
            apply_tuning(model, Tuning(method="lora", **{place: ("vison",)}))
        assert error.value.problems == [f"lora.{place}: no model has a part 'vison'. {known}"]
    apply_tuning(model, Tuning(freeze=("vision", "audio", "lm_head")))
    with pytest.raises(ConfigError, match=r"lora.adapt=\['connector'\]: nothing to adapt. .*\['language'\]"):
        apply_tuning(model, Tuning(method="lora", adapt=("connector",)))


def bfloat16_step(model, autocast, dropout):
    """Output, gradients of the adapters, and the bytes that are kept for the backward pass."""
    torch.manual_seed(0)
    apply_tuning(model, Tuning(method="lora", rank=2, dropout=dropout, train=()), autocast=autocast)
    adapters = [weight for name, weight in model.named_parameters() if is_adapter(name)]
    for number, weight in enumerate(adapters):
        torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(number))
    kept = {}

    def keep(value):
        kept[value.untyped_storage().data_ptr()] = value.nbytes
        return value

    hidden_BTD = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value),
    ):
        output_BTD = model.trunk(hidden_BTD)
    output_BTD.float().exp().sum().backward()
    return output_BTD, [weight.grad for weight in adapters], sum(kept.values())


def bfloat16_model():
    return Tiny(BuildOptions(frames=None, audio=None), width=16, num_heads=2).to(torch.bfloat16)


def test_under_autocast_adapters_need_no_float32_copy_of_their_input():
    model = bfloat16_model()
    output_BTD, gradients, size = bfloat16_step(copy.deepcopy(model), autocast=False, dropout=0.5)
    lean_BTD, lean_gradients, lean_size = bfloat16_step(model, autocast=True, dropout=0.5)
    assert torch.equal(lean_BTD, output_BTD)
    assert all(map(torch.equal, lean_gradients, gradients))
    assert lean_size < size


def test_a_model_under_autocast_learns_alike_with_the_adapters_product_added_in_its_kernel():
    model = bfloat16_model()
    output_BTD, gradients, size = bfloat16_step(copy.deepcopy(model), autocast=False, dropout=0.0)
    fused_BTD, fused_gradients, fused_size = bfloat16_step(model, autocast=True, dropout=0.0)
    assert fused_size < size
    flat, expected = (torch.cat([gradient.flatten() for gradient in one]) for one in (fused_gradients, gradients))
    assert (fused_BTD - output_BTD).norm() < 0.01 * output_BTD.norm()
    assert (flat - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize(("bias", "alpha"), [(True, 4), (False, 6)])
def test_an_adapted_layer_without_passes_over_its_output_is_as_close_to_the_exact_product(bias, alpha):
    def layer(kind, *, exact=False):
        torch.manual_seed(0)
        base = nn.Linear(48, 32, bias=bias).requires_grad_(False).bfloat16()
        config = peft.LoraConfig(bias="none", init_lora_weights=False)
        made = kind(base, "default", r=2, lora_alpha=alpha, config=config)
        made.cast_input_dtype_enabled = False
        for weight in (made.lora_A.default.weight, made.lora_B.default.weight):
            nn.init.normal_(weight.data)
        return made.double() if exact else made

    def step(made, *, amp):
        x = torch.randn(5, 7, 48, generator=torch.Generator().manual_seed(0)).bfloat16()
        x = x.to(made.lora_A.default.weight.dtype if not amp else x.dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            y = made(x)
        y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).bfloat16().to(y.dtype))
        return y.detach(), x.grad, made.lora_A.default.weight.grad, made.lora_B.default.weight.grad

    fused = step(layer(AdaptedLinear), amp=True)
    theirs = step(layer(peft.tuners.lora.Linear), amp=True)
    exact = step(layer(peft.tuners.lora.Linear, exact=True), amp=False)
    for ours, other, true in zip(fused, theirs, exact, strict=True):
        assert ours.dtype == other.dtype
        assert max((ours - true).norm(), (other - true).norm()) < 0.01 * true.norm()
    if alpha == 4:  # scaled by a power of two: the adapter's gradients have the same bits
        assert torch.equal(fused[2], theirs[2])
        assert torch.equal(fused[3], theirs[3])
