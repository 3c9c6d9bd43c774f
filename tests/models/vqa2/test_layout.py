"""Checkpoints in VQA²'s layout: what is read, what is told, and what is written back."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from evqa.errors import CheckpointError, ConfigError
from evqa.media.sampling import FrameSampling
from evqa.models.vqa2 import export
from evqa.models.vqa2.layout import ADAPTER
from tests.models.vqa2 import reference
from tests.models.vqa2.reference import Case

pytestmark = pytest.mark.usefixtures("vqa2")
BF16 = {"dtype": "bfloat16"}


@pytest.fixture
def folder(tmp_path):
    return reference.write_checkpoint(tmp_path / "checkpoint")


def change(folder, edit):
    path = folder / "model.safetensors"
    state = load_file(path)
    save_file(edit(state), path)


def test_all_published_keys_are_read_or_known_to_be_dead(folder):
    listed = reference.read_json("state_dict_keys_7b.json")
    names = {key: ADAPTER.name_of(key) for key in listed}
    built = reference.build(folder).state_dict()
    for key, facts in listed.items():
        assert names[key] is not None
        assert ADAPTER.key_of(names[key]) == key
        if facts["affects_output"]:
            assert not ADAPTER.is_unused(key)
    small = {name for name in names.values() if "layers" not in name or ".layers.0." in name}
    assert {name for name in small if not name.startswith("dead.")} <= built.keys()


@pytest.mark.parametrize("options", [{}, {"motion": None}], ids=["whole", "without motion"])
def test_an_export_is_what_was_loaded_bit_for_bit(folder, tmp_path, options):
    model = reference.build(folder, **BF16, **options)
    model.export(tmp_path / "out", head_state={})
    theirs, ours = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "out"))
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        assert ours[key].dtype == tensor.dtype
        assert torch.equal(ours[key], tensor), key
    given, written = (json.loads((place / "config.json").read_text()) for place in (folder, tmp_path / "out"))
    assert written == given | {"torch_dtype": "bfloat16"}


def test_a_large_export_is_divided_and_read_again(folder, tmp_path):
    model, case = reference.build(folder), Case.read(reference.cases(kind="video")[0])
    export.export(model, tmp_path / "out", model.source, shard_bytes=300_000)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    again = reference.build(tmp_path / "out")
    with torch.no_grad():
        assert torch.equal(again(case.inputs(again)).answer_BD(), model(case.inputs(model)).answer_BD())


def test_a_random_model_is_exported_and_read_again(tmp_path):
    model = reference.build_random()
    model.export(tmp_path / "out", head_state={})
    again = reference.build(tmp_path / "out", exact=False)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert again.dims.motion == model.dims.motion


def test_older_names_are_read(folder, tmp_path):
    """As transformers wrote LLaVA-OneVision before 4.52."""
    before = reference.build(folder).state_dict()

    def older(key):
        for ours, theirs in (
            ("model.vision_tower.vision_tower.vision_model.", "vision_tower.vision_model."),
            ("model.mm_projector.0.", "multi_modal_projector.linear_1."),
            ("model.mm_projector.2.", "multi_modal_projector.linear_2."),
            *(("model.slowfast", "model.slowfast"), ("model.image_newline", "image_newline")),
            *(("model.", "language_model.model."), ("lm_head.", "language_model.lm_head.")),
        ):
            if key.startswith(ours):
                return theirs + key.removeprefix(ours)
        raise KeyError(key)

    change(folder, lambda state: {older(key): tensor for key, tensor in state.items()})
    after = reference.build(folder).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_renamed_key_is_named_with_the_one_that_is_missing(folder):
    key, wrong = "model.slowfast_projector.0.weight", "model.slowfast_projector.0.wieght"
    change(folder, lambda state: {wrong if name == key else name: tensor for name, tensor in state.items()})
    with pytest.raises(CheckpointError, match=f"1 missing: {key}; 1 unexpected: {wrong}$"):
        reference.build(folder)


def test_dead_weights_may_be_absent_and_live_ones_not(folder):
    change(folder, lambda state: {key: tensor for key, tensor in state.items() if not ADAPTER.is_unused(key)})
    reference.build(folder)
    live = "model.slowfast.feature_extraction.0.multipathway_blocks.1.norm.running_var"
    change(folder, lambda state: {key: tensor for key, tensor in state.items() if key != live})
    with pytest.raises(CheckpointError, match=f"1 missing: {live}$"):
        reference.build(folder)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"mm_projector_type": "linear"}, r"mm_projector_type='linear' \(must be mlp2x_gelu\)"),
        ({"mm_newline_position": "grid"}, r"mm_newline_position='grid' \(must be one_token\)"),
        ({"image_grid_pinpoints": [[1, 2]]}, "image_grid_pinpoints must be a list of pairs of multiples of"),
        ({"image_grid_pinpoints": "all"}, "image_grid_pinpoints must be a list of pairs of multiples of"),
        ({"vision_config": None, "mm_vision_tower": "a/b"}, "mm_vision_tower='a/b' has unknown sizes"),
        ({"hidden_size": -1}, "hidden_size=-1 must be"),
        ({"model_type": "bert"}, "holds a model of type 'bert', not 'llava_qwen'"),
    ],
)
def test_a_configuration_that_describes_another_model_is_refused(folder, setting, message):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | setting))
    with pytest.raises(CheckpointError, match=message):
        reference.build(folder)


def test_the_motion_branch_is_as_wide_as_its_weights(folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        table = file.get_slice("model.slowfast.position_embedding.weight").get_shape()
    dims = reference.build(folder).dims.motion
    assert (dims.num_positions, dims.outer[-1]) == tuple(table)


def test_more_frames_than_positions_are_refused_before_anything_is_read(folder):
    rows = reference.read_json("tiny.json")["slowfast"]["num_positions"]
    with pytest.raises(ConfigError, match=rf"model.motion.at_most={rows + 1}: the weights have positions for {rows}"):
        reference.build(folder, motion=FrameSampling(policy="all", at_most=rows + 1))
