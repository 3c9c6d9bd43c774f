"""One loader for every model: what it reads, what it refuses, and how much memory it takes."""

import json
import shutil
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from evqa.errors import CheckpointError, FileError
from evqa.media.audio import AudioWindow
from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.exporting import entries_of, write_weights
from evqa.models.hub import Checkpoint
from evqa.models.key_adapter import KeyAdapter
from evqa.models.qwen2_5_omni import Qwen2_5Omni
from evqa.models.qwen2_5_vl import Qwen2_5_VL
from evqa.models.qwen3_vl import Qwen3VL
from evqa.models.videollama2.model import Videollama2
from evqa.models.weight_files import WeightFile
from evqa.models.weights import load_weights

KINDS = {"qwen2_5_vl": Qwen2_5_VL, "qwen2_5_omni": Qwen2_5Omni, "qwen3_vl": Qwen3VL, "videollama2": Videollama2}


def setting(modal="v", **more):
    return BuildOptions(
        frames=FrameSampling() if "v" in modal else None, audio=AudioWindow() if "a" in modal else None, **more
    )


@pytest.fixture(scope="module")
def folders(twin, tmp_path_factory):
    """The arguments that load a small checkpoint of every model."""
    folder = tmp_path_factory.mktemp("videollama2") / "folder"
    Videollama2(setting("av", logits=True), size="tiny", dtype="float32").export(folder, head_state={})
    own = {"checkpoint": str(folder), "dtype": "float32"}
    return {"videollama2": own} | {name: twin(name) for name in KINDS if name != "videollama2"}


@pytest.fixture(params=KINDS)
def kind(request, folders):
    """A model's class and its arguments."""
    return KINDS[request.param], folders[request.param]


@pytest.fixture
def copy(kind, tmp_path):
    """A function that builds a model from a copy of its folder with other weights."""
    cls, arguments = kind
    shutil.copytree(arguments["checkpoint"], tmp_path / "copy")
    weights = load_file(tmp_path / "copy/model.safetensors")

    def build(changed, asked=None):
        save_file(changed, tmp_path / "copy/model.safetensors")
        return cls(asked or setting(), **arguments | {"checkpoint": str(tmp_path / "copy")})

    return weights, build


@pytest.fixture
def read_keys(monkeypatch):
    """Every key that is read from a file, with how often."""
    keys, each = Counter(), WeightFile.each

    def counted(self, wanted, take):
        keys.update(list(wanted))
        each(self, wanted, take)

    monkeypatch.setattr(WeightFile, "each", counted)
    return keys


def test_every_weight_is_read_once_and_what_is_not_built_never(kind, read_keys):
    cls, arguments = kind
    for asked in (setting("v"), setting("v", logits=True)):
        read_keys.clear()
        model = cls(asked, **arguments)
        wanted = {model.key_adapter.key_of(name) for name, _ in model.named_parameters()}
        assert read_keys == Counter(wanted)
        assert ("lm_head.weight" in read_keys) == asked.logits
        assert not any("audio_tower" in key for key in read_keys)


@pytest.mark.parametrize("name", ["qwen2_5_omni", "videollama2"])
def test_a_scorer_of_sound_reads_nothing_of_the_vision_tower(folders, read_keys, name):
    KINDS[name](setting("a"), **folders[name])
    assert any("audio_tower" in key for key in read_keys)
    assert not any("vis" in key or "mm_projector." in key for key in read_keys)


def test_all_that_does_not_fit_is_one_sentence(copy):
    weights, build = copy
    missing, misshapen, numbers = sorted(key for key in weights if ".layers.1.mlp." in key and "_proj" in key)[:3]
    changed = {key: tensor for key, tensor in weights.items() if key != missing}
    changed |= {misshapen: torch.ones(3), numbers: weights[numbers].to(torch.int8), "surprise": torch.ones(1)}
    with pytest.raises(CheckpointError) as caught:
        build(changed)
    assert f"1 missing: {missing}; 1 unexpected: surprise" in str(caught.value)
    assert f"1 of another shape: {misshapen} has shape (3,), but " in str(caught.value)
    assert f"16 bits or more: {numbers} is I8" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_that_no_model_has_is_unexpected_in_a_part_that_is_not_built_too(copy):
    weights, build = copy
    name = next(key for key in sorted(weights) if "vis" in key)
    surprises = {f"{name}.more": torch.ones(1), "talker2.weight": torch.ones(1), "lm_head.bias": torch.ones(1)}
    with pytest.raises(CheckpointError) as caught:
        build(weights | surprises)
    assert "3 unexpected: " in str(caught.value)
    assert all(key in str(caught.value) for key in surprises)


@pytest.mark.parametrize("name", ["qwen2_5_omni", "videollama2"])
def test_a_scorer_of_sound_still_accounts_for_the_vision_tower(folders, tmp_path, name):
    shutil.copytree(folders[name]["checkpoint"], tmp_path / "copy")
    weights = load_file(tmp_path / "copy/model.safetensors")
    key = next(key for key in sorted(weights) if "vis" in key)
    save_file(weights | {f"{key}.more": torch.ones(1)}, tmp_path / "copy/model.safetensors")
    with pytest.raises(CheckpointError, match="1 unexpected: "):
        KINDS[name](setting("a"), **folders[name] | {"checkpoint": str(tmp_path / "copy")})


def test_a_weight_under_its_older_and_its_newer_key_is_stored_twice(folders, tmp_path):
    shutil.copytree(folders["qwen2_5_vl"]["checkpoint"], tmp_path / "copy")
    weights = load_file(tmp_path / "copy/model.safetensors")
    newer = {"model.visual.merger.ln_q.weight": weights["visual.merger.ln_q.weight"].clone()}
    save_file(weights | newer, tmp_path / "copy/model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 stored twice: (model\.)?visual\.merger\.ln_q\.weight"):
        Qwen2_5_VL(setting(), **folders["qwen2_5_vl"] | {"checkpoint": str(tmp_path / "copy")})


def test_a_pickled_state_dict_loads_like_the_others_for_every_model(kind, tmp_path):
    cls, arguments = kind
    shutil.copytree(arguments["checkpoint"], tmp_path / "copy")
    torch.save(load_file(tmp_path / "copy/model.safetensors"), tmp_path / "copy/pytorch_model.bin")
    (tmp_path / "copy/model.safetensors").unlink()
    ours = cls(setting(), **arguments | {"checkpoint": str(tmp_path / "copy")}).state_dict()
    theirs = cls(setting(), **arguments).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_pickled_module_is_refused_and_its_plain_state_dict_is_read(tmp_path):
    """As `slowfast.pth` is published, and how it would have to be."""
    module = nn.Sequential(nn.Conv3d(3, 2, 1), nn.BatchNorm3d(2))
    torch.save(module, tmp_path / "slowfast.pth")
    torch.save(module.state_dict(), tmp_path / "plain.pth")
    with pytest.raises(FileError) as caught:
        _ = WeightFile(tmp_path / "slowfast.pth").tensors
    assert str(caught.value) == (
        f"{tmp_path / 'slowfast.pth'} cannot be read: not a plain file of tensors: it holds a "
        "torch.nn.modules.container.Sequential, and loading that would run code; store the tensors alone, "
        "`torch.save(module.state_dict(), FILE)` or as safetensors"
    )
    read = {}
    plain = WeightFile(tmp_path / "plain.pth")
    plain.each(plain.tensors, lambda key, tensor: read.update({key: tensor.clone()}))
    assert read.keys() == module.state_dict().keys()
    assert all(torch.equal(tensor, module.state_dict()[key]) for key, tensor in read.items())


def test_on_the_meta_device_everything_is_read_and_nothing_kept(kind, read_keys):
    cls, arguments = kind
    model = cls(setting(device="meta"), **arguments)
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert len(read_keys) == len(list(model.named_parameters()))


def test_a_loaded_model_no_longer_depends_on_its_files(folders, tmp_path):
    shutil.copytree(folders["qwen3_vl"]["checkpoint"], tmp_path / "copy")
    model = Qwen3VL(setting(), **folders["qwen3_vl"] | {"checkpoint": str(tmp_path / "copy")})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    file = tmp_path / "copy/model.safetensors"
    with file.open("r+b") as stream:
        stream.write(b"\xff" * file.stat().st_size)  # in place, so that a mapping would see it
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.gpu
def test_weights_are_put_on_the_gpu_as_they_are_read(kind):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cls, arguments = kind
    there, here = cls(setting(device="cuda"), **arguments), cls(setting(), **arguments)
    assert {tensor.device.type for tensor in (*there.parameters(), *there.buffers())} == {"cuda"}
    assert all(torch.equal(one.cpu(), other) for one, other in zip(there.parameters(), here.parameters(), strict=True))


class Normed(nn.Module):
    """A model with running means, as a convolutional pathway has them."""

    def __init__(self):
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(4), nn.Linear(4, 1)


def test_running_means_are_weights_too_and_come_back_from_an_export(tmp_path):
    before = Normed()
    before.norm(torch.randn(3, 4))
    write_weights(entries_of(before, KeyAdapter()), tmp_path, KeyAdapter())
    with torch.device("meta"):
        after = Normed()
    load_weights(after, Checkpoint(name="here", folder=tmp_path), KeyAdapter(), complete=before.state_dict())
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in after.state_dict().items())
    assert after.norm.num_batches_tracked == 1
    assert after.norm.num_batches_tracked.dtype == torch.int64


# ---- memory

SHARDS, EACH, WIDTH = 6, 4, 2048
SHARD_BYTES = EACH * WIDTH * WIDTH * 4


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A checkpoint of 6 shards of 64 MB, all zeros: holes in the files, which take no disk."""
    folder = tmp_path_factory.mktemp("big")
    places = {}
    for shard in range(SHARDS):
        name, size = f"model-{shard}.safetensors", WIDTH * WIDTH * 4
        keys = [f"{shard * EACH + number}.weight" for number in range(EACH)]
        header = {
            key: {"dtype": "F32", "shape": [WIDTH, WIDTH], "data_offsets": [number * size, (number + 1) * size]}
            for number, key in enumerate(keys)
        }
        text = json.dumps(header).encode()
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + SHARD_BYTES)
        places |= dict.fromkeys(keys, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


def load_in_a_process(folder, device, keep, num_bytes):
    program = [sys.executable, str(Path(__file__).with_name("loading.py"))]
    arguments = [str(folder), device, keep, str(int(num_bytes))]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=120)
    return done.returncode == 0 and done.stdout == "loaded\n", done.stderr


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_loading_takes_the_model_and_a_fifth_more_than_the_largest_shard(big, device):
    own = SHARDS * SHARD_BYTES if device == "cpu" else 0
    loaded, error = load_in_a_process(big, device, "drop", own + 1.2 * SHARD_BYTES)
    assert loaded, error


def test_a_loader_that_keeps_what_it_reads_would_not_fit(big):
    loaded, error = load_in_a_process(big, "meta", "keep", 1.2 * SHARD_BYTES)
    assert not loaded
    assert "memory" in error.lower()
