"""Every numeric setting that conf/ offers has a bound, and a value outside is refused with its key."""

import dataclasses

import pytest
import yaml

from evqa.config.check import check
from evqa.config.composer import open_configuration
from evqa.config.examine import examine
from evqa.config.kinds import DictOf, ListOf, Plain, Ranged, TupleOf, alternatives
from evqa.config.paths import conf_folder
from evqa.config.root import COMPANIONS, PLAIN_NODES
from evqa.config.signature import read_schema

# Numbers without bounds, and why.
UNBOUNDED = {("evqa.types.LabelScale", "range"): "any scale; the class compares its ends"}


def targets(node):
    """Every class that a YAML file names."""
    if isinstance(node, dict):
        yield from [node["_target_"]] if "_target_" in node else []
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from targets(child)


FILES = sorted(conf_folder().rglob("*.yaml"))
CLASSES = sorted(
    {target for file in FILES for target in targets(yaml.safe_load(file.read_text()))}
    | {*PLAIN_NODES.values(), *COMPANIONS.values(), "evqa.training.callbacks.pruning.Pruning"}
)


def numbers(kind):
    """The numeric kinds in a kind, those of items included."""
    for one in alternatives(kind):
        if isinstance(one, ListOf | DictOf):
            yield from numbers(one.item if isinstance(one, ListOf) else one.value)
        elif isinstance(one, TupleOf):
            yield from (number for item in one.items for number in numbers(item))
        elif isinstance(one, Ranged) or one in (Plain("int"), Plain("float")):
            yield one


NUMERIC = [
    (target, key, number)
    for target in CLASSES
    for key, parameter in read_schema(target).parameters.items()
    for number in numbers(parameter.kind)
    if (target, key) not in UNBOUNDED
]


def test_the_listed_classes_are_those_of_all_options():
    assert {
        "evqa.models.tiny.Tiny",
        "evqa.training.tuning.Tuning",
        "evqa.training.batch_settings.BatchSettings",
    } <= set(CLASSES)
    assert len(NUMERIC) > 60


@pytest.mark.parametrize(("target", "key", "number"), NUMERIC, ids=[f"{t}-{k}" for t, k, _ in NUMERIC])
def test_every_number_has_a_bound_and_refuses_what_is_none(target, key, number):
    assert isinstance(number, Ranged)
    low = "<" in number.rule.partition(key[:3])[0]
    assert low, f"{target}.{key}: {number.rule} has no lower bound"
    for value in (-1, float("nan"), float("inf"), float("-inf"), -(10**400)):
        assert number.misfit(value) is not None


@pytest.fixture(scope="module")
def composer():
    return open_configuration("train")


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("data.batch_size=0", "data.batch_size: expected int with 1 <= batch_size, got 0."),
        ("data.workers=-1", "data.workers: expected int with 0 <= workers or null, got -1."),
        ("trainer.accumulate=0", "trainer.accumulate: expected int with 1 <= accumulate, got 0."),
        ("trainer.validate_every=0", "trainer.validate_every: expected float with 0 < validate_every, got 0."),
        ("trainer.devices=0", "trainer.devices: expected int with 1 <= devices, got 0."),
        ("trainer.epochs=-1", "trainer.epochs: expected int with 1 <= epochs, got -1."),
        ("trainer.clip_norm=-1", "trainer.clip_norm: expected float with 0 < clip_norm or null, got -1."),
        ("trainer.log_every=0", "trainer.log_every: expected int with 1 <= log_every, got 0."),
        (
            "optimizer.learning_rate=-1",
            "optimizer.learning_rate: expected float with 0 < learning_rate or null, got -1.",
        ),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate: expected a finite float or null, got nan."),
        ("optimizer.rates.head=-1", "optimizer.rates: at 'head': expected float with 0 <= rate, got -1."),
        ("optimizer.betas=[0.9,1]", "optimizer.betas: at '1': expected float with 0 <= beta < 1, got 1."),
        ("schedule.warmup=2", "schedule.warmup: expected float with 0 <= warmup <= 1, got 2."),
        ("seed=-1", "seed: expected int with 0 <= seed <= 4294967295, got -1."),
        ("frames.seconds=inf", "frames.seconds: expected a finite float, got inf."),
        ("model.image_size=0", "model.image_size: expected int with 4 <= image_size <= 4096, got 0."),
        (
            "callbacks.checkpoints.every_steps=0",
            "callbacks.checkpoints.every_steps: expected int with 1 <= every_steps",
        ),
        ("lora.rank=0", "lora.rank: expected int with 1 <= rank <= 65536, got 0."),
        ("trainer.precision=16", "trainer.precision: expected one of '32', 'bf16', 'bf16-true', 'bf16-pure', got 16."),
        ("callbacks.checkpoints.monitor=val/sroc", "Did you mean 'val/srocc'?"),
        (
            "+callbacks.pruning._target_=evqa.training.callbacks.pruning.Pruning",
            "callbacks.pruning.journal: Pruning needs it",
        ),
        ("hydra.job.chdir=true", "hydra.job.chdir=true: every place is taken from the folder where"),
    ],
)
def test_train_refuses_it_with_its_key(composer, argument, sentence):
    (found, *_) = examine(composer, [argument]).problems
    assert sentence in found


def test_all_of_them_are_told_at_once(composer):
    given = ["data.batch_size=0", "trainer.epochs=0", "seed=-1", "schedule.warmup=2", "dry_run=true"]
    keys = {problem.partition(":")[0] for problem in examine(composer, given).problems}
    assert keys == {"data.batch_size", "trainer.epochs", "seed", "schedule.warmup"}


@pytest.mark.parametrize("callback", ["early_stopping", "checkpoints"])
def test_a_metric_that_is_never_logged_or_better_when_smaller_is_refused(composer, callback):
    for metric in ("val/sroc", "val/rmse", "train/loss", "val/n"):
        lines = ["callbacks=early_stopping", f"callbacks.{callback}.monitor={metric}"]
        (problem,) = examine(composer, lines).problems
        assert problem.startswith(f"callbacks.{callback}.monitor: expected one of 'val/challenge', 'val/srocc'")


def test_the_metrics_that_may_be_monitored_are_the_loss_and_those_of_which_more_is_better():
    from typing import get_args

    from evqa.config.metric_names import LOSS, Monitored
    from evqa.metrics import METRICS

    assert set(get_args(Monitored)) == {f"val/{name}" for name in METRICS} - {"val/rmse"} | {LOSS}


def test_a_number_stands_for_a_choice_of_the_same_digits(composer):
    plan = examine(composer, ["trainer.precision=32"])
    assert plan.problems == []


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("+callbacks.x._target_=torch.hub.load", "callbacks.x._target_: torch.hub.load is no class of evqa"),
        ("loss._target_=evqa.heads.text.TextHead", "loss._target_: evqa.heads.text.TextHead is no Loss"),
        (
            "+hydra.callbacks.x._target_=os.getcwd",
            "hydra.callbacks.x._target_=os.getcwd: only a launcher and a sweeper",
        ),
        ("+loss._args_=[1]", "loss._args_: components are built whole"),
        ("hydra.job_logging.handlers.terminal.class=os.getcwd", "hydra.job_logging.handlers.terminal.class=os.getcwd:"),
        ("hydra.job_logging.handlers.terminal.stream=ext://os.environ", "only ext://sys.stderr and ext://sys.stdout"),
    ],
)
def test_a_command_line_cannot_name_other_code(composer, argument, sentence):
    problems = examine(composer, [argument]).problems
    assert any(sentence in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "_target_: evqa.models.tiny.Tiny\nwidth: ${loss}",
            "model.width._target_: nothing is built here",
        ),
        (
            "_target_: evqa.models.tiny.Tiny\nwidth: ${model}",
            "model.width: cannot be worked out: Interpolation to parent",
        ),
        ("# @package _global_\nmodel: ${loss}", "model._target_: evqa.training.losses.Mse is no Model"),
        ("# @package _global_\nhydra: {job_logging: {filters: {x: {(): os.getcwd}}}}", "logging would call it; name a"),
        (
            "# @package _global_\nhydra: {callbacks: '${loss}'}",
            "hydra.callbacks._target_=evqa.training.losses.Mse: only a",
        ),
    ],
)
def test_files_of_the_user_s_own_cannot_either(tmp_path, text, sentence):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine.yaml").write_text(text)
    composer = open_configuration("train", folders=[tmp_path])
    problems = examine(composer, ["model=mine"]).problems
    assert any(sentence in problem for problem in problems), problems


@pytest.mark.parametrize(
    "argument",
    [
        "hydra.launcher._target_=os.getcwd",
        "hydra.sweeper._target_=hydra_plugins.evqa_sweeps.local.LocalLauncher",
        "hydra.launcher._target_=hydra_plugins.nothing.There",
    ],
)
def test_a_sweep_cannot_either(composer, argument):
    (problem, *_) = examine(composer, ["seed=0,1", argument], multirun=True).problems
    assert problem.startswith(argument.partition("=")[0])


def test_options_of_a_folder_of_the_user_s_own_are_checked_too(tmp_path):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss/mine.yaml").write_text("_target_: torch.hub.load\nrepo_or_dir: evil/evil\nmodel: x\n")
    composer = open_configuration("train", folders=[tmp_path])
    (problem, *_) = examine(composer, ["loss=mine"]).problems
    assert problem.startswith("loss._target_: torch.hub.load is no class of evqa; only a Loss of evqa")


def test_classes_are_judged_by_their_source(module):
    name = module("""
        from abc import ABC, abstractmethod
        class Base(ABC):
            def __init__(self, width: int, *, size: int = 1) -> None: ...
            @abstractmethod
            def run(self) -> None: ...
        class Child(Base):
            def run(self) -> None: ...
    """)
    base, child = read_schema(f"{name}.Base"), read_schema(f"{name}.Child")
    assert (base.abstract, child.abstract) == (frozenset({"run"}), frozenset())
    assert child.paths == (f"{name}.Child", f"{name}.Base")
    assert child.positional == 1


def test_a_node_that_the_checker_does_not_know_can_hold_no_class():
    from omegaconf import OmegaConf

    cfg = OmegaConf.create({"run": {"root": "runs"}, "mine": {"_target_": "evqa.training.losses.Mse"}})
    (problem,) = check(cfg, groups=("mine",), placed=True).problems
    assert problem == "mine._target_: nothing is built here; give plain values."


def test_a_place_for_a_class_names_one():
    from omegaconf import OmegaConf

    cfg = OmegaConf.create({"run": {"root": "runs"}, "schedule": {}})
    (problem,) = check(cfg, groups=("schedule",), placed=True).problems
    assert problem == "schedule._target_: names no class, and something is built here."


def test_settings_are_dataclasses_or_constructors_with_the_same_rules():
    from evqa.media.limits import Limits

    assert {field.name for field in dataclasses.fields(Limits)} == set(
        read_schema("evqa.media.limits.Limits").parameters
    )
