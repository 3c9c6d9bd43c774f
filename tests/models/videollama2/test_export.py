"""Writing models back in the published layout."""

import dataclasses
import json
import shutil

import peft
import pytest
import torch
from safetensors.torch import load_file

from evqa.errors import CheckpointError
from evqa.models.videollama2 import build, layout
from evqa.models.videollama2.export import export, run_settings
from evqa.models.videollama2.model import PROJECTIONS, Videollama2
from evqa.training.tuning import merge_adapters
from tests.models.videollama2 import reference


def read_folder(folder):
    if not (folder / "model.safetensors.index.json").exists():
        return load_file(folder / "model.safetensors")
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    weights = {}
    for shard in sorted(set(index.values())):
        weights |= load_file(folder / shard)
    assert {name: index[name] for name in weights} == index
    return weights


def adapted(model):
    """Adapters with random weights on the language model."""
    names = [f"language.{n}" for n, m in model.language.named_modules() if isinstance(m, torch.nn.Linear)
             and n.rpartition(".")[2] in PROJECTIONS]  # fmt: skip
    peft.inject_adapter_in_model(peft.LoraConfig(r=4, lora_alpha=8, target_modules=names), model)
    for name, value in model.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(value, std=0.1)
    return model.eval()


@pytest.mark.parametrize("modal", ["av", "v"])
@pytest.mark.parametrize("shard_bytes", [10**9, 200_000])
def test_an_exported_checkpoint_is_the_one_that_was_loaded(folder, tmp_path, modal, shard_bytes):
    model = reference.build(folder, modal)
    own = {"head_state": model.head_state(), "settings": run_settings(model.preparer.clip, model.chat)}
    export(model, tmp_path / "out", model.source, **own, shard_bytes=shard_bytes)
    assert (len(list((tmp_path / "out").glob("*.safetensors"))) > 1) == (shard_bytes == 200_000)
    ours, theirs = read_folder(tmp_path / "out"), load_file(folder / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    given, written = (json.loads((place / "config.json").read_text()) for place in (folder, tmp_path / "out"))
    run = {"image_aspect_ratio": "square", "num_frames": reference.NUM_FRAMES, "tokenizer_model_max_length": 2048}
    assert written == given | run | {"torch_dtype": "float32"}


@torch.no_grad()
def test_scores_survive_training_export_and_loading(folder, tmp_path, pixels_given):
    model = reference.build(folder, "av")
    head = reference.original_head(model)
    for value in (*model.parameters(), *head.parameters()):
        value.mul_(1.01)
    model.export(tmp_path / "out", head_state=head.state_dict())
    again = reference.build(tmp_path / "out", "av")
    case = reference.read_tensors("case_av_b1")
    batch = reference.case_inputs(case, ["av"])
    assert torch.equal(reference.original_head(again)(again(batch)), head(model(batch)))


@torch.no_grad()
def test_merged_adapters_are_part_of_an_export_and_unmerged_ones_are_refused(folder, tmp_path, pixels_given):
    model = adapted(reference.build(folder, "av"))
    case = reference.read_tensors("case_av_b1")
    batch = reference.case_inputs(case, ["av"])
    hidden = model(batch).hidden_BTD
    with pytest.raises(CheckpointError, match="merge adapters before an export"):
        model.export(tmp_path / "out", head_state={})
    merge_adapters(model)
    model.export(tmp_path / "out", head_state={})
    again = reference.build(tmp_path / "out", "av")
    assert reference.relative(again(batch).hidden_BTD, hidden) < reference.RELATIVE
    assert reference.relative(reference.build(folder, "av")(batch).hidden_BTD, hidden) > 1e-2
    assert again.head_state() == {}


@pytest.mark.parametrize("modal", ["av", "a"])
def test_a_model_with_random_weights_is_exported_whole(tmp_path, modal):
    model = Videollama2(reference.setting(modal), size="tiny", dtype="bfloat16")
    model.export(tmp_path / "out", head_state={})
    weights = read_folder(tmp_path / "out")
    built = build.build_parts(model.dims, attention="sdpa").state_dict()
    known = {model.key_adapter.key_of(name) for name in built} | layout.unused_shapes(model.dims).keys()
    left_out = () if modal == "av" else ("model.vision_tower.", "model.mm_projector.")
    (copies,) = (others for _, others in model.key_adapter.copies)
    assert {name for name in known if not name.startswith(left_out)} | set(copies) == weights.keys()
    again = Videollama2(reference.setting(modal), checkpoint=str(tmp_path / "out"), dtype="bfloat16")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert again.chat.plain("a good day") == model.chat.plain("a good day")
    assert again.dims == model.dims


def test_a_folder_in_use_is_never_written_to(folder, tmp_path):
    model = reference.build(folder, "a")
    with pytest.raises(CheckpointError, match="must be a new or empty folder"):
        model.export(folder, head_state={})
    with pytest.raises(CheckpointError, match=r"the head's fc1.weight has shape"):
        model.export(tmp_path / "out", head_state={"fc1.weight": torch.ones(1, 1)})


@pytest.mark.parametrize(
    ("modal", "asked", "written"),
    [
        (
            "av",
            {},
            {"num_frames": reference.NUM_FRAMES, "image_aspect_ratio": "square", "tokenizer_model_max_length": 2048},
        ),
        ("v", {"count": 4}, {"num_frames": 4}),
        ("a", {}, {"num_frames": 16}),  # the run saw none: the base's own
        ("v", {"resize": "pad"}, {"image_aspect_ratio": "pad"}),
        ("v", {"max_text_tokens": 99}, {"tokenizer_model_max_length": 99}),
    ],
)
def test_an_export_says_how_its_run_read_media_and_not_how_its_base_did(folder, tmp_path, modal, asked, written):
    base = tmp_path / "base"
    shutil.copytree(folder, base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"num_frames": 16, "tokenizer_model_max_length": 512}))
    setting = reference.setting(modal)
    asked = {"max_text_tokens": 2048} | asked
    if count := asked.pop("count", None):
        setting = dataclasses.replace(setting, frames=dataclasses.replace(setting.frames, count=count))
    Videollama2(setting, checkpoint=str(base), dtype="float32", **asked).export(tmp_path / "out", head_state={})
    exported = json.loads((tmp_path / "out/config.json").read_text())
    assert {key: exported[key] for key in written} == written


def test_an_export_keeps_what_loads_it_and_drops_what_would_run_code_or_names_a_machine(folder, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(folder, base)
    config = json.loads((base / "config.json").read_text())
    tower = base / config["mm_vision_tower"]
    tower.mkdir()
    (tower / "config.json").write_text(json.dumps(config.pop("vision_config")))
    own = {"auto_map": {"AutoModel": "own.Own"}, "_name_or_path": "/home/somebody/Qwen2-7B-Instruct"}
    (base / "config.json").write_text(json.dumps(config | own))
    with pytest.warns(UserWarning, match="asks for code of its own"):
        model = reference.build(base, "v")
    model.export(tmp_path / "out", head_state={})
    exported = json.loads((tmp_path / "out/config.json").read_text())
    assert "auto_map" not in exported
    assert exported["_name_or_path"] == "Qwen2-7B-Instruct"
    assert (
        reference.build(tmp_path / "out", "v").dims == model.dims
    )  # the tower's folder is not exported, its sizes are
    assert "LMM-EVQA's code (transformers 4.42) loads the folder" in model.how_to_load()


def test_an_export_that_the_original_cannot_load_says_so(tmp_path):
    model = Videollama2(reference.setting("v"), size="tiny", dtype="float32")
    model.export(tmp_path / "out", head_state={})
    assert json.loads((tmp_path / "out/config.json").read_text())["mm_vision_tower"] is None
    again = Videollama2(reference.setting("v"), checkpoint=str(tmp_path / "out"), dtype="float32")
    for one in (model, again):
        assert "Nothing else loads it: the original's code cannot load it" in one.how_to_load()
    assert "Nothing else" not in Videollama2(reference.setting("a"), size="tiny", dtype="float32").how_to_load()


@pytest.mark.parametrize(("exact", "words"), [(True, "the same score of the same frames"), (False, "another function")])
def test_a_card_promises_the_originals_score_only_where_it_is_the_same(folder, exact, words):
    model = Videollama2(reference.setting("v"), checkpoint=str(folder), dtype="float32", exact=exact)
    assert words in model.how_to_load()
