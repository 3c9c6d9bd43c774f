"""The configuration of a single run is composed once, and is what Hydra would have composed."""

import pytest
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from evqa.config.application import Application
from evqa.config.composer import open_configuration
from evqa.config.examine import examine
from evqa.config.once import ExaminedLoader

LINES = [
    [],
    ["modal=a", "model.width=32", "run.name=x", "hydra.verbose=true"],
    ["lora=r8", "lora.rank=4", "optimizer.rates.head=0.1", "callbacks.early_stopping=null"],
    ["data.csv=/srv/a b.csv", "data.videos=/srv", "data=snapugc", "head=levels", "hydra.job.name=other"],
    ["experiment=vqa2_demo", "trainer.epochs=1"],
    ["scorer=vqa2_ugc", "seed=3"],
]


def flags(node):
    """The flags of every node, such as 'struct', which refuses unknown keys."""
    below = node._content.values() if isinstance(node, DictConfig) and isinstance(node._content, dict) else ()
    return [node._metadata.flags, *map(flags, below)]


@pytest.mark.parametrize("given", LINES)
def test_what_was_examined_is_what_hydra_composes(given):
    composer = open_configuration("train")
    plan = examine(composer, given)
    assert plan.problems == []
    lines = [*plan.lines, "hydra.mode=RUN"]
    asked = ("train", lines, RunMode.RUN)
    composed = composer.loader.load_configuration(*asked)
    composer.loader.keep(plan.configuration, lines)
    other = composer.loader.load_configuration("train", [*lines, "seed=9"], RunMode.RUN)
    assert other.seed == 9, "other overrides are composed"
    kept = composer.loader.load_configuration(*asked)
    assert kept is plan.configuration
    assert repr(OmegaConf.to_container(kept)) == repr(OmegaConf.to_container(composed))
    assert flags(kept) == flags(composed)
    assert composer.loader.load_configuration(*asked) is not kept, "handed out once: a job may change it"


def test_a_command_composes_its_configuration_once(monkeypatch):
    count, seen = [], []
    inner = ExaminedLoader._load_configuration_impl
    monkeypatch.setattr(
        ExaminedLoader, "_load_configuration_impl", lambda self, **given: count.append(1) or inner(self, **given)
    )
    command = Application(name="toy", config_name="train", about="", job=lambda cfg: seen.append(cfg.seed))
    assert command(["seed=5"]) == 0
    assert (seen, len(count)) == ([5], 1)
