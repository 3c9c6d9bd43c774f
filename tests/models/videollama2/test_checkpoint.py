"""Published folders: every layout that exists loads to the same weights, and what is wrong with one is said."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from evqa.errors import CheckpointError, ConfigError
from evqa.models.base import BuildOptions
from evqa.models.videollama2 import layout
from evqa.models.videollama2.model import Videollama2
from tests.models.videollama2 import reference

WEIGHTS = "model.safetensors"
SIDE = {"audio_tower.bin": "model.audio_tower.", "mm_projector_a.bin": "model.mm_projector_a."}


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the checkpoint without its weights, and the weights."""
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / WEIGHTS).unlink()
    return tmp_path / "copy", load_file(folder / WEIGHTS)


def write_shards(folder, weights, *, suffix, save):
    names, stem = sorted(weights), WEIGHTS.partition(".")[0] if suffix == "safetensors" else "pytorch_model"
    shards = {f"{stem}-{n + 1:05}-of-00003.{suffix}": names[n::3] for n in range(3)}
    for shard, keys in shards.items():
        save({key: weights[key] for key in keys}, folder / shard)
    index = {"metadata": {}, "weight_map": {key: shard for shard, keys in shards.items() for key in keys}}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))


def same(one, two):
    states = [model.state_dict() for model in (one, two)]
    assert states[0].keys() == states[1].keys()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_loaded_weights_are_the_files(twin, folder):
    weights = load_file(folder / WEIGHTS)
    for name, value in twin.named_parameters():
        assert torch.equal(value, weights[twin.key_adapter.key_of(name)])
    head = {f"{layout.HEAD}{name}": value for name, value in twin.head_state().items()}
    assert head.keys() == {name for name in weights if name.startswith(layout.HEAD)}
    assert all(torch.equal(value, weights[name]) for name, value in head.items())


@pytest.mark.parametrize("kind", ["safetensors shards", "bin", "bin shards", "old bin", "side files", "old buffers"])
def test_every_published_layout_loads_to_the_same_weights(copy, twin, kind):
    folder, weights = copy
    if kind == "safetensors shards":
        write_shards(folder, weights, suffix="safetensors", save=save_file)
    elif kind == "bin shards":
        write_shards(folder, weights, suffix="bin", save=torch.save)
    elif kind in ("bin", "old bin"):
        torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=kind == "bin")
    elif kind == "side files":
        for name, prefix in SIDE.items():
            torch.save({key: weights.pop(key) for key in list(weights) if key.startswith(prefix)}, folder / name)
        save_file(weights, folder / WEIGHTS)
    else:
        tower = layout.PREFIXES["vision_tower"]
        frequencies = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
        places = {f"{tower}.embeddings.position_ids": torch.arange(4)}
        save_file(weights | frequencies | places, folder / WEIGHTS)
    assert same(reference.build(folder), twin)


@pytest.mark.parametrize("kept", [0, -1])
def test_the_shared_position_bias_may_be_stored_once_in_any_layer(copy, twin, kept):
    folder, weights = copy
    ((first, others),) = twin.key_adapter.copies
    names = (first, *others)
    save_file(
        {key: value for key, value in weights.items() if key not in names or key == names[kept]}, folder / WEIGHTS
    )
    assert same(reference.build(folder), twin)


def test_main_files_win_over_side_files(copy, twin):
    folder, weights = copy
    save_file(weights, folder / WEIGHTS)
    (folder / "audio_tower.bin").write_bytes(b"never opened")
    assert same(reference.build(folder), twin)


@pytest.mark.parametrize("modal", ["a", "v"])
def test_weights_of_parts_that_are_not_built_need_not_exist(copy, twin, modal):
    folder, weights = copy
    unused = ("lm_head.", "model.audio_tower.predictor.", "model.vision_tower.vision_tower.vision_model.head.",
              "model.audio_tower." if modal == "v" else "model.vision_tower.")  # fmt: skip
    save_file({key: value for key, value in weights.items() if not key.startswith(unused)}, folder / WEIGHTS)
    state = reference.build(folder, modal).state_dict()
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in state.items())


def test_missing_and_unknown_keys_are_listed_together(copy):
    folder, weights = copy
    del weights["model.norm.weight"], weights["model.mm_projector.sampler.0.bias"]
    weights["model.surprise"] = torch.ones(1)
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(CheckpointError) as caught:
        reference.build(folder)
    assert "2 missing: model.mm_projector.sampler.0.bias, model.norm.weight" in str(caught.value)
    assert "1 unexpected: model.surprise" in str(caught.value)


def test_a_tensor_of_another_shape_is_named(copy):
    folder, weights = copy
    weights["model.norm.weight"] = torch.ones(3)
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"model.norm.weight has shape \(3,\), but config.json describes"):
        reference.build(folder)


class Payload:
    """An object whose unpickling would run code."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(copy, tmp_path, zipped):
    folder, weights = copy
    content = weights | {"model.norm.weight": Payload(tmp_path / "ran")}
    torch.save(content, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="not a plain file of tensors"):
        reference.build(folder)
    assert not (tmp_path / "ran").exists()


def test_a_damaged_or_missing_shard_is_named(copy):
    folder, weights = copy
    write_shards(folder, weights, suffix="safetensors", save=save_file)
    shard = folder / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"00002-of-00003.safetensors cannot be read: damaged or unfinished"):
        reference.build(folder)
    shard.unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00003.safetensors is in the index but not there"):
        reference.build(folder)


def test_an_index_cannot_name_files_outside_the_folder(copy):
    folder, _ = copy
    index = {"weight_map": {"model.norm.weight": "../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(
        CheckpointError, match=r"names files elsewhere: \['../other.safetensors'\]; shards must lie in the"
    ):
        reference.build(folder)


def test_a_folder_without_weights_is_reported(copy):
    with pytest.raises(CheckpointError, match=r"holds no weights; expected model.safetensors or pytorch_model.bin"):
        reference.build(copy[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mm_projector_type": "mlp"}, "mm_projector_type='mlp' .must be stc_connector_v35 or stc_connector"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings=True .must be false"),
        ({"beats_config": {"deep_norm": False}}, "beats_config.deep_norm=False .must be True"),
        ({"hidden_size": "wide"}, "hidden_size='wide' must be a number"),
        ({"num_hidden_layers": None}, "num_hidden_layers=None must be a number"),
        ({"vision_config": None, "mm_vision_tower": "other"}, "mm_vision_tower='other' has unknown sizes"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_explained(copy, change, words):
    folder, weights = copy
    save_file(weights, folder / WEIGHTS)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=words):
        reference.build(folder)


def test_the_vision_towers_sizes_may_lie_in_their_own_folder(copy, twin):
    folder, weights = copy
    save_file(weights, folder / WEIGHTS)
    config = json.loads((folder / "config.json").read_text())
    tower = folder / config["mm_vision_tower"]
    tower.mkdir()
    (tower / "config.json").write_text(json.dumps({"vision_config": config.pop("vision_config")}))
    (folder / "config.json").write_text(json.dumps(config))
    assert same(reference.build(folder), twin)


def test_a_checkpoint_in_half_precision_loads_into_the_asked_type(copy, twin):
    folder, weights = copy
    save_file({key: value.half() for key, value in weights.items()}, folder / WEIGHTS)
    model = reference.build(folder, dtype="bfloat16")
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    assert model.language.rotary_emb.inv_freq.dtype == torch.float32
    expected = twin.language.norm.weight.half().bfloat16()
    assert torch.equal(model.language.norm.weight, expected)


def test_a_checkpoint_without_a_regression_head_has_none_to_give(copy, twin):
    folder, weights = copy
    save_file({key: value for key, value in weights.items() if not key.startswith(layout.HEAD)}, folder / WEIGHTS)
    assert reference.build(folder).head_state() == {}
    assert reference.build(folder).base_name() == str(folder)


def test_either_a_checkpoint_or_a_size_must_be_given(folder):
    for more in ({}, {"checkpoint": str(folder), "size": "tiny"}):
        with pytest.raises(ConfigError, match="give one of them"):
            Videollama2(BuildOptions(frames=None, audio=None), **more)
