import errno
import json
import os
import shutil
from importlib import metadata

import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from evqa.errors import CheckpointError, ConfigError, FileError, RunError
from evqa.merge import main
from evqa.models.hub import Checkpoint
from evqa.models.license import terms_of
from evqa.runs.merging import describe, export_run, write_scorer
from evqa.runs.model_card import model_card
from evqa.scoring.places import LoadedRun, load_run
from evqa.training.build import build_model, build_module
from evqa.training.plan import build, read_plan
from evqa.training.tuning import merge_adapters
from tests.models.toys import COMPOSER, configure, options, randomise, samples

PRETRAINED = [("qwen2_5_vl", "v"), ("qwen2_5_omni", "v"), ("qwen3_vl", "v"), ("videollama2", "av")]


def toy_run(twin, name, modal, *, head="regression", lora="r8"):
    """A run with random adapters and head, without a training."""
    torch.manual_seed(0)
    plan = read_plan(configure(name, modal, head, lora, arguments=twin(name)))
    built = build_model(plan)
    module = build_module(plan, built)
    randomise(module)
    return LoadedRun(folder=None, plan=plan, built=built, module=module.eval(), checkpoint=None)


@torch.no_grad()
def scores(scorer, items):
    scorer.model.eval()
    return scorer.head.eval().score(scorer.model, scorer.model.preparer.collate(items)).score_B


def test_a_finished_run_becomes_a_folder_with_weights_head_and_card(finished, tmp_path):
    main([str(finished.path), "--out", str(tmp_path / "out")])
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"README.md", "evqa.json", "head.safetensors", "model.safetensors"}
    run = load_run(finished.path)
    stored = load_file(tmp_path / "out/model.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in run.built.model.state_dict().items())
    about = json.loads((tmp_path / "out/evqa.json").read_text())
    assert about["label"] == {"name": "ECR", "range": [0.0, 1.0], "quantity": None}
    assert "data" not in about["config"]


def test_the_card_carries_metrics_with_their_number_and_intervals(finished, tmp_path):
    export_run(finished.path, out=tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    metric = json.loads(finished.prediction("val", "json").read_text())["metrics"]["srocc"]
    assert f"{metric['value']:.4f} ({metric['low']:.4f} to {metric['high']:.4f})" in card
    assert "| val | av | 16 | 0 |" in card
    for fact in ("from 0 to 1", "policy=first_n_seconds, count=8", "as fbank", '"\\nEngagement:"', "random weights"):
        assert fact in card
    assert str(finished.path) not in card


def test_what_cannot_be_exported_says_why_and_leaves_nothing(finished, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").touch()
    with pytest.raises(RunError, match="must be a new or empty folder"):
        export_run(finished.path, out=tmp_path / "used")
    with pytest.raises(ConfigError, match="trained no adapter"):
        export_run(finished.path, out=tmp_path / "out", adapter=True)
    assert [file.name for file in tmp_path.iterdir()] == ["used"]
    with pytest.raises(SystemExit):
        main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])


@pytest.mark.parametrize(("name", "modal"), PRETRAINED)
def test_a_merged_folder_is_a_checkpoint_with_the_same_scores(twin, tmp_path, name, modal):
    run = toy_run(twin, name, modal)
    items = samples(run.built, modal, learn=False)
    expected = scores(run.built, items)
    write_scorer(run, tmp_path, adapter=False)
    arguments = twin(name) | {"checkpoint": str(tmp_path)} | ({"size": None} if "size" in twin(name) else {})
    again = build_model(read_plan(configure(name, modal, "regression", arguments=arguments)))
    torch.testing.assert_close(scores(again, items), expected, atol=1e-5, rtol=1e-5)


def test_a_merged_folder_holds_what_the_run_did_not_build(twin, tmp_path):
    from transformers import AutoModelForImageTextToText

    run = toy_run(twin, "qwen2_5_vl", "v")
    write_scorer(run, tmp_path, adapter=False)
    base = AutoModelForImageTextToText.from_pretrained(twin("qwen2_5_vl")["checkpoint"])
    whole, found = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not found["missing_keys"]
    assert torch.equal(whole.lm_head.weight, base.lm_head.weight)
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(whole.get_parameter(name), base.get_parameter(name))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21 on transformers 5
@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_an_adapter_loads_in_peft_on_the_published_base(twin, tmp_path, name):
    import peft
    from transformers import AutoModelForImageTextToText

    run = toy_run(twin, name, "v")
    with torch.no_grad():
        for parameter in run.built.model.get_submodule("body.visual.merger").parameters():
            parameter.add_(0.1)
    write_scorer(run, tmp_path, adapter=True)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (written["r"], written["task_type"]) == (4, "CAUSAL_LM")
    assert set(load_file(tmp_path / "head.safetensors")) == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    base = AutoModelForImageTextToText.from_pretrained(twin(name)["checkpoint"])
    loaded = peft.PeftModel.from_pretrained(base, tmp_path).merge_and_unload().eval()
    merge_adapters(run.built.model)
    ours = {run.built.model.key_adapter.module_name_of(n): p for n, p in run.built.model.named_parameters()}
    theirs = dict(loaded.named_parameters())
    assert set(ours) <= set(theirs)
    for key, value in ours.items():
        torch.testing.assert_close(theirs[key], value, atol=1e-6, rtol=1e-5)


def test_all_files_of_an_export_get_the_users_own_mode(finished, tmp_path):
    before = os.umask(0o022)
    try:
        export_run(finished.path, out=tmp_path / "out")
    finally:
        os.umask(before)
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in (tmp_path / "out").iterdir()}
    assert set(modes.values()) == {"0o644"}, modes
    assert len(modes) == 4


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), SafetensorError("I/O error: full (os error 28)")]
)
@pytest.mark.parametrize("exists", [True, False])
def test_an_export_that_breaks_off_leaves_a_sentence_and_nothing_else(finished, tmp_path, monkeypatch, error, exists):
    def write(*_args, **_more):
        raise error

    monkeypatch.setattr("safetensors.torch.save_file", write)
    if exists:
        (tmp_path / "out").mkdir()
    with pytest.raises(FileError, match=r"out cannot be used: no space left on device"):
        export_run(finished.path, out=tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == (["out"] if exists else [])
    assert not exists or not any((tmp_path / "out").iterdir())


def test_an_empty_folder_and_a_link_to_one_are_written_to(finished, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    export_run(finished.path, out=tmp_path / "link")
    assert (tmp_path / "empty/README.md").is_file()


QWEN = [(name, modal) for name, modal in PRETRAINED if name != "videollama2"]


def based_on(twin, name, place, **files):
    """A copy of a twin's folder with other settings in its files, and the arguments that load it."""
    shutil.copytree(twin(name)["checkpoint"], place)
    for file, change in files.items():
        path = place / f"{file}.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(change(before)))
    return twin(name) | {"checkpoint": str(place)}


def exported(arguments, name, modal, place):
    run = toy_run(lambda _: arguments, name, modal)
    write_scorer(run, place, adapter=False)
    return run, {file.name: json.loads(file.read_text()) for file in place.glob("*.json")}


@pytest.mark.parametrize(("name", "modal"), QWEN)
def test_an_export_states_its_rotary_settings_as_transformers_4_and_5_read_them(twin, tmp_path, name, modal):
    (tmp_path / "out").mkdir()
    _, files = exported(twin(name), name, modal, tmp_path / "out")
    config = files["config.json"]
    text = config.get("text_config", config)
    assert text["rope_parameters"]["mrope_section"] == text["rope_scaling"]["mrope_section"] == [1, 1, 2]
    assert text["rope_theta"] == text["rope_parameters"]["rope_theta"] == 10000.0
    assert config["torch_dtype"] == "float32"


@pytest.mark.parametrize(("name", "modal"), QWEN)
def test_an_export_keeps_the_bases_own_settings_but_for_what_the_training_changed(twin, tmp_path, name, modal):
    def older(config):
        rotary = config["text_config"].pop("rope_parameters")
        kind = {"type": "mrope"} if name == "qwen2_5_vl" else {"rope_type": "default"}  # as published
        config["text_config"] |= {"rope_scaling": {**kind, "mrope_section": rotary["mrope_section"]}}
        config["text_config"]["rope_theta"] = rotary["rope_theta"]
        return config | {"note": "of the base", "auto_map": {"AutoModel": "own.Own"}, "transformers_version": "4.49.0"}

    def local(settings):
        return settings | {"is_local": True, "local_files_only": True, "auto_map": {"AutoTokenizer": ["own.Own", None]}}

    files = {"config": older, "tokenizer_config": local, "generation_config": lambda _: {"top_p": 0.5}}
    arguments = based_on(
        twin, name, tmp_path / "base", **files, preprocessor_config=lambda _: {"min_pixels": 1, "x": 2}
    )
    (tmp_path / "out").mkdir()
    with pytest.warns(UserWarning, match="asks for code of its own"):
        run, written = exported(arguments, name, modal, tmp_path / "out")
    base = json.loads((tmp_path / "base/config.json").read_text())
    changed = {key for key in written["config.json"] if written["config.json"][key] != base.get(key)}
    assert changed <= {"torch_dtype", "vision_start_token_id"}
    assert set(base) - set(written["config.json"]) == {"auto_map"}
    assert not {"is_local", "local_files_only", "auto_map", "backend"} & set(written["tokenizer_config.json"])
    assert written["tokenizer_config.json"]["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert written["generation_config.json"] == {"top_p": 0.5}
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (tmp_path / "base/tokenizer.json").read_bytes()
    stream = run.built.model.preparer.clip.frames
    resize = stream.resize
    frames = stream.sampling.count if name == "qwen3_vl" else 1  # its budget is a whole clip's
    video = written["video_preprocessor_config.json"]
    assert video["size"] == {"shortest_edge": resize.min_pixels * frames, "longest_edge": resize.max_pixels * frames}
    assert (video["fps"], video["seconds_per_grid"], video["do_sample_frames"]) == (1.0, 2.0, False)
    assert written["preprocessor_config.json"]["size"] == video["size"]
    assert written["preprocessor_config.json"]["x"] == 2


def test_a_base_whose_side_files_lead_elsewhere_is_not_copied(twin, tmp_path):
    arguments = based_on(twin, "qwen2_5_vl", tmp_path / "base")
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "base/preprocessor_config.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(CheckpointError, match="is a link that leads out of the folder"):
        exported(arguments, "qwen2_5_vl", "v", tmp_path / "out")


def card(twin, name="qwen2_5_vl", *, base=None, option=None, adapter=False):
    run = toy_run(twin, name, "av" if name == "videollama2" else "v")
    if base is not None:
        run.built.model.checkpoint = Checkpoint(name=base, folder=run.built.model.checkpoint.folder, revision="abc")
        run.built.model.license = build(COMPOSER.compose([f"model={option}"]).model.license)
    about = describe(run, form="adapter" if adapter else "merged")
    text = model_card(about, [])
    return yaml.safe_load(text.split("---")[1]), text


@pytest.mark.parametrize(
    ("option", "base", "terms", "named"),
    [
        ("qwen2_5_vl_3b", "Qwen/Qwen2.5-VL-3B-Instruct", "other", "qwen-research"),
        ("qwen2_5_omni_3b", "Qwen/Qwen2.5-Omni-3B", "other", "qwen-research"),
        ("qwen2_5_vl", "Qwen/Qwen2.5-VL-7B-Instruct", "apache-2.0", None),
        ("qwen2_5_vl", "Qwen/Qwen2.5-VL-3B-Instruct", None, None),
        ("qwen2_5_vl", "somebody/else", None, None),
    ],
)
def test_a_card_carries_the_license_of_its_base_and_of_no_other(twin, option, base, terms, named):
    front, text = card(twin, base=base, option=option)
    assert (front.get("license"), front.get("license_name")) == (terms, named)
    assert front["base_model"] == base
    assert front["pipeline_tag"] == "video-classification"
    assert ("which is not known here" in text) == (terms is None)
    assert front.get("license_link", "").startswith("https://huggingface.co/Qwen/") == (named is not None)
    assert ("qwen-research (no commercial use), the base's" in text) == (named is not None)


@pytest.mark.parametrize("option", options("model"))
def test_every_model_with_a_published_base_states_that_bases_license(option):
    node = COMPOSER.compose([f"model={option}"]).model
    stated = node.license.of if node.get("license") else None
    assert stated == node.get("checkpoint")
    if stated:
        license = build(node.license)
        terms = "qwen-research (no commercial use)" if option.endswith("_3b") else "apache-2.0"
        assert terms_of(f"{stated}@abc", license) == terms
        assert terms_of("somebody/else", license) == "not known here (model.license states it)"


@pytest.mark.parametrize("adapter", [True, False])
@pytest.mark.parametrize("name", ["qwen2_5_vl", "videollama2", "tiny"])
def test_a_card_says_which_class_and_versions_and_when_the_frames_are(twin, name, adapter):
    front, text = card(twin, name, adapter=adapter)
    assert "of a clip of 60 s at 0, 1, 2, 3, 4, 5, 6, 7 s; of a clip of 5 s at 0, 0.6, 1.23, 1.87, 2.5" in text
    assert f"transformers {metadata.version('transformers')}" in text
    assert ("Qwen2_5_VLForConditionalGeneration" in text) == (name == "qwen2_5_vl")
    assert ("Seconds per grid step (two frames): from the frames' own times" in text) == (name == "qwen2_5_vl")
    assert "the base's own code" not in text
    assert front["library_name"] == ("peft" if adapter else "evqa" if name == "tiny" else "transformers")
