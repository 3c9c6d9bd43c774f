"""Model folders from elsewhere: whatever is wrong with one ends at once in a sentence, and none of its code is run."""

import json
import os
import shutil
import struct
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from evqa.errors import EvqaError
from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.qwen2_5_omni import Qwen2_5Omni
from evqa.models.qwen2_5_vl import Qwen2_5_VL
from evqa.models.qwen3_vl import Qwen3VL
from evqa.models.videollama2.model import Videollama2

KINDS = {"qwen2_5_vl": Qwen2_5_VL, "qwen2_5_omni": Qwen2_5Omni, "qwen3_vl": Qwen3VL, "videollama2": Videollama2}
SETTING = BuildOptions(frames=FrameSampling(), audio=None)
SECONDS = 20  # of processor time, and far less where nothing else runs


@pytest.fixture(scope="module")
def originals(twin, tmp_path_factory):
    """A good folder of every model with the arguments that load it."""
    folder = tmp_path_factory.mktemp("videollama2") / "folder"
    Videollama2(SETTING, size="tiny", dtype="float32").export(folder, head_state={})
    own = {"videollama2": {"checkpoint": str(folder), "dtype": "float32"}}
    return own | {name: twin(name) for name in KINDS if name not in own}


@pytest.fixture(params=KINDS)
def copy(request, originals, tmp_path):
    """A copy of a good folder, and a function that builds the model from it."""
    arguments = originals[request.param]
    folder = tmp_path / request.param
    shutil.copytree(arguments["checkpoint"], folder)
    return folder, lambda: KINDS[request.param](SETTING, **arguments | {"checkpoint": str(folder)})


def change(folder, key, value, *, file="config.json"):
    """Set a key wherever it stands in a JSON file; `value` may be a text that is no JSON."""

    def everywhere(node):
        return {k: "@" if k == key else everywhere(v) if isinstance(v, dict) else v for k, v in node.items()}

    path = folder / file
    before = json.loads(path.read_text())
    after = json.dumps(everywhere(before))
    assert '"@"' in after, f"{key} does not stand in {file}"
    path.write_text(after.replace('"@"', value if isinstance(value, str) else json.dumps(value)))


def refused(build, *words):
    """Build, and return the sentence that it ends in, soon."""
    start = time.process_time()
    with pytest.raises(EvqaError) as caught:
        build()
    assert time.process_time() - start < SECONDS
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b"null", b'"text"', b"3", b"\xff\xfe\x00", bytes(range(256)), b"[" * 100_000,
     b'{"a":' * 100_000, b'{"hidden_size": ' + b"9" * 10_000 + b"}"],
    ids=["empty", "cut", "list", "null", "text", "number", "utf-16", "binary", "deep list", "deep object", "digits"],
)  # fmt: skip
def test_a_configuration_that_is_no_object_is_a_sentence(copy, content):
    folder, build = copy
    (folder / "config.json").write_bytes(content)
    refused(build, "config.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("num_hidden_layers", value) for value in (10**7, 999, 3, 1, 0, -1, "2.5", '"2"', "[2]", "true", "null")],
        *[("hidden_size", value) for value in (10**9, 2**63, -32, 0, 33, "NaN", "Infinity", "1e400", '"32"', "{}")],
        *[("vocab_size", value) for value in (10**12, -1, 3, "null", "[]")],
        *[("num_attention_heads", value) for value in (0, -4, 10**6, 3, "4.5")],
        *[("intermediate_size", value) for value in (-1, 10**10, 47)],
        *[("patch_size", value) for value in (0, -14, 10**6)],
        *[("rms_norm_eps", value) for value in (-1, 7, '"1e-6"', "-Infinity")],
        *[("rope_theta", value) for value in (0, -1, '"x"')],
        *[("hidden_act", value) for value in (5, '"no such function"', "[]")],
        *[("vision_config", value) for value in (5, "[]", '"x"')],
    ],
)
def test_a_size_that_no_model_has_is_a_sentence(copy, key, value):
    folder, build = copy
    try:
        change(folder, key, value)
    except AssertionError:
        pytest.skip(f"{folder.name} has no {key}")
    refused(build)


@pytest.mark.parametrize("places", [[1], [None], [["a"]], [{}], ["../a.safetensors"], ["/etc/passwd"], [".."], [""],
                                    ["a\0b"], ["gone.safetensors"], []])  # fmt: skip
def test_an_index_that_names_no_shards_is_a_sentence(copy, places):
    folder, build = copy
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    index = {"weight_map": {str(number): place for number, place in enumerate(places)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(build, "safetensors")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"weight_map": []}', b'{"weight_map": 5}', b"\x00", b"[" * 99_999]
)
def test_an_index_that_is_none_is_a_sentence(copy, content):
    folder, build = copy
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    (folder / "model.safetensors.index.json").write_bytes(content)
    refused(build, "model.safetensors.index.json")


def with_header(text, data=b""):
    return struct.pack("<Q", len(text)) + text + data


HUGE = b'{"x":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    "content",
    [b"", b"short", struct.pack("<Q", 2**60) + b"{}", struct.pack("<Q", 2**64 - 1), struct.pack("<Q", 90_000_000),
     with_header(b"{}"), with_header(b"[]"), with_header(b"{" * 5_000), with_header(HUGE, bytes(4))],
    ids=["empty", "short", "header 2^60", "header 2^64", "header beyond", "no tensors", "list", "deep", "huge shape"],
)  # fmt: skip
def test_weights_that_are_none_are_a_sentence(copy, content):
    folder, build = copy
    (folder / "model.safetensors").write_bytes(content)
    refused(build)


def test_cut_weights_are_a_sentence(copy):
    folder, build = copy
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    refused(build, "model.safetensors")


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.int64])
def test_weights_that_are_not_floating_point_are_a_sentence(copy, kind):
    folder, build = copy
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.1.mlp.up_proj.weight"))
    save_file(weights | {name: weights[name].to(kind)}, folder / "model.safetensors")
    refused(build, "up_proj")


def test_weights_of_a_layer_that_the_model_has_not_are_a_sentence(copy):
    folder, build = copy
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.1.mlp.up_proj.weight"))
    extra = {name.replace("layers.1.", "layers.2."): weights[name].clone(), "surprise.weight": torch.ones(2)}
    save_file(weights | extra, folder / "model.safetensors")
    refused(build, *extra)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x00\xff", b'{"version": "1.0"}', b"[" * 100_000])
def test_a_damaged_tokenizer_is_a_sentence(copy, content):
    folder, build = copy
    (folder / "tokenizer.json").write_bytes(content)
    refused(build, "tokenizer")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json"])
def test_what_is_no_file_is_a_sentence_and_never_waited_for(copy, file):
    folder, build = copy
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)
    refused(build)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_link_out_of_the_folder_is_not_followed(copy, tmp_path, file):
    folder, build = copy
    (folder / file).rename(tmp_path / "outside")
    (folder / file).symlink_to(tmp_path / "outside")
    refused(build, "is a link that leads out of the folder")


def test_the_links_of_the_hub_cache_are_followed(copy, tmp_path):
    folder, _ = copy
    blobs, snapshot = tmp_path / "models--o--n/blobs", tmp_path / "models--o--n/snapshots/abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(blobs / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    shutil.rmtree(folder)
    folder.symlink_to(snapshot)
    copy[1]()


def test_an_adapter_in_place_of_a_model_is_a_sentence(copy):
    folder, build = copy
    (folder / "config.json").rename(folder / "adapter_config.json")
    refused(build, "config.json", "adapter", "into its base first")


def test_a_quantised_checkpoint_is_a_sentence(copy):
    folder, build = copy
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "fp8"}}))
    refused(build, "quantization_config")


# ---- code of the folder's own

TRAP = (
    "from pathlib import Path\nPath({marker!r}).touch()\nclass Own: pass\nOwnConfig = OwnTokenizer = OwnModel = Own\n"
)


@pytest.fixture
def trap(copy, tmp_path, monkeypatch):
    """A folder whose code leaves a mark when it is run, whichever way it is asked for."""
    folder, build = copy
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    marker = tmp_path / "ran"
    for name in ("own.py", "configuration_own.py", "modeling_own.py", "tokenization_own.py", "__init__.py"):
        (folder / name).write_text(TRAP.format(marker=str(marker)))
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate/generate.py").write_text(TRAP.format(marker=str(marker)))
    yield folder, build
    assert not marker.exists(), "the folder's code was run"


def add(folder, file, **settings):
    path = folder / file
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | settings))


def test_code_that_a_folder_asks_for_is_not_run_and_said(trap):
    folder, build = trap
    own = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel", "AutoTokenizer": ["own.OwnTokenizer", None]}
    add(folder, "config.json", auto_map=own, trust_remote_code=True, _attn_implementation="owner/kernel")
    add(folder, "tokenizer_config.json", auto_map=own, trust_remote_code=True)
    add(folder, "processor_config.json", auto_map={"AutoProcessor": "own.Own"})
    add(folder, "generation_config.json", custom_generate="own")
    with pytest.warns(UserWarning, match="asks for code of its own") as caught:
        build()
    (message,) = [str(w.message) for w in caught if "asks for code" in str(w.message)]
    for word in (
        folder.name,
        "config.json: auto_map",
        "tokenizer_config.json: auto_map",
        "Nothing of the folder is run",
    ):
        assert word in message


def test_a_model_that_exists_only_as_the_folders_code_is_refused(trap):
    folder, build = trap
    add(folder, "config.json", model_type="own", auto_map={"AutoConfig": "own.OwnConfig"})
    refused(build, "of type 'own'", "It asks for code of its own (config.json: auto_map)")


@pytest.mark.parametrize("settings", [{"tokenizer_class": "OwnTokenizer"}, {"tokenizer_class": "os.system"}])
def test_a_tokenizer_that_exists_only_as_the_folders_code_is_refused(trap, settings):
    folder, build = trap
    if folder.name == "videollama2":
        pytest.skip("reads tokenizer.json alone")
    for name in ("tokenizer.json", "vocab.json"):
        (folder / name).unlink(missing_ok=True)
    add(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.OwnTokenizer", None]}, **settings)
    with pytest.warns(UserWarning, match="asks for code of its own"):
        refused(build, "no usable tokenizer")
