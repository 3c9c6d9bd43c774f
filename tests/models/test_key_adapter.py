"""Every model's names and published keys, there and back."""

import json

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import safe_open

from evqa.media.audio import AudioWindow
from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.key_adapter import KeyAdapter
from evqa.models.qwen2_5_omni import Qwen2_5Omni
from evqa.models.qwen2_5_vl import Qwen2_5_VL
from evqa.models.qwen3_vl import Qwen3VL
from evqa.models.tiny import Tiny
from evqa.models.videollama2.model import Videollama2

QWEN = {"qwen2_5_vl": Qwen2_5_VL, "qwen2_5_omni": Qwen2_5Omni, "qwen3_vl": Qwen3VL}
MODELS = QWEN | {"videollama2": Videollama2, "tiny": Tiny}


def build(name, *, tiny, twin):
    """A model with everything that it can have, on the meta device."""
    cls, arguments = MODELS[name], {}
    if name == "videollama2":
        arguments["size"] = "tiny" if tiny else "published"
    elif tiny:
        arguments |= twin(name)
    audio = AudioWindow() if "a" in cls.modalities else None
    return cls(BuildOptions(frames=FrameSampling(), audio=audio, logits=True, load=False), **arguments)


@pytest.fixture(autouse=True)
def nothing_at_hand(monkeypatch):
    def download(*_, **__):
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)


@pytest.mark.parametrize("tiny", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_every_name_has_a_key_of_its_own_that_leads_back_to_it(twin, name, tiny):
    model = build(name, tiny=tiny, twin=twin)
    names = list(model.state_dict())
    keys = [model.key_adapter.key_of(one) for one in names]
    assert [model.key_adapter.name_of(key) for key in keys] == names
    assert len(set(keys)) == len(names)
    assert not any(map(model.key_adapter.is_unused, keys))
    assert model.key_adapter.name_of("surprise.weight") not in names


@pytest.mark.parametrize("name", QWEN)
def test_every_stored_key_is_the_key_of_a_weight(twin, name):
    model = build(name, tiny=True, twin=twin)
    with safe_open(f"{twin(name)['checkpoint']}/model.safetensors", "pt") as file:
        stored = set(file.keys())
    assert stored == {model.key_adapter.key_of(one) for one in model.state_dict()}


@pytest.mark.parametrize("name", QWEN)
def test_module_names_are_those_of_the_published_class(twin, name):
    model = build(name, tiny=True, twin=twin)
    (whole,) = model._whole
    assert {model.key_adapter.module_name_of(one) for one in model.state_dict()} == set(whole.state_dict())


@pytest.mark.parametrize(
    ("cls", "key", "name"),
    [
        (Qwen2_5_VL, "model.layers.0.mlp.up_proj.weight", "body.language_model.layers.0.mlp.up_proj.weight"),
        (Qwen2_5_VL, "model.language_model.norm.weight", "body.language_model.norm.weight"),
        (Qwen2_5_VL, "model.visual.blocks.0.norm1.weight", "body.visual.blocks.0.norm1.weight"),
        (Qwen2_5_VL, "visual.blocks.0.norm1.weight", "body.visual.blocks.0.norm1.weight"),
        (Qwen2_5Omni, "thinker.model.embed_tokens.weight", "body.language_model.embed_tokens.weight"),
        (Qwen2_5Omni, "thinker.audio_tower.proj.weight", "body.audio_tower.proj.weight"),
        (Qwen2_5Omni, "thinker.lm_head.weight", "lm_head.weight"),
        (Qwen3VL, "model.language_model.norm.weight", "body.language_model.norm.weight"),
        (Qwen2_5Omni, "talker.model.norm.weight", None),
        (Qwen2_5_VL, "layers.0.weight", None),
    ],
)
def test_stored_keys_lead_to_our_names_in_every_form_that_exists(cls, key, name):
    assert cls.key_adapter.name_of(key) == name


def test_what_no_model_needs_is_known_by_pattern():
    adapter = KeyAdapter(unused=("talker.*", "a.*.dead.*"), head="reg.")
    for key in ("talker.x", "a.3.dead.weight", "reg.fc1.bias", "model.layers.0.self_attn.rotary_emb.inv_freq"):
        assert adapter.is_unused(key), key
    for key in ("talker2.x", "a.3.alive.weight", "regular.fc1", "x.talker.y"):
        assert not adapter.is_unused(key), key


def test_a_prefix_ends_where_a_name_ends_and_the_longest_counts():
    adapter = KeyAdapter(prefixes=(("language", "model"), ("tower", "model.tower.inner")))
    assert adapter.name_of("model.tower.inner.weight") == "tower.weight"
    assert adapter.name_of("model.tower.innermost.weight") == "language.tower.innermost.weight"
    with pytest.raises(KeyError):
        adapter.key_of("languages.weight")


SLOWFAST = "model.slowfast.feature_extraction"
VQA2 = KeyAdapter(
    prefixes=(
        ("vision_tower", "model.vision_tower.vision_tower.vision_model"),
        *(("projector.linear_1", "model.mm_projector.0"), ("projector.linear_2", "model.mm_projector.2")),
        *((f"motion.stages.{i}", f"{SLOWFAST}.{i}.multipathway_blocks.1") for i in range(5)),
        ("motion.position_embedding", "model.slowfast.position_embedding"),
        ("motion_projector", "model.slowfast_projector"),
        *(("language", "model"), ("lm_head", "lm_head")),
    ),
    older=(("language_model.lm_head.", "lm_head."), ("language_model.model.", "model.")),
    unused=(f"{SLOWFAST}.*.multipathway_blocks.0.*", f"{SLOWFAST}.*.multipathway_fusion.*"),
)


def test_a_checkpoint_with_dead_weights_and_older_names_fits_the_same_description(vqa2):
    """VQA² (Jia et al., 2024), whose list of 1,430 keys is part of the reference numbers."""
    keys = list(json.loads((vqa2 / "state_dict_keys_7b.json").read_text()))
    used = [key for key in keys if not VQA2.is_unused(key)]
    assert 0 < len(used) < len(keys)
    names = [VQA2.name_of(key) for key in used]
    assert None not in names
    assert [VQA2.key_of(name) for name in names] == used
    assert not any("slowfast" in name and "language" in name for name in names)
    assert VQA2.name_of("language_model.model.norm.weight") == VQA2.name_of("model.norm.weight")
