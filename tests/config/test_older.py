"""Runs of earlier versions are told apart from damaged ones."""

import json

import pytest
import yaml
from omegaconf import OmegaConf

from evqa.config.compose import compose
from evqa.config.identity import difference
from evqa.config.saved import checked_saved
from evqa.errors import ConfigError, RunError

MOVABLE = ("data.",)


def older():
    """A run's settings as they were when the prompt was none of them."""
    values = OmegaConf.to_container(compose(["run.name=old"]))
    del values["prompt"]
    values["loss"]["_target_"] = "evqa.losses.Mse"
    values["optimizer"]["_target_"] = "evqa.optimization.AdamW"
    return values


def saved(folder, values, facts=None):
    (folder / "config.yaml").write_text(yaml.dump(values))
    if facts is not None:
        (folder / "environment.json").write_text(json.dumps(facts))
    return folder / "config.yaml"


@pytest.mark.parametrize(
    ("facts", "version"),
    [
        ({"packages": {"evqa": "0.1.0"}, "commit": "4b9bc98+changes"}, "version 0.1.0, commit 4b9bc98+changes"),
        ({"packages": {"evqa": "[red]\x1b[31m"}, "commit": None}, "which one is not recorded"),
        ({"packages": [1]}, "which one is not recorded"),
        (None, "which one is not recorded"),
    ],
)
def test_an_earlier_version_s_run_is_said_to_be_one(tmp_path, facts, version):
    path = saved(tmp_path, older(), facts)
    with pytest.raises(RunError) as caught:
        checked_saved(path, movable=MOVABLE)
    assert str(caught.value) == (
        f"{path}: the run was made by an earlier evqa ({version}), in which the prompt was no setting and classes had "
        "other names; this version cannot build it. Score with that version, or train the run again with this one."
    )


@pytest.mark.parametrize(("before", "share"), [(True, 1), (False, 0)])
def test_recomputation_of_all_or_nothing_is_a_share_today(tmp_path, before, share):
    values = OmegaConf.to_container(compose(["run.name=old", "model=videollama2_tiny"]))
    del values["model"]["recompute"], values["model"]["recompute_media"]
    values["model"]["gradient_checkpointing"] = before
    found = checked_saved(saved(tmp_path, values), movable=MOVABLE)
    assert (found.model.recompute, found.model.recompute_media) == (share, before)
    now = compose(["run.name=old", "model=videollama2_tiny", f"model.recompute={1 - share}"])
    assert difference(found, now) == []


def test_a_run_of_today_with_a_strange_class_is_refused_for_that_class(tmp_path):
    values = older() | {"prompt": {"_target_": "evqa.prompts.prompt.Prompt"}}
    with pytest.raises(ConfigError, match=r"loss\._target_: there is no module 'evqa\.losses'"):
        checked_saved(saved(tmp_path, values), movable=MOVABLE)


def test_a_run_without_a_prompt_is_damaged_where_nothing_speaks_of_an_earlier_version(tmp_path):
    values = OmegaConf.to_container(compose(["run.name=old"]))
    del values["prompt"]
    with pytest.raises(ConfigError, match="prompt: it is not there, and every run has it"):
        checked_saved(saved(tmp_path, values), movable=MOVABLE)
