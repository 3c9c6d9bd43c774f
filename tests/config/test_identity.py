from pathlib import Path

import pytest
from omegaconf import OmegaConf

from evqa.config.compose import compose
from evqa.config.identity import IRRELEVANT, difference, experiment_name, fingerprint, folder, settle
from evqa.config.signature import read_schema

BASE = {
    "seed": 0,
    "run": {"root": "runs", "experiment": None, "name": None},
    "model": {"_target_": "evqa.models.videollama2.network.VideoLLaMA2", "width": 8},
    "modal": {"name": "av"},
    "head": {"_target_": "evqa.heads.regression.RegressionHead"},
    "data": {"workers": 2, "batch_size": 8},
    "trainer": {"devices": 1, "epochs": 3},
}


def changed(**values):
    cfg = OmegaConf.create(BASE)
    for key, value in values.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
    return cfg


def test_the_name_says_what_the_run_is():
    cfg = settle(changed(), {"experiment": "paper/one", "sweep": None})
    assert folder(cfg).parent == Path("runs/paper-one")
    assert folder(cfg).name == f"videollama2-av-regression-s0-{fingerprint(changed())[:8]}"


def test_settling_twice_changes_nothing():
    once = settle(changed(), {})
    assert settle(once, {"experiment": "other"}) == once


@pytest.mark.parametrize(
    "values",
    [
        {"run__root": "/x"},
        {"data__workers": 0},
        {"trainer__strategy": "ddp"},
        {"model__width": 8.0},
        {"resume": "never"},
    ],
)
def test_what_does_not_change_results_does_not_change_the_name(values):
    assert fingerprint(changed(**values)) == fingerprint(changed())


@pytest.mark.parametrize("values", [{"seed": 1}, {"model__width": 9}, {"trainer__epochs": 4}, {"data__batch_size": 9}])
def test_what_changes_results_changes_the_name_and_is_listed(values):
    other = changed(**values)
    assert fingerprint(other) != fingerprint(changed())
    ((key, value),) = values.items()
    key = key.replace("__", ".")
    assert difference(changed(), other) == [(key, OmegaConf.select(changed(), key), value)]


def test_another_number_of_processes_is_another_run_wherever_they_run():
    names = {(d, n): fingerprint(changed(trainer__devices=d, trainer__num_nodes=n)) for d in (1, 2) for n in (1, 2)}
    assert len(set(names.values())) == 3
    assert names[2, 1] == names[1, 2]
    assert names[1, 1] == fingerprint(BASE)
    (found,) = difference(changed(), changed(trainer__devices=4))
    assert str(found) == "trainer.devices x trainer.num_nodes: 1 there, 4 now"


def test_a_difference_reads_as_a_sentence_and_names_absent_keys():
    (found,) = difference(changed(), changed(model__depth=2))
    assert str(found) == "model.depth: '<absent>' there, 2 now"


def test_the_order_of_keys_does_not_matter():
    assert fingerprint(OmegaConf.create(dict(reversed(BASE.items())))) == fingerprint(changed())


@pytest.mark.parametrize(
    ("given", "choices", "name"),
    [
        ("mine", {"experiment": "e"}, "mine"),
        (None, {"experiment": "e", "sweep": "s"}, "e"),
        (None, {"experiment": None, "sweep": "s"}, "s"),
        (None, {}, "default"),
    ],
)
def test_an_experiment_is_named_by_the_user_or_by_the_recipe(given, choices, name):
    assert experiment_name(given, choices) == name


def test_a_run_keeps_its_name_when_its_saved_configuration_is_read_again(tmp_path):
    cfg = compose(["run.root=somewhere"])
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    assert folder(OmegaConf.load(tmp_path / "config.yaml")) == folder(cfg)


def test_every_irrelevant_key_exists():
    cfg = compose()
    loading = read_schema("evqa.training.datamodule.BatchSettings").parameters
    pruning = read_schema("evqa.training.callbacks.pruning.Pruning").parameters
    for key in IRRELEVANT:
        group, _, name = key.partition(".")
        pruned = key.startswith("callbacks.pruning.") and name.partition(".")[2] in pruning
        if group == "model":  # of a pretrained one
            cfg = compose(["model=qwen2_5_vl", "modal=v"])
        assert OmegaConf.select(cfg, key) is not None or (group == "data" and name in loading) or pruned, key
