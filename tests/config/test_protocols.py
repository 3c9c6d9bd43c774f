"""Prompts that set keys of model and head: what they set, who may overrule them, and what does not fit."""

import pytest

from evqa.config.composer import open_configuration
from evqa.config.examine import examine
from evqa.config.paths import conf_folder, group_options

PROTOCOLS = sorted(
    name for name in group_options(conf_folder() / "prompt") if name.startswith("vqa2_") and "assistant" not in name
)
OTHERS = ", ".join(sorted({*group_options(conf_folder() / "prompt")} - {*PROTOCOLS}))


@pytest.fixture(scope="module")
def composer():
    return open_configuration("train")


@pytest.fixture(scope="module")
def fitting(composer):
    """A model that takes a motion stream."""
    able = [name for name, schema in composer.alternatives("model").items() if "motion" in schema.parameters]
    return f"model={able[0]}" if able else pytest.skip("no model of conf/model takes a motion stream")


def problems(composer, *lines):
    return examine(composer, lines).problems


def plain(name, composer):
    able = [one for one, schema in composer.alternatives("model").items() if "motion" in schema.parameters]
    models = ", ".join(f"model={one}" for one in able) or "none in conf/model"
    return (
        f"prompt={name}: it sets model.motion, which Tiny does not take. Choose a model that does ({models}), or "
        f"another prompt ({OTHERS})."
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_and_a_model_without_its_streams_are_named_in_one_sentence(name, composer):
    assert problems(composer, f"prompt={name}") == [plain(name, composer)]


def test_a_protocol_and_a_head_without_its_words_are_named_in_one_sentence(composer):
    found = problems(composer, "prompt=vqa2_image", "head=regression", "head.dropout=2")
    assert found[0] == (
        "prompt=vqa2_image: it sets head.prefix and head.words and head.weights, which RegressionHead does not take. "
        f"Choose a head that does (head=levels), or another prompt ({OTHERS})."
    )
    assert found[1] == plain("vqa2_image", composer)
    assert found[2].startswith("head.dropout: ")
    assert len(found) == 3
    (written, _) = problems(composer, "prompt=vqa2_image", "head=text")
    assert "it sets head.words and head.weights, which TextHead does not take" in written


def test_a_slip_inside_what_a_protocol_sets_is_told_by_its_key(composer, fitting):
    (found,) = problems(composer, fitting, "modal=v", "prompt=vqa2_ugc_current", "model.motion.strides=2")
    assert found.startswith("model.motion.strides: FrameSampling takes no argument 'strides'")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_fits_a_model_that_takes_its_streams(name, composer, fitting):
    assert problems(composer, fitting, f"prompt={name}", "modal=v") == []


def test_the_command_line_overrules_a_protocol(composer):
    cfg = composer.compose(
        ["head.weights=[1,0,0,0,0]", "model.motion.stride=2", "prompt=vqa2_ugc_current", "prompt.quantity=looks"]
    )
    assert cfg.head.weights == [1, 0, 0, 0, 0]
    assert (cfg.model.motion.stride, cfg.model.motion.multiple_of) == (2, 4)
    assert (cfg.prompt.question, cfg.prompt.quantity) == ("<media><media>", "looks")


@pytest.fixture
def with_experiment(tmp_path):
    """An experiment that chooses a protocol and sets one of its keys."""
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /prompt: vqa2_ugc_current\n  - _self_\n"
        "head:\n  prefix: It is\n  train: words\n"
    )
    return open_configuration("train", folders=[tmp_path])


def test_an_experiment_overrules_a_protocol_and_the_command_line_both(with_experiment):
    cfg = with_experiment.compose(["experiment=mine"])
    assert (cfg.head.prefix, cfg.head.train, cfg.head.weights[-1]) == ("It is", "words", 0.2)
    other = with_experiment.compose(["experiment=mine", "prompt=vqa2_streaming_first_release", "head.train=score"])
    assert (other.head.prefix, other.head.train, other.head.weights[-1]) == ("It is", "score", 0.0)
    assert other.model.motion is None
    assert other.hydra.runtime.choices["prompt"] == "vqa2_streaming_first_release"


def test_a_published_scorer_keeps_its_own_head_and_is_told_of_a_protocol(composer):
    (head, model) = problems(composer, "scorer=lmm_evqa", "model.checkpoint=x", "prompt=vqa2_image")
    assert "which RegressionHead does not take" in head
    assert "which Videollama2 does not take" in model


def test_a_sweep_over_prompts_checks_every_one(composer):
    plan = examine(composer, ["prompt=quality,vqa2_image,vqa2_ugc_current"], multirun=True)
    assert plan.problems == [plain("vqa2_image", composer), plain("vqa2_ugc_current", composer)]


def test_other_runs_keep_their_settings_and_so_their_names(composer):
    cfg = composer.compose(["head=levels"])
    assert set(cfg.prompt) == {"_target_", "question", "answer", "missing", "quantity"}
    assert set(cfg.head) == {"_target_", "prefix", "words", "weights", "train", "ending"}
