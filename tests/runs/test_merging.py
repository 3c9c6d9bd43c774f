import json

import pytest
import torch
from safetensors.torch import load_file

from evqa.errors import ConfigError, RunError
from evqa.merge import main
from evqa.runs.build import build_module, build_scorer
from evqa.runs.load import LoadedRun, load_run
from evqa.runs.merging import export_run, write_scorer
from evqa.tuning import merge_adapters
from evqa.types import LabelScale
from tests.models.toys import configure, randomise, samples

PRETRAINED = [("qwen2_5_vl", "v"), ("qwen2_5_omni", "v"), ("qwen3_vl", "v"), ("videollama2", "av")]


def toy_run(twin, name, modal, *, head="regression", lora="r8"):
    """A run with random adapters and head, without a training."""
    torch.manual_seed(0)
    config = configure(name, modal, head, lora, arguments=twin(name))
    scorer = build_scorer(config)
    module = build_module(config, scorer, LabelScale())
    randomise(module)
    return LoadedRun(folder=None, config=config, scorer=scorer, module=module.eval(), checkpoint=None)


@torch.no_grad()
def scores(scorer, items):
    scorer.model.eval()
    return scorer.head.eval().read(scorer.model(scorer.model.preparer.collate(items))).score_B


def test_a_finished_run_becomes_a_folder_with_weights_head_and_card(finished, tmp_path):
    main([str(finished.path), "--out", str(tmp_path / "out")])
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"README.md", "evqa.json", "head.safetensors", "model.safetensors"}
    run = load_run(finished.path)
    stored = load_file(tmp_path / "out/model.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in run.scorer.model.state_dict().items())
    about = json.loads((tmp_path / "out/evqa.json").read_text())
    assert about["label"] == {"name": "ECR", "range": [0.0, 1.0]}
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
    items = samples(run.scorer, modal, learn=False)
    expected = scores(run.scorer, items)
    write_scorer(run, tmp_path, adapter=False)
    arguments = twin(name) | {"checkpoint": str(tmp_path)} | ({"size": None} if "size" in twin(name) else {})
    again = build_scorer(configure(name, modal, "regression", arguments=arguments))
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
        for parameter in run.scorer.model.get_submodule("body.visual.merger").parameters():
            parameter.add_(0.1)
    write_scorer(run, tmp_path, adapter=True)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 4
    assert set(load_file(tmp_path / "head.safetensors")) == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    base = AutoModelForImageTextToText.from_pretrained(twin(name)["checkpoint"])
    loaded = peft.PeftModel.from_pretrained(base, tmp_path).merge_and_unload().eval()
    merge_adapters(run.scorer.model)
    ours = {run.scorer.model.published_name(n): p for n, p in run.scorer.model.named_parameters()}
    theirs = dict(loaded.named_parameters())
    assert set(ours) <= set(theirs)
    for key, value in ours.items():
        torch.testing.assert_close(theirs[key], value, atol=1e-6, rtol=1e-5)
