import pytest
import torch
from torch import nn

from evqa.errors import ConfigError
from evqa.media.audio import AudioWindow
from evqa.media.sampling import FrameSampling
from evqa.models.base import Setting
from evqa.models.tiny import Tiny
from evqa.tuning import Tuning, apply_tuning, is_adapter, merge_adapters, part_of, trained_parts


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Tiny(Setting(frames=FrameSampling(), audio=AudioWindow()), width=16, num_heads=2)


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


def test_unknown_parts_and_parts_without_layers_are_refused(model):
    with pytest.raises(ConfigError, match=r"no part \['vison'\]. Known: audio, audio_connector, connector, language"):
        apply_tuning(model, Tuning(freeze=("vison",)))
    with pytest.raises(ConfigError, match=r"lora.adapt=\['connector'\]: nothing to adapt. .*\['language'\]"):
        apply_tuning(model, Tuning(method="lora", adapt=("connector",)))
